"""The platform's queue messages (contract section 3), as frozen msgspec structs with the contract's JSON names.

Optional fields are left out when empty; the fields that the contract calls required are always written but, as a
reader meets older and newer peers, defaulted on input where that is safe. Payload and body stay raw bytes.
"""

from datetime import UTC, datetime
from itertools import repeat
from typing import Annotated, Any, Final, TypeVar

import msgspec

from framework.contract import NO_JSON, VERSION, ZERO_TIME

JSON_CONTENT_TYPE: Final = "application/json"

ASYNC: Final = "async"
SYNC: Final = "sync"

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
UInt64 = Annotated[int, msgspec.Meta(ge=0)]


class State:
    """Values of the `state` fields (contract 3.2)."""

    QUEUED: Final = "queued"
    DISPATCHING: Final = "dispatching"
    RUNNING: Final = "running"
    SUCCEEDED: Final = "succeeded"
    FAILED: Final = "failed"
    EXPIRED: Final = "expired"
    DEAD_LETTERED: Final = "dead_lettered"


class FailureClass:
    """Values of the `failureClass` fields: those of contract 3.2 and, where these say too little, our own."""

    NONE: Final = ""
    FRAMEWORK_ERROR: Final = "framework_error"
    FRAMEWORK_TIMEOUT: Final = "framework_timeout"
    HANDLER_ERROR: Final = "handler_error"
    """The handler answered, and its answer's `error` is set (S17)."""
    FRAMEWORK_REFUSED: Final = "framework_refused"
    """The framework answered with another status than 2xx (S18)."""
    MALFORMED_ANSWER: Final = "malformed_answer"
    """A 2xx answer that is no envelope: no JSON, no UTF-8, a field of the wrong type."""
    INVALID_STATUS_CODE: Final = "invalid_status_code"
    """An envelope whose `statusCode` is outside 100 to 599 (S17)."""
    RESULT_TOO_LARGE: Final = "result_too_large"
    """An answer or a result above what is read or can be stored (S9, S18)."""
    DEADLINE_EXCEEDED: Final = "deadline_exceeded"
    """The budget was used up before the call could start: it did not run (S7)."""
    CANCELLED: Final = "cancelled"
    """The caller or the platform took the invocation back (S8)."""
    WORKER_LOST: Final = "worker_lost"
    """Its worker was lost when it may have run, and it must not run again (S13)."""
    NO_WORKER_TEMPLATE: Final = "no_worker_template"
    ACTIVATION_TIMEOUT: Final = "activation_timeout"
    DISPATCH_ERROR: Final = "dispatch_error"
    MALFORMED_MESSAGE: Final = "malformed_message"
    RETRY_EXHAUSTED: Final = "retry_exhausted"


class Event:
    """Values of a metric's `eventType` (contract 3.2; the last three are ours: S2 and S14)."""

    REGISTERED: Final = "registered"
    HEARTBEAT: Final = "heartbeat"
    STARTED: Final = "invocation_started"
    FINISHED: Final = "invocation_finished"
    FAILED: Final = "invocation_failed"
    FRAMEWORK_UNHEALTHY: Final = "framework_unhealthy"
    FRAMEWORK_HEALTHY: Final = "framework_healthy"
    DEREGISTERED: Final = "deregistered"


class Source:
    """Values of a dead letter's `source` (contract 3.2)."""

    INVOCATION: Final = "invocation"
    DISPATCH: Final = "dispatch"


class MalformedMessageError(ValueError):
    """A message that is not what its subject promises; the text names the field."""


def _always(value: Any) -> Any:
    """Field default that is written even when unchanged: the contract's "required" fields."""
    return msgspec.field(default_factory=repeat(value).__next__)  # as a lambda, at a tenth of the time


class InvocationMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """API → invoke (contract 3.4)."""

    version: str = _always(VERSION)
    invocation_id: str = msgspec.field(name="invocationID")
    serverless_request_id: str = msgspec.field(name="serverlessRequestID")
    mode: str = _always(ASYNC)
    state: str = ""
    content_type: str = ""
    headers: dict[str, str] = {}
    attributes: dict[str, str] = {}
    payload: msgspec.Raw = NO_JSON
    timeout_seconds: Int32 = 0
    result_subject: str = ""
    metrics_subject: str = ""
    reply_subject: str = ""
    enqueued_at: Time = _always(ZERO_TIME)


class WorkerDispatchMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Activator → dispatch (contract 3.5).

    `enqueued_at` is ours: since when the caller waits, and from when `timeout_seconds` counts (S7).
    """

    version: str = _always(VERSION)
    invocation_id: str = msgspec.field(name="invocationID")
    serverless_request_id: str = msgspec.field(name="serverlessRequestID")
    worker_name: str
    worker_namespace: str
    mode: str = _always(ASYNC)
    state: str = ""
    content_type: str = ""
    headers: dict[str, str] = {}
    attributes: dict[str, str] = {}
    payload: msgspec.Raw = NO_JSON
    timeout_seconds: Int32 = 0
    result_subject: str = ""
    metrics_subject: str = ""
    reply_subject: str = ""
    enqueued_at: Time = ZERO_TIME
    dispatched_at: Time = _always(ZERO_TIME)


class InvocationResultMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Sidecar or activator → result and reply inbox (contract 3.8)."""

    version: str = _always(VERSION)
    invocation_id: str = msgspec.field(name="invocationID")
    serverless_request_id: str = msgspec.field(name="serverlessRequestID")
    mode: str = _always(ASYNC)
    state: str = ""
    failure_class: str = ""
    reply_subject: str = ""
    worker_name: str = ""
    worker_namespace: str = ""
    status_code: int = 0
    content_type: str = ""
    headers: dict[str, str] = {}
    body: msgspec.Raw = NO_JSON
    error: str = ""
    started_at: Time = _always(ZERO_TIME)
    completed_at: Time = _always(ZERO_TIME)


class WorkerMetricMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Sidecar → metrics (contract 3.9)."""

    version: str = _always(VERSION)
    serverless_request_id: str = msgspec.field(name="serverlessRequestID")
    worker_name: str
    worker_namespace: str
    invocation_id: str = msgspec.field(name="invocationID", default="")
    event_type: str
    inflight: Int32 = 0
    status_code: int = 0
    error: str = ""
    reported_at: Time = _always(ZERO_TIME)


class DeadLetterMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Sidecar or activator → dlq (contract 3.10). `payload` is always valid JSON: see `safe_payload`."""

    version: str = _always(VERSION)
    source: str
    state: str = _always(State.DEAD_LETTERED)
    failure_class: str = _always("")
    invocation_id: str = msgspec.field(name="invocationID", default="")
    serverless_request_id: str = msgspec.field(name="serverlessRequestID", default="")
    worker_name: str = ""
    worker_namespace: str = ""
    original_subject: str = _always("")
    stream: str = ""
    consumer: str = ""
    stream_sequence: UInt64 = 0
    consumer_sequence: UInt64 = 0
    delivery_count: UInt64 = 0
    error: str = _always("")
    payload: msgspec.Raw = NO_JSON
    failed_at: Time = _always(ZERO_TIME)


_Message = TypeVar("_Message", bound=msgspec.Struct)


def decode(data: bytes, message_type: type[_Message]) -> _Message:
    """Decode one queue message.

    Raises:
        MalformedMessageError: not JSON, nested too deep, a required field missing or of the wrong type.
    """
    try:
        data.decode()  # msgspec looks neither into raw values nor into unknown fields
        return msgspec.json.decode(data, type=message_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessageError(f"not a {message_type.__name__}: {error}") from error


def encode(message: msgspec.Struct) -> bytes:
    """Encode a message as the contract's JSON."""
    return msgspec.json.encode(message)


def utc_now() -> datetime:
    """The time that goes into messages: UTC, microseconds."""
    return datetime.now(UTC)
