"""Which event loop our programs run on."""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)  # structlog is dear to import, and this module is among a worker's first


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where it is installed, a quarter less time per call; None, which means asyncio's own, elsewhere."""
    try:
        import uvloop
    except ImportError:
        return None

    def new_event_loop() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        loop.set_exception_handler(_handle)
        return loop

    return new_event_loop


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody caught, but for lookups of a name that fail when who wanted to connect has given up.

    uvloop goes on with those, and forgets that nobody waits for them: with a slow DNS that is a traceback for each
    attempt to reconnect.
    """
    error = context.get("exception")
    if isinstance(error, socket.gaierror) and context["message"] == "Future exception was never retrieved":
        log.debug("the lookup of a name failed when nobody waited for it any more: %s", error)
    else:
        loop.default_exception_handler(context)
