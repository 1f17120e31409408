"""What the containers of one pod share: where they run, with what, and how they report."""

from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from simulator.kube.client import Cluster
from simulator.kube.kinds import Object
from simulator.kubelet.events import EventRecorder, EventType
from simulator.kubelet.images import ImageTable, NodeImages
from simulator.kubelet.states import ContainerKind
from simulator.processes.memory import MemoryLimits
from simulator.processes.spawn import Processes
from simulator.processes.user_range import DEFAULT_USERS, ClaimedUser

SOURCE = "kubelet"


@dataclass(frozen=True, slots=True)
class Node:
    """What all pods of this kubelet share. `time_scale` shortens back-offs and probe periods, but no grace period.

    With `mount_namespaces` a container sees its volumes at their mount paths; with `separate_users` it runs under the
    user that its pod names, or one of `users` which its pod has for itself. `memory` keeps containers to their limits.
    `kept_logs` is where the logs of pods go that are gone; None: nowhere. `pulled` are the images that took their
    time to be pulled.
    """

    cluster: Cluster
    processes: Processes
    images: ImageTable
    recorder: EventRecorder
    session: aiohttp.ClientSession
    time_scale: float
    mount_namespaces: bool
    separate_users: bool
    memory: MemoryLimits
    users: range = DEFAULT_USERS
    kept_logs: Path | None = None
    pulled: NodeImages = field(default_factory=NodeImages)


@dataclass(frozen=True, slots=True)
class PodContext:
    """One pod on this node: its directory, the directory of each volume, its port numbers here, and its own user."""

    node: Node
    pod: Object
    directory: Path
    volumes: dict[str, Path]
    ports: dict[int, int]
    user: ClaimedUser

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return str(self.pod["metadata"]["namespace"])

    @property
    def full_name(self) -> str:
        """`name_namespace(uid)`, as kubelets name a pod in messages."""
        metadata = self.pod["metadata"]
        return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"

    def log_path(self, container: str) -> Path:
        """The file that gets a container's output."""
        return self.directory / "logs" / f"{container}.log"

    def scratch(self, container: str) -> Path:
        """A container's home and, unless its program says otherwise, working directory."""
        return self.directory / "scratch" / container

    def emit(self, reason: str, message: str, kind: EventType = "Normal", field: str = "") -> None:
        """Record an event about the pod."""
        self.node.recorder.emit(self.pod, reason, message, kind=kind, source=SOURCE, field=field)

    def emit_for(
        self, container: str, kind: ContainerKind, reason: str, message: str, event: EventType = "Normal"
    ) -> None:
        """Record an event about one of the pod's containers."""
        group = "containers" if kind is ContainerKind.MAIN else "initContainers"
        self.emit(reason, message, event, f"spec.{group}{{{container}}}")
