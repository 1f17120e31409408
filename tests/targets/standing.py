"""An installed platform at work: its parts as processes, over the embedded API, whose stand-ins run the units' pods.

What a real cluster does with the parts' own pods is done by hand: that of the queue is known to the cluster, and to
delete it restarts the server.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.background import Tasks
from simulator.cluster_access import ClusterAccess, grant_access
from simulator.controllers.controllers import Controllers
from simulator.install.names import API, NATS, PLATFORM, selector
from simulator.install.settings import InstallSettings
from simulator.install.target import kind_of
from simulator.kube.access.platform_roles import Part
from simulator.kube.client import Cluster
from simulator.kube.kinds import DEPLOYMENT, NAMESPACE, NETWORK_POLICY, POD, SECRET, SERVICE, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.kubelet.images import ImageTable
from simulator.kubelet.kubelet import DEFAULT_TIME_SCALE, Kubelet
from simulator.kubelet.serving import KubeletAgent
from simulator.nodes import NodeSpec, register_nodes
from simulator.processes.spawn import Processes
from simulator.targets.place import Place
from simulator.targets.ways_in import API_DOOR, Door
from tests.install.installed import Installed, answers, pod_process, queue_server

PARTS: Final = ("issuer", "results", "reconciler", "activator", "api")
SEEN: Final = (SECRET, SERVICE, NETWORK_POLICY, DEPLOYMENT)
"""Of what is installed, the kinds that are read from outside."""
CONTEXT: Final = "gpuunit-sim"


@dataclass(frozen=True)
class Standing:
    """Where it is; and the way in, which needs no kubectl, as everything is on this machine already."""

    place: Place
    cluster: Cluster
    api_url: str
    nats_url: str

    @asynccontextmanager
    async def way_in(self, _cluster: Cluster, place: Place, door: Door) -> AsyncIterator[str]:
        assert place == self.place
        yield (self.api_url if door == API_DOOR else self.nats_url).rpartition("/")[2]


@asynccontextmanager
async def standing_platform(directory: Path) -> AsyncIterator[Standing]:
    """Run it for the block. `python3` must be one that finds the package `framework`."""
    installed = Installed(directory, InstallSettings())
    store = ResourceStore()
    grant_access(store)
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(Processes())
        server = await stack.enter_async_context(KubeServer(store))
        place = Place(directory / "admin", CONTEXT)
        server.write_kubeconfig(place.kubeconfig)
        cluster = await stack.enter_async_context(Cluster(place.kubeconfig, field_manager="tests"))
        restart = await stack.enter_async_context(queue_server(installed, processes))
        tasks = Tasks(stack, await stack.enter_async_context(asyncio.TaskGroup()))
        access = ClusterAccess(server, directory / "kubeconfigs")
        nodes = await stack.enter_async_context(access.connect(Part.KUBELET))
        await _make_objects(cluster, installed)
        await register_nodes(nodes, [NodeSpec()])
        kubelet = Kubelet(nodes, processes, directory / "pods", _images(installed.settings))
        server.reach_pods(NodeSpec().name, KubeletAgent(kubelet))
        _, version = await cluster.list_with_version(POD, PLATFORM)
        tasks.start(kubelet.run())
        tasks.start(Controllers(nodes, DEFAULT_TIME_SCALE).run())
        tasks.start(_keep_queue_pod(cluster, version, restart))
        urls = {}
        for part in PARTS:
            kubeconfig = access.kubeconfig(Part(part)) if part in set(Part) else None
            _, urls[part] = await stack.enter_async_context(pod_process(installed, part, kubeconfig))
        for part, url in urls.items():
            await answers(f"{url}/api/v1/health" if part == API.name else f"{url}/readyz", 200)
        yield Standing(place, cluster, urls[API.name], installed.nats_url)


async def _make_objects(cluster: Cluster, installed: Installed) -> None:
    await cluster.create(NAMESPACE, installed.get("Namespace", PLATFORM))
    for obj in installed.objects:
        kind = kind_of(obj)
        if kind in SEEN and obj["metadata"]["namespace"] == PLATFORM:
            if kind == DEPLOYMENT:
                obj = {**obj, "spec": {**obj["spec"], "replicas": 0}}  # they run already, as processes
            await cluster.create(kind, obj)
    await _make_queue_pod(cluster)


async def _make_queue_pod(cluster: Cluster) -> None:
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{NATS}-0", "namespace": PLATFORM, "labels": selector(NATS)},
        "spec": {"nodeName": "of-nobody", "containers": [{"name": NATS, "image": "nats"}]},
    }
    await cluster.create(POD, pod)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    await cluster.patch_status(POD, f"{NATS}-0", ready, PLATFORM)


async def _keep_queue_pod(cluster: Cluster, version: str, restart: Callable[[], Awaitable[None]]) -> None:
    """Be the queue's kubelet and the controller of its StatefulSet: a pod that is to go goes, and another comes."""
    ended = set()
    async for change, pod in cluster.watch(POD, PLATFORM, version, selector(NATS)):
        metadata = pod["metadata"]
        if change == "MODIFIED" and metadata.get("deletionTimestamp") and metadata["uid"] not in ended:
            ended.add(metadata["uid"])
            await restart()
            await cluster.delete(POD, metadata["name"], PLATFORM, grace_period_s=0)
            await _make_queue_pod(cluster)


def _images(settings: InstallSettings) -> ImageTable:
    sidecar, echo = (sys.executable, "-m", "sidecar"), (sys.executable, "-m", "framework.echo")
    return ImageTable({settings.image("sidecar"): sidecar, settings.image("echo"): echo})
