"""The order to end one container, and pauses that it cuts short."""

import asyncio

from simulator.kube.kinds import Object
from simulator.kubelet.race import first_of


def pod_grace_s(pod: Object) -> float:
    """The grace period that a pod asks for, in seconds."""
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30))


class Stopping:
    """Whether a container is to end. It has `grace_s` seconds for it, and waits for its turn before its SIGTERM."""

    def __init__(self, time_scale: float) -> None:
        self.grace_s = 0.0
        self.turn: asyncio.Event | None = None
        self._time_scale = time_scale
        self._asked = asyncio.Event()

    @property
    def asked(self) -> bool:
        """Whether the container is to end."""
        return self._asked.is_set()

    @property
    def killed(self) -> bool:
        """Whether the container is to end at once."""
        return self.asked and self.grace_s == 0

    def ask(self, grace_s: float, turn: asyncio.Event | None = None) -> None:
        """End the container."""
        self.grace_s, self.turn = grace_s, turn
        self._asked.set()

    async def wait(self) -> None:
        """Wait until the container is to end."""
        await self._asked.wait()

    async def pause(self, delay_s: float) -> None:
        """Sleep so many scaled seconds, but no longer than until the container is to end."""
        await self.pause_unscaled(delay_s * self._time_scale)

    async def pause_unscaled(self, delay_s: float) -> None:
        """Sleep so many seconds of this clock, but no longer than until the container is to end."""
        if delay_s > 0:
            await first_of(asyncio.sleep(delay_s), self.wait())
