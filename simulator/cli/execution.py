"""Running a command's coroutine so that Ctrl-C and SIGTERM both end it in order."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from sidecar.event_loop import loop_factory

T = TypeVar("T")


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new event loop.

    Raises:
        KeyboardInterrupt: SIGINT or SIGTERM came; everything that the coroutine had started is cleaned up by then.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_ended_by_sigterm(main))
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


async def _ended_by_sigterm(main: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await main
