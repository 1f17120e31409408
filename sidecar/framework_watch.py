"""Whether the framework can take work: asked before the first dispatch, and ever after (S1, S2)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from sidecar.backoff import jittered

FIRST_RETRY_S: Final = 0.02
LONGEST_RETRY_S: Final = 0.05
"""Asking a socket that nobody serves takes microseconds, and a cold start waits for the answer."""
CHECK_INTERVAL_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 5.0
"""A probe that takes longer is a bad one; the client's own limit is shorter and says more."""

log = structlog.get_logger(__name__)


class FrameworkWatch:
    """Asks the framework's health: often while it is down, every second while it is up and idle.

    `on_change` is called with the new health each time it changes; `problem` tells people why it is bad.
    """

    def __init__(
        self,
        is_healthy: Callable[[], Awaitable[bool]],
        *,
        on_change: Callable[[bool], None] | None = None,
        problem: Callable[[], str] | None = None,
    ) -> None:
        self._is_healthy = is_healthy
        self._problem = problem
        self._logged_problem = ""
        self._healthy = asyncio.Event()
        self._doubt = asyncio.Event()
        self._calls = 0
        self.on_change = on_change

    @property
    def healthy(self) -> bool:
        """The last answer."""
        return self._healthy.is_set()

    async def wait_healthy(self) -> None:
        """Wait until the framework is healthy."""
        await self._healthy.wait()

    def call_began(self) -> None:
        """A running call is its own probe: a framework that works hard need not answer its health meanwhile."""
        self._calls += 1

    def call_ended(self) -> None:
        """The end of `call_began`."""
        self._calls -= 1

    def unreachable(self) -> None:
        """Nobody listens at the socket: stop at once, and ask until somebody does."""
        self._set(healthy=False)
        self._doubt.set()

    def doubt(self) -> None:
        """A call broke: ask now."""
        self._doubt.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            for wait_s in jittered(FIRST_RETRY_S, LONGEST_RETRY_S):
                self._doubt.clear()
                if await self._probe():
                    break
                self._set(healthy=False)
                self._log_problem()
                await asyncio.sleep(wait_s)
            self._set(healthy=True)
            await self._until_worth_asking()

    async def _probe(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await self._is_healthy()
        except TimeoutError:
            return False

    async def _until_worth_asking(self) -> None:
        while not self._doubt.is_set():
            try:
                async with asyncio.timeout(CHECK_INTERVAL_S):
                    await self._doubt.wait()
            except TimeoutError:
                if not self._calls:
                    return

    def _set(self, *, healthy: bool) -> None:
        if healthy == self._healthy.is_set():
            return
        if healthy:
            self._healthy.set()
            self._logged_problem = ""
            log.info("framework is healthy")
        else:
            self._healthy.clear()
            log.warning("framework is not healthy, fetching pauses")
        if self.on_change is not None:
            self.on_change(healthy)

    def _log_problem(self) -> None:
        """Say what is being waited for, once for each reason."""
        problem = self._problem() if self._problem is not None else ""
        if problem != self._logged_problem:
            self._logged_problem = problem
            log.info("waiting for the framework", reason=problem)
