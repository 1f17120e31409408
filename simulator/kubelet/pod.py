"""The life of one pod on this node: its directory, its containers in their order, its status, its end."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from framework.contract import SOCKET_DIR
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import Object
from simulator.kubelet.container import Container
from simulator.kubelet.context import Node, PodContext
from simulator.kubelet.environment import ConfigError
from simulator.kubelet.images import substitution_notice
from simulator.kubelet.pod_status import PodFacts
from simulator.kubelet.ports import PortReservations, called_ports
from simulator.kubelet.pre_stop import remaining_grace_s
from simulator.kubelet.race import first_of
from simulator.kubelet.secrets import fill_secret_volumes
from simulator.kubelet.security import volume_group
from simulator.kubelet.socket_dir import SocketDir
from simulator.kubelet.states import ContainerKind
from simulator.kubelet.status_writer import StatusWriter
from simulator.kubelet.timestamps import now
from simulator.kubelet.volume_files import make_empty_dir, make_secret_dir
from simulator.kubelet.volumes import empty_dirs, secret_volumes
from simulator.processes.completion import complete

SHUTDOWN_GRACE_S: Final = 5.0
"""What a pod gets when the kubelet itself is stopped, whatever its spec says: nobody wants to wait longer."""

_log = structlog.get_logger(__name__)


class PodWorker:
    """Runs one pod until it is deleted (`update`) or the task is cancelled; then nothing of it is left here."""

    def __init__(
        self, node: Node, cluster: Cluster, pod: Object, directory: Path, sockets: SocketDir, secrets: Informer
    ) -> None:
        self.pod = pod
        self.containers: list[Container] = []
        self._node = node
        self._cluster = cluster
        self._directory = directory
        self._sockets = sockets
        self._secrets = secrets
        self._volumes: dict[str, Path] = {}
        self._writer = StatusWriter(cluster, pod, self._facts)
        self._tasks: dict[Container, asyncio.Task[None]] = {}
        self._started_at = now()
        self._deleted = asyncio.Event()
        self._vanished = False
        self._grace_s = 0.0

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return str(self.pod["metadata"]["uid"])

    def update(self, pod: Object | None) -> None:
        """Take in the pod as it is now; None: it was removed from the API without waiting for us."""
        if pod is None:
            self._vanished = True
            self._end(0)
            return
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._end(pod["metadata"].get("deletionGracePeriodSeconds") or 0)

    async def run(self) -> None:
        """Start the pod's containers and keep them running; see the class for the end."""
        writing = asyncio.create_task(self._writer.run())
        with PortReservations(self._called_ports()) as ports:
            try:
                context = self._make_context(ports.ports)
                self.containers = _make_containers(context, self._writer.changed)
                self._writer.changed()
                await first_of(self._deleted.wait(), self._run_containers(context), _outcome(writing))
            finally:
                await complete(self._finish(writing), self._hurry)

    def _end(self, grace_s: float) -> None:
        """Begin the end of the pod; the second time, with no grace left, bring it about."""
        if self._deleted.is_set() and grace_s == 0:
            self._kill()
        self._grace_s = grace_s
        self._deleted.set()

    def _hurry(self) -> None:
        """The kubelet is stopped while the pod is ending."""
        asyncio.get_running_loop().call_later(SHUTDOWN_GRACE_S, self._kill)

    def _kill(self) -> None:
        for container in self.containers:
            container.kill()

    def _called_ports(self) -> set[int]:
        spec = self.pod["spec"]
        try:
            return called_ports([*(spec.get("initContainers") or ()), *spec["containers"]])
        except ConfigError:  # the container that it is about will show it
            return set()

    def _make_context(self, ports: dict[int, int]) -> PodContext:
        self._directory.mkdir(parents=True, mode=0o700)
        for name in ("logs", "scratch", "volumes"):
            (self._directory / name).mkdir()
        for name in empty_dirs(self.pod):
            self._volumes[name] = self._make_volume(name)
        group, separate_users = volume_group(self.pod), self._node.separate_users
        for volume in secret_volumes(self.pod):
            self._volumes[volume.name] = self._directory / "volumes" / volume.name
            make_secret_dir(self._volumes[volume.name], group, separate_users=separate_users)
        return PodContext(self._node, self.pod, self._directory, self._volumes, ports)

    def _make_volume(self, name: str) -> Path:
        if not self._node.mount_namespaces and self._holds_sockets(name):
            directory = self._sockets.make_pod_directory()
        else:
            directory = self._directory / "volumes" / name
        make_empty_dir(directory, volume_group(self.pod), separate_users=self._node.separate_users)
        return directory

    def _holds_sockets(self, volume: str) -> bool:
        """Whether the volume must have a short path, below the contract's directory."""
        spec = self.pod["spec"]
        containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
        mounts = [mount for container in containers for mount in container.get("volumeMounts") or ()]
        return any(mount["name"] == volume and mount["mountPath"].rstrip("/") == SOCKET_DIR for mount in mounts)

    async def _run_containers(self, context: PodContext) -> None:
        """Start the containers in their order, when their Secrets are there; end only by raising what one raised."""
        await fill_secret_volumes(context, self._cluster, self._secrets)
        for container in self.containers:
            task = self._start(container)
            if container.kind is ContainerKind.SIDECAR:
                await first_of(container.started.wait(), _outcome(task))
            elif container.kind is ContainerKind.INIT:
                await _outcome(task)
        await asyncio.gather(*map(_outcome, self._tasks.values()))
        await asyncio.Event().wait()

    def _start(self, container: Container) -> asyncio.Task[None]:
        task = self._tasks[container] = asyncio.create_task(container.run(), name=f"container {container.name}")
        return task

    async def _finish(self, writing: asyncio.Task[None]) -> None:
        """End the containers, report, and remove all that the pod had here."""
        deleted = self._deleted.is_set()
        try:
            await self._stop_containers(self._grace_s if deleted else min(SHUTDOWN_GRACE_S, self._spec_grace_s()))
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            if self._node.kept_logs and self.containers:
                kept = self._node.kept_logs / self.pod["metadata"]["name"]
                shutil.copytree(self._directory / "logs", kept, dirs_exist_ok=True)
            for directory in (self._directory, *self._volumes.values()):
                shutil.rmtree(directory, ignore_errors=True)
        if deleted and not self._vanished:
            await self._writer.finish()
        self._node.recorder.forget(self.uid)

    def _spec_grace_s(self) -> float:
        return float(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _stop_containers(self, grace_s: float) -> None:
        """Main containers first, all at once; then the sidecars, the last one first."""
        clock = asyncio.get_running_loop().time
        began = clock()
        mains = [container for container in self._tasks if container.kind is not ContainerKind.SIDECAR]
        await self._stop(mains, grace_s)
        for container in reversed([container for container in self._tasks if container not in mains]):
            await self._stop([container], remaining_grace_s(grace_s, clock() - began))

    async def _stop(self, containers: Sequence[Container], grace_s: float) -> None:
        for container in containers:
            container.stop(grace_s)
        if containers:
            await asyncio.wait([self._tasks[container] for container in containers])
        for container in containers:
            task = self._tasks[container]
            if not task.cancelled() and (error := task.exception()):
                _log.error("container failed", pod=self.pod["metadata"]["name"], container=container.name, error=error)

    def _facts(self) -> PodFacts:
        substituted = next((container for container in self.containers if container.substituted), None)
        return PodFacts(
            generation=self.pod["metadata"].get("generation", 1),
            records=[container.record for container in self.containers],
            started_at=self._started_at,
            notice=substitution_notice(substituted.record.image) if substituted else "",
            ending=self._deleted.is_set(),
        )


def _make_containers(context: PodContext, on_change: Callable[[], None]) -> list[Container]:
    spec = context.pod["spec"]
    kinds = [
        (ContainerKind.SIDECAR if entry.get("restartPolicy") == "Always" else ContainerKind.INIT, entry)
        for entry in spec.get("initContainers") or ()
    ]
    kinds += [(ContainerKind.MAIN, entry) for entry in spec["containers"]]
    return [Container(context, entry, kind, on_change) for kind, entry in kinds]


async def _outcome(task: asyncio.Task[None]) -> None:
    """Wait for a task without owning it: to cancel this wait does not cancel the task."""
    await asyncio.wait([task])
    task.result()
