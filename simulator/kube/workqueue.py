"""The queue between "something changed" and "make it right": one key at a time, each as often as needed.

A key that is added while it waits stays one entry; one that is added while it is worked on is worked on once more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from simulator.errors import ConflictError, KubeError

FIRST_RETRY_S = 0.02
LONGEST_RETRY_S = 10.0

K = TypeVar("K", bound=Hashable)
_log = structlog.get_logger(__name__)


def retry_delay_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row: doubling from FIRST_RETRY_S up to LONGEST_RETRY_S."""
    return min(FIRST_RETRY_S * 2.0 ** min(failures - 1, 30), LONGEST_RETRY_S)


class WorkQueue(Generic[K]):
    """Keys to work on. Not safe across threads; used from one event loop."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: set[K] = set()  # in `_ready`, or to go there when its work is done
        self._working: set[K] = set()
        self._timers: dict[K, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Have the key worked on soon."""
        if key in self._waiting:
            return
        self._waiting.add(key)
        if key not in self._working:
            self._ready.put_nowait(key)

    def add_after(self, key: K, delay_s: float) -> None:
        """Have the key worked on in `delay_s` seconds; of several such wishes the earliest counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        earlier = self._timers.get(key)
        if earlier is not None:
            if earlier[0] <= due:
                return
            earlier[1].cancel()
        self._timers[key] = (due, loop.call_later(delay_s, self._due, key))  # uvloop's timers do not tell their time

    def retry(self, key: K) -> None:
        """Have the key, whose work failed, worked on again after a delay that doubles with each failure."""
        self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, retry_delay_s(self._failures[key]))

    def forget(self, key: K) -> None:
        """The key's work went well: its next failure starts from the shortest delay."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """Wait for a key and take it; `done` must follow."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """The work on a key that `get` returned has ended, well or not."""
        self._working.discard(key)
        if key in self._waiting:
            self._ready.put_nowait(key)

    def close(self) -> None:
        """Drop what was to be added later."""
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)


async def run_controller(
    queue: WorkQueue[K], reconcile: Callable[[K], Awaitable[None]], *, name: str, workers: int = 1
) -> None:
    """Work the queue until cancelled; one key is never in two workers' hands.

    When `reconcile` raises KubeError or OSError the key is retried with a growing delay. Any other exception is a
    fault of the program and is raised (in an ExceptionGroup).
    """
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(_work(queue, reconcile, name))
    finally:
        queue.close()


async def _work(queue: WorkQueue[K], reconcile: Callable[[K], Awaitable[None]], name: str) -> None:
    while True:
        key = await queue.get()
        try:
            await reconcile(key)
            queue.forget(key)
        except ConflictError as error:
            # Someone else wrote first, which is no fault: read again and go on.
            _log.debug("changed meanwhile, trying again", controller=name, key=key, error=str(error))
            queue.retry(key)
        except (KubeError, OSError) as error:
            _log.warning("failed, trying again", controller=name, key=key, error=str(error))
            queue.retry(key)
        finally:
            queue.done(key)
