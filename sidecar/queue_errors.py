"""What can go wrong at the queue, and the translation of nats-py's errors into it."""

from types import TracebackType

import nats.errors
import nats.js.errors


class QueueError(Exception):
    """The queue could not do what was asked; nothing is known to have been stored."""


class QueueUnavailableError(QueueError):
    """Not connected, or no answer in time: the same request may be tried again (with the same message id)."""


class QueueRefusedError(QueueError):
    """The server said no: a permission, a limit or a wrong configuration. Trying again will not help."""


class MessageTooLargeError(QueueRefusedError):
    """The message is larger than the server's `max_payload`."""


class translated:  # noqa: N801 - reads as the context manager it is
    """Turn what nats-py raises inside the block into a `QueueError` that names the operation."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
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


def _text(error: BaseException) -> str:
    description = getattr(error, "description", None)
    return str(description or error) or type(error).__name__
