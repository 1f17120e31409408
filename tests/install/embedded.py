"""The embedded API as the cluster that the platform is installed into, with somebody who makes what is applied run."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.install.names import PART_OF_LABEL, PLATFORM
from simulator.kube.client import Cluster
from simulator.kube.kinds import DEPLOYMENT, NAMESPACE, STATEFUL_SET, Kind
from simulator.kube.schema.go_json import plain_number
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore

CONTEXT: Final = "gpuunit-sim"
"""The one that the embedded API's kubeconfig has."""


def _problem() -> str:
    try:
        plain_number(1)
    except AttributeError:
        return "the embedded API cannot apply a CustomResourceDefinition with whole numbers on Python 3.11 yet"
    return ""


applies_definitions = pytest.mark.skipif(bool(_problem()), reason=_problem())


@asynccontextmanager
async def embedded_cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    """Serve it while the block runs; its own namespace of the units is handed over, as people are told to do."""
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(kubeconfig)
        async with Cluster(kubeconfig, field_manager="tests") as cluster:
            await cluster.patch(NAMESPACE, ACTIVE_NAMESPACE, {"metadata": {"labels": {PART_OF_LABEL: PLATFORM}}})
            yield cluster


@asynccontextmanager
async def everything_runs(cluster: Cluster) -> AsyncIterator[None]:
    """Say of each Deployment and StatefulSet that it is there, as the controllers of a cluster would."""
    tasks = [asyncio.create_task(_run(cluster, kind)) for kind in (DEPLOYMENT, STATEFUL_SET)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            assert task.cancelled(), task.exception()


async def _run(cluster: Cluster, kind: Kind) -> None:
    objects, version = await cluster.list_with_version(kind)
    assert not objects
    async for change, obj in cluster.watch(kind, None, version):
        metadata, replicas = obj["metadata"], obj["spec"]["replicas"]
        if change == "DELETED" or (obj.get("status") or {}).get("observedGeneration") == metadata["generation"]:
            continue
        ready = {"readyReplicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
        status = {"observedGeneration": metadata["generation"], "replicas": replicas, **ready}
        await cluster.patch_status(kind, metadata["name"], {"status": status}, metadata["namespace"])
