"""What can go wrong at the queue, and the translation of nats-py's errors into it."""

import asyncio
from types import TracebackType
from typing import Final, Self

import nats.errors
import nats.js.errors

CANCEL_AGAIN_S: Final = 1.0
"""After so long a cancelled task is cancelled once more."""


class QueueError(Exception):
    """The queue could not do what was asked; nothing is known to have been stored."""


class QueueUnavailableError(QueueError):
    """Not connected, nobody there now, or no answer in time: the same request, with its message id, may be repeated."""


class QueueRefusedError(QueueError):
    """The server said no: a permission, a limit or a wrong configuration. Trying again will not help."""


class MessageTooLargeError(QueueRefusedError):
    """The message is larger than the server's `max_payload`."""


class WrongSequenceError(QueueRefusedError):
    """Somebody else published where the publisher expected to be the next; look again, then decide anew."""


class TtlRefusedError(QueueRefusedError):
    """The stream takes no message with a time to live; without it the message would be taken."""


class CancellationKept:
    """Raises a cancellation that the block swallowed.

    nats-py waits with `asyncio.wait_for`, and that of Python 3.11 returns normally when it is cancelled in the same
    turn of the loop in which its answer comes. Whoever cancelled would then wait for ever.
    """

    def __enter__(self) -> Self:
        self._before = _cancellations()
        return self

    @property
    def swallowed(self) -> bool:
        """Whether the task was cancelled since the block began."""
        return _cancellations() > self._before

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if (error is None or isinstance(error, Exception)) and self.swallowed:
            raise asyncio.CancelledError from error


class translated(CancellationKept):  # noqa: N801 - reads as the context manager it is
    """Turn what nats-py raises inside the block into a `QueueError` that names the operation; keep cancellations."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is None or isinstance(error, QueueError):
            return
        if isinstance(error, nats.errors.MaxPayloadError):
            raise MessageTooLargeError(f"{self._operation}: the message is larger than the server takes") from error
        if isinstance(error, nats.js.errors.ServiceUnavailableError | nats.js.errors.ServerError):
            raise QueueUnavailableError(f"{self._operation}: {_text(error)}") from error
        if isinstance(error, nats.js.errors.APIError | nats.js.errors.NoStreamResponseError):
            raise QueueRefusedError(f"{self._operation}: {_text(error)}") from error
        if isinstance(error, nats.errors.Error | OSError | TimeoutError):
            raise QueueUnavailableError(f"{self._operation}: {_text(error)}") from error


async def ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends, for the same reason: one cancellation may be lost in nats-py."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_S)


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def _text(error: BaseException) -> str:
    description = getattr(error, "description", None)
    return str(description or error) or type(error).__name__
