"""The two measurements of a whole path: callers who wait for results, and callers who only submit."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec

from tests.bench.lean_callers import Callers
from tests.bench.path_sites import Site
from tests.bench.path_stream import Stream
from tests.bench.processes import POOL
from tests.bench.verification import outcomes, problems
from tests.bench.workload import IncorrectRunError

RUN_TIMEOUT_S: Final = 60.0
"""For one measurement; a default one takes up to 10 s."""
SETTLE_TIMEOUT_S: Final = 15.0
SETTLE_POLL_S: Final = 0.2
POLL_S: Final = 0.01
"""How often the server is asked how many results there are: 1 % of a core, for both kinds."""
WARM_UP: Final = 20
"""Calls before each measurement, and one more for each caller."""
MODES: Final = ("sync", "async")


@dataclass(frozen=True, slots=True)
class Run:
    """One measurement. CPU is microseconds per invocation, by part; `callers_busy` is our share of one CPU.

    `seconds` are those of each call until its answer; the rates are answers, and stored results, per second.
    """

    kind: str
    mode: str
    workers: int
    callers: int
    invocations: int
    per_second: float
    completed_per_second: float
    seconds: tuple[float, ...]
    cpu_us: dict[str, float]
    callers_busy: float


@dataclass(slots=True)
class Bench:
    """One path under measurement, and the invocations that it accepted so far."""

    site: Site
    stream: Stream
    accepted: list[str] = field(default_factory=list)

    async def run(self, mode: str, callers: int, count: int) -> Run:
        """Call `count` times in one mode, and wait until as many results are stored.

        Raises:
            IncorrectRunError: calls were refused or lost, or it took too long.
        """
        name = f"{self.site.kind}, {len(self.site.workers)} workers, {callers} {mode} callers"
        body = _body(mode)
        async with self._in_time(name), _connected(self.site.api_url, callers) as connections:
            await self._call(name, connections, body, WARM_UP + callers)
            await self._stored()
            before, own, began = self.site.cpu(), time.process_time(), time.perf_counter()
            seconds = await self._call(name, connections, body, count)
            answered_s = time.perf_counter() - began
            await self._stored()
            took_s, used = time.perf_counter() - began, self.site.cpu()
            own = time.process_time() - own
        return Run(
            kind=self.site.kind,
            mode=mode,
            workers=len(self.site.workers),
            callers=callers,
            invocations=count,
            per_second=count / answered_s,
            completed_per_second=count / took_s,
            seconds=tuple(seconds),
            cpu_us={part: (used[part] - before[part]) / count for part in used},
            callers_busy=own / took_s,
        )

    async def verify(self) -> None:
        """Check that each accepted invocation was delivered, answered and reported exactly once, and nothing else.

        Events follow results, so that what is missing is waited for.

        Raises:
            IncorrectRunError: it was not so in time.
        """
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        while True:
            state = await self.stream.consumers(self.site.consumers)
            found = problems(self.accepted, outcomes(await self.stream.records()), state)
            if not found:
                return
            if time.monotonic() > deadline:
                raise IncorrectRunError(f"{self.site.kind}, {len(self.site.workers)} workers", found)
            await asyncio.sleep(SETTLE_POLL_S)

    async def _call(self, name: str, callers: Callers, body: bytes, count: int) -> list[float]:
        calls = await callers.call(body, count)
        self.accepted += calls.accepted
        if calls.refused:
            raise IncorrectRunError(name, [f"{len(calls.refused)} of {count} refused, the first: {calls.refused[0]}"])
        return calls.seconds

    async def _stored(self) -> None:
        """Return when there are as many results as accepted invocations."""
        while await self.stream.results() < len(self.accepted):  # noqa: ASYNC110 - who stores them tells nobody
            await asyncio.sleep(POLL_S)

    @asynccontextmanager
    async def _in_time(self, name: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(RUN_TIMEOUT_S):
                yield
        except TimeoutError:
            self.site.check()
            raise IncorrectRunError(name, [f"not done after {RUN_TIMEOUT_S:g} s"]) from None


@asynccontextmanager
async def _connected(url: str, number: int) -> AsyncIterator[Callers]:
    callers = await Callers.connect(url, number)
    try:
        yield callers
    finally:
        callers.close()


def _body(mode: str) -> bytes:
    payload = {"prompt": "a lighthouse in fog", "steps": 4}
    call = {"serverlessRequestID": POOL, "mode": mode, "payload": payload, "timeoutSeconds": 60}
    return msgspec.json.encode(call)
