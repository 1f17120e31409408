"""Tasks that run beside a block, and end in the reverse order of their start."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Background tasks that end one by one, in reverse order of their start."""

    def __init__(self, stack: contextlib.AsyncExitStack, group: asyncio.TaskGroup) -> None:
        self._stack = stack
        self._group = group

    def start(self, part: Coroutine[Any, Any, None]) -> None:
        """Run the part until the block ends; the task group hears of its failure."""
        task = self._group.create_task(part)

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])

        self._stack.push_async_callback(end)
