"""Requests to the JetStream API: JSON there, JSON back, refusals as `QueueError`s."""

from typing import Any, Final, TypeVar

import msgspec

from sidecar.queue import Queue, QueueRefusedError, QueueUnavailableError

API: Final = "$JS.API"
NOT_FOUND: Final = 404

T = TypeVar("T", bound=msgspec.Struct)


class NotThereError(QueueRefusedError):
    """There is no such message, consumer or stream."""


class _Error(msgspec.Struct, frozen=True):
    code: int = 0
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    error: _Error | None = None


async def ask(queue: Queue, operation: str, request: dict[str, Any] | None, answer: type[T]) -> T:
    """Send one request, such as `STREAM.MSG.GET.<stream>`, and decode its answer.

    Raises:
        NotThereError: what was asked for is not there.
        QueueRefusedError: refused, or the answer is none of JetStream's.
        QueueUnavailableError: no answer in time.
    """
    body = await queue.request(f"{API}.{operation}", b"" if request is None else msgspec.json.encode(request))
    try:
        error = msgspec.json.decode(body, type=_Answer).error
        if error is None:
            return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as problem:
        raise QueueRefusedError(f"{operation}: not an answer of JetStream: {problem}") from problem
    text = f"{operation}: {error.description}"
    if error.code == NOT_FOUND:
        raise NotThereError(text)
    raise (QueueUnavailableError if error.code >= 500 else QueueRefusedError)(text)
