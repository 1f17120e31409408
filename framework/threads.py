"""Plain functions in threads of their own: they neither wait for a pool, nor hold up the end of the program."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Outcome(msgspec.Struct, Generic[T], frozen=True):
    """How a function ended: with `value()`, which raises what the function raised."""

    result: T | None
    error: BaseException | None

    def value(self) -> T:
        """Return what the function returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value] # without an error there is a result, which may be None


def in_thread(work: Callable[[], T], name: str) -> "asyncio.Future[Outcome[T]]":
    """Start `work` in a daemon thread, in the caller's context, and return a future of its outcome.

    The future never fails, since not every exception may be put into one (StopIteration may not).
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Outcome[T]] = loop.create_future()
    context = copy_context()

    def settle(outcome: Outcome[T]) -> None:
        if not done.done():
            done.set_result(outcome)

    def target() -> None:
        try:
            outcome = Outcome(context.run(work), None)
        except BaseException as error:  # sys.exit() too: nobody waits for a thread's exit code
            outcome = Outcome(None, error)
        with contextlib.suppress(RuntimeError):  # the loop ended first
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=target, name=name, daemon=True).start()
    return done
