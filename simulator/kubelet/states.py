"""The states of a container, as Kubernetes tells them apart."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final

START_ERROR_CODE: Final = 128
NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""What a cluster tells as the start of a run that never began."""


class Sandbox(Enum):
    """What a pod has on its node besides its containers: volumes and, as a cluster has it, a network."""

    ABSENT = "absent"
    READY = "ready"
    GONE = "gone"


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
    """A process runs since then; `id` is that of this run of the container."""

    started_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Terminated:
    """A run ended, or (`StartError`) never began. `exit_code` is 128 + n after signal n; times that nobody knows
    are None.
    """

    exit_code: int
    reason: str
    finished_at: datetime | None
    started_at: datetime | None = None
    message: str = ""
    id: str = ""


State = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """All that a pod's status says of one container.

    `passed`: the pod was looked at since the container started; on a cluster it is one step later that a started
    sidecar counts, even for one that is not ready.
    """

    name: str
    image: str
    kind: ContainerKind
    state: State
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    passed: bool = False

    @property
    def begun(self) -> bool:
        """Whether it ran, or was tried to be run, at least once."""
        return not isinstance(self.state, Waiting) or self.last is not None


def terminated(code: int, run: Running, finished_at: datetime, message: str = "", *, oom: bool = False) -> Terminated:
    """The end of a run, from its exit code or (negative) the signal that ended it; `message` only if it failed."""
    exit_code = code if code >= 0 else 128 - code
    if exit_code == 0:
        return Terminated(0, "Completed", finished_at, run.started_at, id=run.id)
    return Terminated(exit_code, "OOMKilled" if oom else "Error", finished_at, run.started_at, message, run.id)


def start_error(message: str, run_id: str, finished_at: datetime) -> Terminated:
    """A run that never began."""
    return Terminated(START_ERROR_CODE, "StartError", finished_at, NEVER, message, run_id)
