"""The kubelet stand-in as a whole: the pods of one node become processes of this machine."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import structlog

from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import POD, SECRET, Object
from simulator.kubelet.container import Container
from simulator.kubelet.context import Node
from simulator.kubelet.events import EventRecorder
from simulator.kubelet.images import ImageTable
from simulator.kubelet.pod import PodWorker
from simulator.kubelet.socket_dir import SocketDir
from simulator.nodes import DEFAULT_NODE
from simulator.processes.availability import mount_namespaces_available, running_as_root, separate_users_problem
from simulator.processes.cgroups import cgroup_limits
from simulator.processes.completion import complete
from simulator.processes.memory import MemoryLimits, MemoryWatch
from simulator.processes.spawn import Processes
from simulator.processes.user_range import DEFAULT_USERS

DEFAULT_TIME_SCALE: Final = 0.05
"""A 10 s back-off takes half a second."""
UNLIMITED: Final = aiohttp.ClientTimeout()
"""Each probe and each hook has its own time-out; a hook's may be longer than aiohttp's 5 minutes."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningContainer:
    """One container on this node. `pid` is also the id of its process group; None while no process runs."""

    namespace: str
    pod: str
    container: str
    pid: int | None
    restarts: int
    log: Path


class Kubelet:
    """Runs the pods that are bound to the node `node_name`, in a cluster that has no kubelets of its own.

    `time_scale` shortens back-offs and probe periods, but neither grace periods nor time-outs. Containers have mounts
    and users of their own where that is possible, unless `mount_namespaces` or `separate_users` is False; see
    docs/kubelet.md for what happens without. `users` are those of this machine that it may give to pods. With
    `keep_logs` the logs of pods that are gone stay, in `<directory>/logs/<pod>/`.
    """

    def __init__(
        self,
        cluster: Cluster,
        processes: Processes,
        directory: Path,
        images: ImageTable,
        *,
        time_scale: float = DEFAULT_TIME_SCALE,
        mount_namespaces: bool = True,
        separate_users: bool = True,
        users: range = DEFAULT_USERS,
        keep_logs: bool = False,
        node_name: str = DEFAULT_NODE,
    ) -> None:
        self._cluster = cluster
        self._processes = processes
        self._directory = directory / "pods"
        self._node_name = node_name
        self._images = images
        self._time_scale = time_scale
        self._mount_namespaces = mount_namespaces
        self._separate_users = separate_users
        self._users = users
        self._kept_logs = directory / "logs" if keep_logs else None
        self._pods = Informer(cluster, POD)
        self._secrets = Informer(cluster, SECRET)
        self._workers: dict[Key, PodWorker] = {}
        self._ended: dict[Key, str] = {}  # uids of pods that we removed and the informer may still hold

    def containers(self) -> list[RunningContainer]:
        """Every container of every pod on this node, pods and containers in the order of their start."""
        return [entry for worker in self._workers.values() for entry in _containers(worker)]

    def containers_of(self, namespace: str, pod: str) -> list[Container]:
        """The containers of one pod, in the order of its spec, init containers first; none if it is not here."""
        worker = self._workers.get((namespace, pod))
        return list(worker.containers) if worker else []

    async def run(self) -> None:
        """Run until cancelled, which ends every container, gracefully but within seconds.

        Raises:
            EnvironmentMissing: the shared mount point cannot be used.
        """
        mount_namespaces, separate_users = await complete(asyncio.to_thread(self._ask_machine))
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._processes.remove_at_end(self._directory)
        memory = await complete(asyncio.to_thread(self._memory_limits))
        # Probes open a connection each, as those of a kubelet do: an idle one would hide that nobody accepts any more.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            SocketDir(self._processes) as sockets,
            aiohttp.ClientSession(connector=connector, timeout=UNLIMITED) as session,
            asyncio.TaskGroup() as group,
        ):
            recorder = EventRecorder(self._cluster, self._node_name)
            node = Node(
                self._cluster,
                self._processes,
                self._images,
                recorder,
                session,
                self._time_scale,
                mount_namespaces,
                separate_users,
                memory,
                self._users,
                self._kept_logs,
            )
            self._pods.on_change(lambda key: self._pod_changed(key, node, sockets, group))
            for part in (recorder, self._secrets, self._pods, memory):
                group.create_task(part.run())

    def _memory_limits(self) -> MemoryLimits:
        """What keeps containers to their memory: the kernel, if it lets us ask it."""
        groups = cgroup_limits(f"unitsim-{os.getpid()}-{secrets.token_hex(4)}")
        if groups is None:
            return MemoryWatch()
        self._processes.remove_at_end(groups.parent)
        return groups

    def _ask_machine(self) -> tuple[bool, bool]:
        """Whether containers can have mounts, and users, of their own; the users need the mounts."""
        if self._mount_namespaces and self._separate_users:
            problem = separate_users_problem(self._users[0])
            if problem is None:
                return True, True
            if running_as_root():
                _log.warning(
                    "containers cannot have users of their own and run as root: user code can read what sidecars know; "
                    "make the interpreter and this project readable for everybody",
                    reason=problem,
                )
        return self._mount_namespaces and mount_namespaces_available(), False

    def _pod_changed(self, key: Key, node: Node, sockets: SocketDir, group: asyncio.TaskGroup) -> None:
        pod, worker = self._pods.get(*key), self._workers.get(key)
        uid = pod["metadata"]["uid"] if pod else ""
        if worker is not None:
            worker.update(pod if uid == worker.uid else None)
        elif pod is None:
            self._ended.pop(key, None)
        elif pod["spec"].get("nodeName") == self._node_name and self._ended.get(key) != uid:
            typed: Object = {"kind": POD.kind, "apiVersion": POD.api_version, **pod}
            name = "/".join(key)
            directory = self._directory / uid
            worker = PodWorker(node, self._cluster, typed, directory, sockets, self._secrets)
            self._workers[key] = worker
            worker.update(typed)

            def ended(task: asyncio.Task[None]) -> None:
                self._ended[key] = self._workers.pop(key).uid
                if not task.cancelled() and task.exception() is None:
                    self._pod_changed(key, node, sockets, group)  # another pod of the name may be there

            group.create_task(worker.run(), name=f"pod {name}").add_done_callback(ended)


def _containers(worker: PodWorker) -> Iterator[RunningContainer]:
    metadata = worker.pod["metadata"]
    for container in worker.containers:
        yield RunningContainer(
            namespace=metadata["namespace"],
            pod=metadata["name"],
            container=container.name,
            pid=container.process.pid if container.process else None,
            restarts=container.record.restarts,
            log=container.log,
        )
