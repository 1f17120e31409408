"""The states of a container, as Kubernetes tells them apart."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class ContainerKind(Enum):
    """How a container of a pod is treated."""

    INIT = "init"
    """Runs to completion before the next one starts."""
    SIDECAR = "sidecar"
    """A restartable init container: starts before the main ones and ends after them."""
    MAIN = "main"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not running; the reason is one that Kubernetes uses, such as `CrashLoopBackOff`."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """A process runs since then."""

    started_at: datetime
    pid: int


@dataclass(frozen=True, slots=True)
class Terminated:
    """The process ended, or (`StartError`) never began. `exit_code` is 128 + n after signal n."""

    exit_code: int
    reason: str
    finished_at: datetime
    started_at: datetime | None = None
    message: str = ""
    pid: int | None = None


State = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """All that a pod's status says of one container."""

    name: str
    image: str
    kind: ContainerKind
    state: State
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False

    @property
    def begun(self) -> bool:
        """Whether it ran, or was tried to be run, at least once."""
        return not isinstance(self.state, Waiting) or self.last is not None


def terminated(code: int, pid: int, started_at: datetime, finished_at: datetime, message: str = "") -> Terminated:
    """The end of a process, from its exit code or (negative) the signal that ended it; `message` only if it failed."""
    exit_code = code if code >= 0 else 128 - code
    if exit_code == 0:
        return Terminated(0, "Completed", finished_at, started_at, pid=pid)
    return Terminated(exit_code, "Error", finished_at, started_at, message, pid)
