"""What the plain parts have in common: tasks that work until the part is told to stop."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def work_until(stop: asyncio.Event, work: list[Coroutine[Any, Any, None]]) -> list[BaseException | None]:
    """Run all until `stop` is set or one ends, end the others, and return what became of each."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


def raise_first(outcomes: list[BaseException | None]) -> None:
    """Raise what a task failed with, if one did."""
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
