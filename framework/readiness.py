"""Whether a worker can take calls: its `load()` is done, and its `healthy()` agrees (contract section 8)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, cast

from framework.calls import CANCELLED_GRACE_S
from framework.handlers import Loads, ReportsHealth, is_async
from framework.threads import in_thread

HEALTHY_TIMEOUT_S: Final = 1.0
"""Below the two seconds that the sidecar waits for a health answer."""


class LoadError(Exception):
    """The handler's `load()` raised; the message says what."""


class Readiness:
    """Runs `load()` once and asks `healthy()` when told to; a handler without these hooks is always ready."""

    def __init__(self, handler: object, healthy_timeout_s: float = HEALTHY_TIMEOUT_S) -> None:
        self._load = handler.load if isinstance(handler, Loads) else None
        self._healthy = handler.healthy if isinstance(handler, ReportsHealth) else None
        self._timeout_s = healthy_timeout_s
        self._asking: asyncio.Task[bool] | None = None
        self.loaded = self._load is None

    async def load(self) -> None:
        """Load; from then on `loaded` is true.

        Raises:
            LoadError: the hook raised.
        """
        if self._load is not None:
            try:
                await _call(self._load, "load")
            except (Exception, SystemExit) as error:
                raise LoadError(f"load() failed: {_described(error)}") from error
        self.loaded = True

    async def ask(self) -> bool:
        """Return whether calls can be taken, within the time limit.

        One question at a time: who asks while a plain hook is stuck waits for that answer, and starts no other thread.
        """
        if not self.loaded or self._healthy is None:
            return self.loaded
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._answer(self._healthy))
        done, _ = await asyncio.wait({self._asking}, timeout=self._timeout_s)
        return bool(done) and not self._asking.cancelled() and self._asking.result()

    async def _answer(self, healthy: Callable[[], object]) -> bool:
        """Ask the hook; only an async one can be given up, so that the next question finds a fresh start."""
        try:
            async with asyncio.timeout(self._timeout_s if is_async(healthy) else None):
                return bool(await _call(healthy, "healthy"))
        except (Exception, SystemExit):
            return False

    async def close(self) -> None:
        """Cancel a question that is still open."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking}, timeout=CANCELLED_GRACE_S)


async def _call(hook: Callable[[], object], name: str) -> object:
    if is_async(hook):
        return await cast("Callable[[], Awaitable[object]]", hook)()
    return (await in_thread(hook, name)).value()


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
