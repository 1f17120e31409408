"""A cluster with nothing in it but the kubelet under test, and what tests ask of it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from simulator.controllers.controllers import Controllers
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, EVENT, POD, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.kubelet.images import ImageTable
from simulator.kubelet.kubelet import DEFAULT_TIME_SCALE, Kubelet
from simulator.kubelet.serving import KubeletAgent
from simulator.nodes import NodeSpec, register_nodes
from simulator.processes.spawn import Processes
from tests.kubelet.kubectl_streams import TIMEOUT_S, Kubectl

NAMESPACE = "default"


@dataclass
class Bench:
    """A running kubelet, its cluster, and a copy of the pods. `seen` holds every status that a pod went through."""

    cluster: Cluster
    kubelet: Kubelet
    processes: Processes
    pods: Informer
    directory: Path
    kubelet_task: "asyncio.Task[None]"
    happened: Informer
    kubeconfig: Path
    seen: list[Object] = field(default_factory=list)

    def on_status(self, tell: Callable[[Object], None]) -> None:
        """Call with each pod, in each state that it goes through."""
        self.pods.on_change(lambda key: tell(pod) if (pod := self.pods.get(*key)) else None)

    def on_event(self, tell: Callable[[Object], None]) -> None:
        """Call with each event, and again when it is repeated."""
        self.happened.on_change(lambda key: tell(event) if (event := self.happened.get(*key)) else None)

    @staticmethod
    def container(script: str, name: str = "main", **extra: Any) -> Object:
        """A container that runs a shell script."""
        return {"name": name, "image": "busybox:1", "command": ["sh", "-c", script], **extra}

    @staticmethod
    def python(code: str, name: str = "main", env: dict[str, str] | None = None, **extra: Any) -> Object:
        """A container that runs Python code."""
        pairs = [{"name": key, "value": value} for key, value in (env or {}).items()]
        return {"name": name, "image": "python:3", "command": [sys.executable, "-c", code], "env": pairs, **extra}

    @staticmethod
    def state(pod: Object, index: int = 0, group: str = "containerStatuses") -> Object:
        """The status of one of the pod's containers."""
        statuses: list[Object] = (pod.get("status") or {}).get(group) or []
        return statuses[index] if statuses else {"state": {}, "lastState": {}, "restartCount": 0, "ready": False}

    @staticmethod
    def condition(pod: Object, name: str) -> str:
        """The status of one of the pod's conditions."""
        conditions = (pod.get("status") or {}).get("conditions") or []
        return next((entry["status"] for entry in conditions if entry["type"] == name), "")

    def is_ready(self, pod: Object) -> bool:
        """Whether the pod is ready."""
        return self.condition(pod, "Ready") == "True"

    def waits_for(self, reason: str) -> Callable[[Object], bool]:
        """The test whether a pod's first container waits for this reason."""
        return lambda pod: self.state(pod)["state"].get("waiting", {}).get("reason") == reason

    async def apply(self, name: str, *containers: Object, **spec: Any) -> Object:
        """Create a Deployment of one pod."""
        deployment: dict[str, Any] = {
            "replicas": spec.pop("replicas", 1),
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": spec.pop("strategy", "Recreate")},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": list(containers), **spec}},
        }
        return await self.cluster.create(
            DEPLOYMENT,
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": deployment,
            },
        )

    async def run_pod(self, *containers: Object, **spec: Any) -> None:
        """Make the pod `p`."""
        metadata = {"name": "p", "namespace": NAMESPACE, "labels": {"app": "p"}}
        body = {"containers": list(containers), "terminationGracePeriodSeconds": 1, **spec}
        await self.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body})

    async def run_ready_pod(self, *containers: Object, **spec: Any) -> Object:
        """Make the pod `p`, and wait until it is ready."""
        await self.run_pod(*containers, **spec)
        return await self.pod("p", self.is_ready)

    async def pod(self, app: str, condition: Callable[[Object], bool]) -> Object:
        """Wait until a pod of the Deployment is as wanted, and return it."""

        def find(informer: Informer) -> Object | None:
            pods = [pod for pod in informer.objects() if pod["metadata"]["labels"]["app"] == app]
            return next((pod for pod in pods if condition(pod)), None)

        return await self.pods.wait_for(find, TIMEOUT_S)

    async def gone(self, app: str) -> None:
        """Wait until the Deployment has no pod."""

        def find(informer: Informer) -> bool | None:
            return not any(pod["metadata"]["labels"]["app"] == app for pod in informer.objects()) or None

        await self.pods.wait_for(find, TIMEOUT_S)

    async def events(self, reason: str) -> list[Object]:
        """The events of one reason."""
        return [event for event in await self.cluster.list(EVENT, NAMESPACE) if event["reason"] == reason]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for what no informer announces."""
        async with asyncio.timeout(TIMEOUT_S):
            while not await condition():  # noqa: ASYNC110 - it happens in other processes
                await asyncio.sleep(0.01)

    async def until_event(self, reason: str, text: str) -> Object:
        """Wait for an event whose message contains the text, and return it."""
        found: list[Object] = []

        async def seen() -> bool:
            found[:] = [event for event in await self.events(reason) if text in event["message"]]
            return bool(found)

        await self.until(seen)
        return found[0]

    async def logged(self, container: str, lines: int = 1) -> str:
        """Wait until the one container of this name has written so many lines, and return them."""

        async def written() -> bool:
            log = self.log(container)
            return log.exists() and log.read_text().count("\n") >= lines

        await self.until(written)
        return self.log(container).read_text()

    def log(self, container: str) -> Path:
        """The log of the one container of this name."""
        (found,) = [entry.log for entry in self.kubelet.containers() if entry.container == container]
        return found


Start = Callable[..., contextlib.AbstractAsyncContextManager[Bench]]


@pytest.fixture
async def start_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a kubelet with options; its socket directory is in the test's own directory if `sockets` says so."""

    @contextlib.asynccontextmanager
    async def start(
        images: ImageTable | None = None, namespace: str = NAMESPACE, **options: Any
    ) -> AsyncIterator[Bench]:
        async with (
            Processes() as processes,
            KubeServer(ResourceStore()) as server,
            asyncio.TaskGroup() as group,
        ):
            kubeconfig = tmp_path / "kubeconfig"
            server.write_kubeconfig(kubeconfig)
            async with Cluster(kubeconfig, field_manager="test") as cluster:
                pods, happened = Informer(cluster, POD, namespace), Informer(cluster, EVENT, namespace)
                directory = tmp_path / "run"
                kubelet = Kubelet(cluster, processes, directory, images or ImageTable(), **options)
                server.reach_pods(NodeSpec().name, KubeletAgent(kubelet))
                await register_nodes(cluster, [NodeSpec()])
                controllers = Controllers(cluster, DEFAULT_TIME_SCALE)
                tasks = [group.create_task(part.run()) for part in (kubelet, pods, happened, controllers)]
                bench = Bench(cluster, kubelet, processes, pods, directory, tasks[0], happened, kubeconfig)

                def remember(key: tuple[str, str]) -> None:
                    if pod := pods.get(*key):
                        bench.seen.append(pod)

                pods.on_change(remember)
                try:
                    yield bench
                finally:
                    for task in tasks:
                        task.cancel()
                        await asyncio.wait([task])

    return start


@pytest.fixture
async def bench(start_bench: Start) -> AsyncIterator[Bench]:
    """A kubelet with the built-in images."""
    async with start_bench() as running:
        yield running


@pytest.fixture
def kubectl(kubectl_binary: Path, bench: Bench, tmp_path: Path) -> Kubectl:
    """kubectl as the administrator of the bench's cluster."""
    return Kubectl(kubectl_binary, bench.kubeconfig, tmp_path / "kubectl", NAMESPACE)
