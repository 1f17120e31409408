"""The life of one pod on this node: its directory, its containers in their order, its status, its end."""

import asyncio
import shutil
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Final

import structlog

from framework.contract import SOCKET_DIR
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import Object
from simulator.kube.timestamps import now
from simulator.kubelet.container import Container
from simulator.kubelet.context import Node, PodContext
from simulator.kubelet.deletion import at_deletion, main_ones_had_their_turn, while_ending
from simulator.kubelet.env_sources import ConfigError
from simulator.kubelet.images import substitution_notice
from simulator.kubelet.pod_status import PodFacts, is_final
from simulator.kubelet.ports import PortReservations, called_ports
from simulator.kubelet.race import first_of
from simulator.kubelet.reporting import Publication
from simulator.kubelet.security import volume_group
from simulator.kubelet.socket_dir import SocketDir
from simulator.kubelet.states import ContainerKind, ContainerRecord, Sandbox, Terminated
from simulator.kubelet.status_writer import StatusWriter
from simulator.kubelet.stopping import pod_grace_s
from simulator.kubelet.volume_content import fill_volumes
from simulator.kubelet.volume_files import make_empty_dir, make_files_dir
from simulator.kubelet.volumes import empty_dirs, file_volumes
from simulator.processes.completion import complete
from simulator.processes.user_range import ClaimedUser

FORCED_GRACE_S: Final = 1.0
"""What a pod gets that was removed from the API by force: a cluster does not pull the plug either."""
TELL_TIMEOUT_S: Final = 2.0
"""How long the end of a pod waits for an API that does not take the news of it."""
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
        self._user = ClaimedUser(node.users)
        self._sandbox = Sandbox.ABSENT
        self._frozen: list[ContainerRecord] | None = None
        self._ended = self._lost = False
        self._main_ones_had_their_turn = True
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
            if not self._deleted.is_set():
                self._end(FORCED_GRACE_S)
            elif self._grace_s > FORCED_GRACE_S:
                self._end(0)
            return
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._end(pod["metadata"].get("deletionGracePeriodSeconds") or FORCED_GRACE_S)

    async def run(self) -> None:
        """Start the pod's containers and keep them running; see the class for the end."""
        writing = asyncio.create_task(self._writer.run())
        with PortReservations(self._called_ports()) as ports, self._user:
            try:
                context = self._make_context(ports.ports)
                self.containers = _make_containers(context, self._writer)
                await first_of(self._deleted.wait(), self._live(context), _outcome(writing))
            finally:
                await complete(self._finish(writing), self._hurry)

    async def _live(self, context: PodContext) -> None:
        """The life of the pod up to its deletion, each step of it told before the next."""
        await self._show()
        await fill_volumes(context, self._cluster, self._secrets)
        await self._show(sandbox=Sandbox.READY)
        await self._run_containers()
        # By its restart policy the pod has done its work.
        await self._stop_containers(pod_grace_s(self.pod))
        self._ended = True
        await self._show(sandbox=Sandbox.GONE)
        await asyncio.Event().wait()

    async def _show(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox or self._sandbox
        self._writer.changed()
        await self._writer.written()

    def _end(self, grace_s: float) -> None:
        """Begin the end of the pod; the second time, with no grace left, bring it about."""
        if self._deleted.is_set() and grace_s <= FORCED_GRACE_S < self._grace_s:
            self._kill()
        self._grace_s = grace_s
        if not self._deleted.is_set():
            records = [container.record for container in self.containers]
            self._main_ones_had_their_turn = main_ones_had_their_turn(records)
            self._frozen = records
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
        for volume in file_volumes(self.pod):
            self._volumes[volume.name] = self._directory / "volumes" / volume.name
            make_files_dir(self._volumes[volume.name], group, separate_users=separate_users)
        return PodContext(self._node, self.pod, self._directory, self._volumes, ports, self._user)

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

    async def _run_containers(self) -> None:
        """Start the containers in their order; return when no main one runs any more nor will again."""
        for container in self.containers:
            task = self._start(container)
            if container.kind is ContainerKind.SIDECAR:
                await first_of(container.started.wait(), _outcome(task))
            elif container.kind is ContainerKind.INIT:
                await _outcome(task)
                if _failed(container):
                    return
        mains = [task for container, task in self._tasks.items() if container.kind is ContainerKind.MAIN]
        others = [_outcome(task) for container, task in self._tasks.items() if container.kind is ContainerKind.SIDECAR]
        await first_of(_all(mains), *(_for_ever(other) for other in others))

    def _start(self, container: Container) -> asyncio.Task[None]:
        task = self._tasks[container] = asyncio.create_task(container.run(), name=f"container {container.name}")
        return task

    async def _finish(self, writing: asyncio.Task[None]) -> None:
        """End the containers, report, and remove all that the pod had here."""
        deleted = self._deleted.is_set()
        if deleted:
            # What becomes of the containers is told when all have ended.
            self._writer.changed()
        try:
            await self._stop_containers(self._grace_s if deleted else min(SHUTDOWN_GRACE_S, pod_grace_s(self.pod)))
            if deleted and not self._vanished:
                await self._tell_end()
        finally:
            writing.cancel()
            await asyncio.wait([writing])
            self._user.kill_processes()
            if self._node.kept_logs and self.containers:
                kept = self._node.kept_logs / self.pod["metadata"]["name"]
                shutil.copytree(self._directory / "logs", kept, dirs_exist_ok=True, ignore=_only_logs)
            for directory in (self._directory, *self._volumes.values()):
                shutil.rmtree(directory, ignore_errors=True)
        if deleted and not self._vanished:
            await self._writer.finish()
        self._node.recorder.forget(self.uid)

    async def _tell_end(self) -> None:
        self._frozen, self._ended = None, True
        await first_of(self._show(sandbox=Sandbox.GONE), asyncio.sleep(TELL_TIMEOUT_S))
        self._lost = not is_final(self._facts())

    async def _stop_containers(self, grace_s: float) -> None:
        """Tell all at once; the main containers get SIGTERM first, then the sidecars, the last one first."""
        order = [container for container in self._tasks if container.kind is ContainerKind.SIDECAR]
        mains = [container for container in self._tasks if container not in order]
        turns = {container: asyncio.Event() for container in order}
        for container in self._tasks:
            container.stop(grace_s, turns.get(container))
        await self._await_end(mains)
        for container in reversed(order):
            turns[container].set()
            await self._await_end([container])

    async def _await_end(self, containers: Sequence[Container]) -> None:
        if containers:
            await asyncio.wait([self._tasks[container] for container in containers])
        for container in containers:
            task = self._tasks[container]
            if not task.cancelled() and (error := task.exception()):
                _log.error("container failed", pod=self.pod["metadata"]["name"], container=container.name, error=error)

    def _records(self) -> list[ContainerRecord]:
        records = [container.record for container in self.containers]
        if self._frozen:
            records = self._frozen = [while_ending(*both) for both in zip(self._frozen, records, strict=True)]
        return [at_deletion(record, self.pod["spec"]) for record in records] if self._deleted.is_set() else records

    def _facts(self) -> PodFacts:
        substituted = next((container for container in self.containers if container.substituted), None)
        return PodFacts(
            generation=self.pod["metadata"].get("generation", 1),
            records=self._records(),
            started_at=self._started_at,
            notice=substitution_notice(substituted.record.image) if substituted else "",
            sandbox=self._sandbox,
            ended=self._ended,
            lost=self._lost,
            main_ones_had_their_turn=self._main_ones_had_their_turn,
            spec=self.pod["spec"],
        )


def _make_containers(context: PodContext, publication: Publication) -> list[Container]:
    spec = context.pod["spec"]
    kinds = [
        (ContainerKind.SIDECAR if entry.get("restartPolicy") == "Always" else ContainerKind.INIT, entry)
        for entry in spec.get("initContainers") or ()
    ]
    kinds += [(ContainerKind.MAIN, entry) for entry in spec["containers"]]
    return [Container(context, entry, kind, publication) for kind, entry in kinds]


async def _outcome(task: asyncio.Task[None]) -> None:
    """Wait for a task without owning it: to cancel this wait does not cancel the task."""
    await asyncio.wait([task])
    task.result()


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        await _outcome(task)


async def _for_ever(work: Awaitable[None]) -> None:
    """Raise what the work raises; never return."""
    await work
    await asyncio.Event().wait()


def _failed(container: Container) -> bool:
    ended = container.record.state
    return isinstance(ended, Terminated) and ended.exit_code != 0


def _only_logs(_directory: str, names: list[str]) -> list[str]:
    """What is not kept of a directory of logs."""
    return [name for name in names if not name.endswith(".log")]
