"""Clean-up that a cancellation must not cut short."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def complete(work: Coroutine[Any, Any, T], hurry: Callable[[], None] | None = None) -> T:
    """Run `work`, which must be bounded, to its end; a cancellation that came meanwhile is raised after it.

    `hurry` is called when the first one comes.
    """
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            if hurry and not cancelled:
                hurry()
            cancelled = True
    if cancelled:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise asyncio.CancelledError from error
        raise asyncio.CancelledError
    return task.result()
