"""Dead letters (contract 3.10): what they say, and which of them can be queued again. Pure.

A dead letter is named by its own sequence in the stream.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import msgspec

from framework.contract import VERSION
from sidecar.dead_letters import safe_payload
from sidecar.messages import (
    ASYNC,
    DeadLetterMessage,
    FailureClass,
    InvocationMessage,
    MalformedMessageError,
    Source,
    State,
    decode,
)
from sidecar.subjects import SubjectError, Subjects, dispatch_token, normalise_request_id
from simulator.jetstream.stored import StoredMessage

SOURCES: Final = (Source.INVOCATION, Source.DISPATCH, "result", "metric")
"""Values of `source` (contract 3.2)."""
RETRY_PREFIX: Final = "retry-"
MAX_ID_CHARACTERS: Final = 64
"""Of the ID of an invocation that is queued again: the API's own rule for callers' IDs."""
NO_LIMIT: Final = 2**31
"""Bytes of a payload that need not fit into a message."""

_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]+")


class NotRetryableError(ValueError):
    """A dead letter that cannot be queued again; the text says why, and what can be done instead."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One dead letter. `source` and `pool` are those of its subject, to which the server let the publisher publish."""

    sequence: int
    source: str
    pool: str
    message: DeadLetterMessage


@dataclass(frozen=True, slots=True)
class Original:
    """The message that was given up, as far as it is known: `data` may be the first bytes of `size` only."""

    data: bytes
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return len(self.data) == self.size


class _Encoded(msgspec.Struct, forbid_unknown_fields=True):
    """The forms in which `safe_payload` writes what is no text, or too large."""

    base64: str = ""
    size: int = 0
    truncated_base64: str = msgspec.field(name="truncatedBase64", default="")


def read_letter(stored: StoredMessage, subjects: Subjects) -> DeadLetter | None:
    """Read a stored message as a dead letter; None when its subject is none of theirs.

    Others may publish dead letters too (S22): one that cannot be read is listed all the same, as malformed.
    """
    prefix = f"{subjects.prefix}.dlq."
    source, dot, pool = stored.subject.removeprefix(prefix).partition(".")
    if not stored.subject.startswith(prefix) or not dot:
        return None
    try:
        message = decode(stored.data, DeadLetterMessage)
    except MalformedMessageError as error:
        message = DeadLetterMessage(
            source=source,
            failure_class=FailureClass.MALFORMED_MESSAGE,
            error=f"the dead letter itself cannot be read: {error}",
            payload=safe_payload(stored.data, NO_LIMIT),
            failed_at=stored.time,
        )
    return DeadLetter(stored.sequence, source, pool, message)


def copied_original(message: DeadLetterMessage) -> Original:
    """The original as the dead letter itself holds it, which `safe_payload` wrote (Q6, Q7).

    A JSON string is taken for a text that was no JSON: that is what nearly always made it a dead letter.
    """
    raw = bytes(message.payload)
    try:
        text = msgspec.json.decode(raw, type=str | _Encoded)
        if isinstance(text, str):
            return _whole(text.encode())
        if text.truncated_base64:
            return Original(base64.b64decode(text.truncated_base64, validate=True), text.size)
        if text.base64:
            return _whole(base64.b64decode(text.base64, validate=True))
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass  # other JSON, which stays as it was
    return _whole(raw)


def _whole(data: bytes) -> Original:
    return Original(data, len(data))


def names_original(letter: DeadLetter, stream: str) -> bool:
    """Whether the dead letter says where in this stream the original was stored: before the letter itself."""
    return letter.message.stream == stream and 0 < letter.message.stream_sequence < letter.sequence


def retry_id(sequence: int, invocation_id: str) -> str:
    """ID of the invocation that a dead letter becomes: its first one has a result already, so it needs another."""
    known = _NOT_IN_ID.sub("-", invocation_id)
    return f"{RETRY_PREFIX}{sequence}-{known}"[:MAX_ID_CHARACTERS].rstrip("-")


def retried(letter: DeadLetter, original: Original, subjects: Subjects, now: datetime) -> InvocationMessage:
    """The new asynchronous invocation that does the work of a dead letter's original.

    Raises:
        NotRetryableError: the original was no invocation and no dispatch, is not known whole, cannot be read, or
            belongs to another pool than its dead letter (S23).
    """
    if letter.source not in (Source.INVOCATION, Source.DISPATCH):
        raise NotRetryableError(f"it was a {letter.source}; only an invocation or a dispatch can be queued again")
    if not original.complete:
        raise NotRetryableError(
            f"only the first {len(original.data)} of its {original.size} bytes are known; invoke the pool anew"
        )
    try:
        message = decode(original.data, InvocationMessage)  # a dispatch has all its fields
        pool = normalise_request_id(message.serverless_request_id)
    except (MalformedMessageError, SubjectError) as error:
        raise NotRetryableError(f"{error}; correct its payload and invoke the pool anew") from error
    if dispatch_token(pool) != letter.pool:
        raise NotRetryableError(f"it is for pool {pool}, but it was given up in pool {letter.pool}")
    return msgspec.structs.replace(
        message,
        version=VERSION,
        invocation_id=retry_id(letter.sequence, message.invocation_id),
        serverless_request_id=pool,
        mode=ASYNC,
        state=State.QUEUED,
        result_subject=subjects.result(pool),
        metrics_subject=subjects.metrics(pool),
        reply_subject="",
        enqueued_at=now,
    )


def is_same_work(first: bytes, again: InvocationMessage) -> bool:
    """Whether a stored invocation of the same ID is an earlier retry of the same dead letter."""
    try:
        message = decode(first, InvocationMessage)
    except MalformedMessageError:
        return False
    return msgspec.structs.replace(message, enqueued_at=again.enqueued_at) == again
