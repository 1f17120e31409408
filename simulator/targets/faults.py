"""What can be made to go wrong on a target, by name, and why some of it cannot on another."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from simulator.errors import PlatformError


class Fault(StrEnum):
    """The faults that a scenario may need; each means the same wherever it is possible."""

    POD_KILLED = "pod-killed"
    """The unit's pod is deleted without grace: its processes get no time to end."""
    SIDECAR_ENDS = "sidecar-ends"
    """The unit's sidecar is told to end (SIGTERM) and is started again."""
    FRAMEWORK_ENDS = "framework-ends"
    """The unit's framework is told to end (SIGTERM) and is started again."""
    QUEUE_RESTARTS = "queue-restarts"
    """The queue's server is ended and started again, with what it has stored. It is back when this is done."""
    QUEUE_UNREACHABLE = "queue-unreachable"
    """The network lets the unit's pod no longer reach the queue, and its connection is ended."""


Injection = Callable[[str], Awaitable[None]]
"""Makes a fault happen to the unit of this name; one that is no unit's gets an empty name."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one target: how each is made to happen, and of the others why they cannot."""

    injections: Mapping[Fault, Injection]
    refusals: Mapping[Fault, str]

    def refusal(self, needs: Collection[Fault]) -> str:
        """Why a scenario that needs these faults cannot run here; empty when it can."""
        return "; ".join(f"{fault}: {self.refusals[fault]}" for fault in sorted(needs) if fault in self.refusals)

    async def inject(self, fault: Fault, unit: str = "") -> None:
        """Make the fault happen.

        Raises:
            PlatformError: it cannot be made to happen here, or did not come about.
        """
        if fault in self.refusals:
            raise PlatformError(f"{self.refusal([fault])}; a scenario that needs it says so in its `needs`")
        await self.injections[fault](unit)
