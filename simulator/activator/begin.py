"""Starting work from where nothing may be raised: the turn of the loop in which the queue's messages are read."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def begin(work: Coroutine[Any, Any, None], tasks: asyncio.TaskGroup) -> None:
    """Have work done, unless the activator has ended: then the invocation is delivered again."""
    try:
        tasks.create_task(work)
    except RuntimeError:  # the group has ended
        work.close()
