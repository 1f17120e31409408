"""A cluster with controllers and nodes, and a kubelet that says of every pod at once what is expected of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from simulator.controllers.controllers import Controllers
from simulator.errors import NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import DEPLOYMENT, POD, REPLICA_SET, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.kube.timestamps import format_time, now
from simulator.nodes import NodeSpec, register_nodes

NAMESPACE = "default"
WORLD_TIMEOUT_S = 20


class World:
    """The controllers at work. Pods whose image is not `bad` are ready as soon as they have a node."""

    def __init__(self, cluster: Cluster, kubeconfig: Path) -> None:
        self.cluster = cluster
        self.kubeconfig = kubeconfig
        self.deployments = Informer(cluster, DEPLOYMENT, NAMESPACE)
        self.replica_sets = Informer(cluster, REPLICA_SET, NAMESPACE)
        self.pods = Informer(cluster, POD, NAMESPACE)
        self._due: asyncio.Queue[Key] = asyncio.Queue()
        self.pods.on_change(self._due.put_nowait)

    async def run(self) -> None:
        """Play the kubelet until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in (self.deployments, self.replica_sets, self.pods):
                group.create_task(informer.run())
            while True:
                namespace, name = await self._due.get()
                if pod := self.pods.get(namespace, name):
                    with contextlib.suppress(NotFoundError):
                        await self._serve(pod, namespace, name)

    async def _serve(self, pod: Object, namespace: str, name: str) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            await self.cluster.delete(POD, name, namespace, grace_period_s=0)
        elif pod["spec"].get("nodeName") and pod["status"]["phase"] == "Pending" and _is_good(pod):
            await self.cluster.patch_status(POD, name, {"status": _ready_status()}, namespace)

    async def create(
        self, name: str = "web", *, image: str = "good", requests: Object | None = None, **spec: object
    ) -> Object:
        """Create a Deployment."""
        resources = {"resources": {"limits": requests}} if requests else {}
        container = {"name": "main", "image": image, **resources}
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
        wanted = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template, **spec},
        }
        return await self.cluster.create(DEPLOYMENT, wanted)

    async def deployment(self, condition: Callable[[Object], bool], name: str = "web") -> Object:
        """Wait until the Deployment is as wanted, and return it."""

        def find(informer: Informer) -> Object | None:
            found = informer.get(NAMESPACE, name)
            return found if found and condition(found) else None

        return await self.deployments.wait_for(find, WORLD_TIMEOUT_S)

    async def pods_are(self, condition: Callable[[list[Object]], bool]) -> list[Object]:
        """Wait until all pods together are as wanted, and return them."""

        def find(informer: Informer) -> list[Object] | None:
            return informer.objects() if condition(informer.objects()) else None

        return await self.pods.wait_for(find, WORLD_TIMEOUT_S)


def _is_good(pod: Object) -> bool:
    return bool(pod["spec"]["containers"][0]["image"] != "bad")


def _ready_status() -> Object:
    time = format_time(now())
    conditions = [{"type": name, "status": "True", "lastTransitionTime": time} for name in ("PodScheduled", "Ready")]
    return {"phase": "Running", "conditions": conditions}


StartWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def start_world(tmp_path: Path) -> StartWorld:
    """Start a world of these nodes."""

    @contextlib.asynccontextmanager
    async def start(*nodes: NodeSpec, time_scale: float = 0.05) -> AsyncIterator[World]:
        async with KubeServer(ResourceStore()) as server, asyncio.TaskGroup() as group:
            kubeconfig = tmp_path / "kubeconfig"
            server.write_kubeconfig(kubeconfig)
            async with Cluster(kubeconfig, field_manager="tests") as cluster:
                await register_nodes(cluster, nodes or [NodeSpec()])
                world = World(cluster, kubeconfig)
                tasks = [group.create_task(part.run()) for part in (Controllers(cluster, time_scale), world)]
                try:
                    yield world
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.wait(tasks)

    return start


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[World]:
    """A world of one node."""
    async with start_world() as running:
        yield running
