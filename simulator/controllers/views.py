"""The controllers' copies of the cluster: one informer for each kind, shared by all, and who controls what in them."""

import asyncio
from collections.abc import Iterator

from simulator.controllers.ownership import Controlled
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, NODE, POD, REPLICA_SET, Object


class Views:
    """Informers of Deployments, ReplicaSets, Pods and Nodes."""

    def __init__(self, cluster: Cluster) -> None:
        self.deployments = Informer(cluster, DEPLOYMENT)
        self.replica_sets = Informer(cluster, REPLICA_SET)
        self.pods = Informer(cluster, POD)
        self.nodes = Informer(cluster, NODE)
        self._replica_sets = Controlled(self.replica_sets)
        self._pods = Controlled(self.pods)

    def replica_sets_of(self, uid: str) -> list[Object]:
        """The ReplicaSets of the Deployment with this uid, oldest first."""
        return self._replica_sets.of(uid)

    def replica_set_orphans(self, namespace: str) -> list[Object]:
        """The ReplicaSets of a namespace without a controller."""
        return self._replica_sets.orphans(namespace)

    def pods_of(self, uid: str) -> list[Object]:
        """The pods of the ReplicaSet with this uid, oldest first."""
        return self._pods.of(uid)

    def pod_orphans(self, namespace: str) -> list[Object]:
        """The pods of a namespace without a controller."""
        return self._pods.orphans(namespace)

    async def run(self) -> None:
        """Keep all copies up to date until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers():
                group.create_task(informer.run())

    async def synced(self) -> None:
        """Wait until every copy is complete, however long the API takes."""
        for informer in self._informers():
            await informer.synced(None)

    def _informers(self) -> Iterator[Informer]:
        yield from (self.deployments, self.replica_sets, self.pods, self.nodes)
