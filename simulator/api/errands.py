"""What must be brought to its end although the request that began it may be cancelled, when its client leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Errands:
    """The owner of such tasks. Each bounds itself in time."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, errand: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it; who wants its outcome awaits the task within `asyncio.shield`."""
        task = asyncio.create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def finish(self, timeout_s: float) -> None:
        """Wait for all for at most `timeout_s` seconds; what is not done then is cancelled."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Whoever waits gets the error as well; this is for the errand whose request is gone.
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("errand failed", error=str(error))
