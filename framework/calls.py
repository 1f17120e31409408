"""The calls that run at this moment: how many there may be, and how they end when the worker stops."""

import asyncio
from typing import Any, Final

CANCELLED_GRACE_S: Final = 1.0
"""How long what was cancelled may clean up before it is left behind."""


class Calls:
    """Bounds and counts calls; each belongs to the task that runs it."""

    def __init__(self, limit: int | None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"max_concurrency is {limit}: at least 1 call must be possible, None means no limit")
        self._limit = limit
        self._tasks: set[asyncio.Task[object]] = set()
        self._left_behind = 0

    @property
    def full(self) -> bool:
        """Whether no other call may begin."""
        return self._limit is not None and len(self._tasks) + self._left_behind >= self._limit

    def begin(self) -> "asyncio.Task[object]":
        """Count the current task as a call, until `end`."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        return task

    def end(self, task: "asyncio.Task[object]") -> None:
        """Stop counting the task."""
        self._tasks.discard(task)

    def occupy_until(self, ended: "asyncio.Future[Any]") -> None:
        """Keep a place for a plain handler whose caller is gone: its thread still works, on the same GPU."""

        def leave(_ended: "asyncio.Future[Any]") -> None:
            self._left_behind -= 1

        if not ended.done():
            self._left_behind += 1
            ended.add_done_callback(leave)

    async def drain(self, grace_s: float) -> None:
        """Wait up to `grace_s` seconds for the running calls, then cancel them."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCELLED_GRACE_S)
