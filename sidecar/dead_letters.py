"""Messages that can never be handled: what can still be read of them, and their dead letter (contract 3.10). Pure."""

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from sidecar.messages import (
    DeadLetterMessage,
    InvocationResultMessage,
    MalformedMessageError,
    State,
    WorkerDispatchMessage,
    decode,
)
from sidecar.outcome import BAD_GATEWAY
from sidecar.ports import DeliveryPort
from sidecar.subjects import SubjectError, normalise_request_id

MAX_ID_BYTES: Final = 256
"""Of an invocation's ID, which becomes part of a message header, and of what else is copied from unusable messages."""
MAX_ERROR_CHARACTERS: Final = 400
_HEADROOM_BYTES: Final = 8 * 1024
"""Room in a dead letter for everything but the payload, escaped as JSON."""


@dataclass(frozen=True, slots=True)
class Recognised:
    """The parts of an unusable message that are needed to answer its caller."""

    invocation_id: str = ""
    request_id: str = ""
    reply_subject: str = ""
    mode: str = ""
    worker_name: str = ""
    worker_namespace: str = ""

    @property
    def answerable(self) -> bool:
        """Whether a result can be published at all."""
        return bool(self.invocation_id and self.request_id)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and how often an unusable message was delivered; `source` is one of `Source`."""

    source: str
    subject: str
    stream: str
    consumer: str
    sequence: int
    consumer_sequence: int
    attempt: int

    @classmethod
    def of(cls, delivery: DeliveryPort, *, source: str, stream: str, consumer: str) -> "Origin":
        """Where a delivery came from."""
        return cls(
            source=source,
            subject=delivery.subject,
            stream=stream,
            consumer=consumer,
            sequence=delivery.sequence,
            consumer_sequence=delivery.consumer_sequence,
            attempt=delivery.attempt,
        )


def decode_dispatch(data: bytes) -> WorkerDispatchMessage:
    """Decode a dispatch and check its identity fields.

    Raises:
        MalformedMessageError: as for `decode`, an invocationID that cannot be a message id, or a name too long.
    """
    dispatch = decode(data, WorkerDispatchMessage)
    require_short(
        workerName=dispatch.worker_name,
        workerNamespace=dispatch.worker_namespace,
        mode=dispatch.mode,
        replySubject=dispatch.reply_subject,
    )
    if not is_usable_id(dispatch.invocation_id):
        raise MalformedMessageError(
            f"invocationID must have 1 to {MAX_ID_BYTES} bytes of printable characters without spaces"
        )
    return dispatch


def require_short(**texts: str) -> None:
    """Check texts, by their JSON names, that are copied into results, which must fit into a message (S9).

    Raises:
        MalformedMessageError: one is longer than any that is meant.
    """
    for name, text in texts.items():
        if len(text) > MAX_ID_BYTES:
            raise MalformedMessageError(f"{name} has {len(text)} characters, at most {MAX_ID_BYTES} are possible")


def is_usable_id(invocation_id: str) -> bool:
    """Whether an invocation ID fits in a message header: nothing else checks what callers choose (P3)."""
    if not invocation_id.isprintable() or " " in invocation_id:
        return False
    return 0 < len(invocation_id) <= MAX_ID_BYTES and len(invocation_id.encode()) <= MAX_ID_BYTES


def recognise(data: bytes) -> Recognised:
    """Read what can be read of a malformed message (S27); whatever cannot, or is too long to be true, is empty."""
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Recognised()

    def text(name: str) -> str:
        try:
            value = msgspec.json.decode(fields[name], type=str)
        except (KeyError, msgspec.DecodeError, UnicodeDecodeError):
            return ""
        return value if value.isprintable() and len(value.encode()) <= MAX_ID_BYTES else ""

    try:
        request_id = normalise_request_id(text("serverlessRequestID"))
    except SubjectError:
        request_id = ""
    invocation_id = text("invocationID")
    return Recognised(
        invocation_id=invocation_id if is_usable_id(invocation_id) else "",
        request_id=request_id,
        reply_subject=text("replySubject"),
        mode=text("mode"),
        worker_name=text("workerName"),
        worker_namespace=text("workerNamespace"),
    )


def rejected_result(
    known: Recognised, failure_class: str, error: str, now: datetime, worker_name: str = "", worker_namespace: str = ""
) -> InvocationResultMessage:
    """The result that tells the caller of a dead-lettered message (Q3)."""
    return InvocationResultMessage(
        invocation_id=known.invocation_id,
        serverless_request_id=known.request_id,
        mode=known.mode,
        state=State.FAILED,
        failure_class=failure_class,
        reply_subject=known.reply_subject,
        worker_name=worker_name,
        worker_namespace=worker_namespace,
        status_code=BAD_GATEWAY,
        error=error[:MAX_ERROR_CHARACTERS],
        started_at=now,
        completed_at=now,
    )


def dead_letter(
    origin: Origin, known: Recognised, data: bytes, failure_class: str, error: str, now: datetime, max_bytes: int
) -> DeadLetterMessage:
    """The dead letter of a message, small enough for a message of `max_bytes`."""
    return DeadLetterMessage(
        source=origin.source,
        failure_class=failure_class,
        invocation_id=known.invocation_id,
        serverless_request_id=known.request_id,
        worker_name=known.worker_name,
        worker_namespace=known.worker_namespace,
        original_subject=origin.subject,
        stream=origin.stream,
        consumer=origin.consumer,
        stream_sequence=origin.sequence,
        consumer_sequence=origin.consumer_sequence,
        delivery_count=origin.attempt,
        error=error[:MAX_ERROR_CHARACTERS],
        payload=safe_payload(data, max(max_bytes - _HEADROOM_BYTES, 0)),
        failed_at=now,
    )


def safe_payload(data: bytes, max_bytes: int) -> msgspec.Raw:
    """Any bytes as valid JSON of at most about `max_bytes` (Q6, Q7).

    JSON stays as it is, other text becomes a JSON string, other bytes `{"base64": ...}`. What is too large becomes
    `{"size": ..., "truncatedBase64": ...}`; the original is in the stream under the dead letter's `streamSequence`.
    """
    raw = _as_json(data)
    if len(raw) <= max_bytes:
        return msgspec.Raw(raw)
    kept = data[: max_bytes * 3 // 4]
    return msgspec.Raw(msgspec.json.encode({"size": len(data), "truncatedBase64": base64.b64encode(kept).decode()}))


def _as_json(data: bytes) -> bytes:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return msgspec.json.encode({"base64": base64.b64encode(data).decode()})
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return msgspec.json.encode(text)
    return data
