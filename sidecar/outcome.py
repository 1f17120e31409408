"""What a call's end means: the durable result and the metric event for it (contract 7.3 step 5). Pure functions."""

from datetime import datetime
from typing import Final

import msgspec

from framework.contract import NO_JSON, VERSION, InvocationRequest, InvocationResponse
from sidecar.messages import (
    Event,
    FailureClass,
    InvocationResultMessage,
    State,
    WorkerDispatchMessage,
    WorkerMetricMessage,
)

BAD_GATEWAY: Final = 502
GATEWAY_TIMEOUT: Final = 504
EXCERPT_CHARACTERS: Final = 200

_NULL: Final = b"null"
_RAW_FIELDS: Final = frozenset({"body"})


class AnswerError(ValueError):
    """The framework's answer breaks the contract; the message says how, with a short excerpt."""


def framework_request(dispatch: WorkerDispatchMessage) -> InvocationRequest:
    """What the framework is told of a dispatch: all but the subjects (contract 3.6)."""
    return InvocationRequest(
        version=VERSION,
        invocation_id=dispatch.invocation_id,
        serverless_request_id=dispatch.serverless_request_id,
        worker_name=dispatch.worker_name,
        worker_namespace=dispatch.worker_namespace,
        mode=dispatch.mode,
        state=State.RUNNING,
        content_type=dispatch.content_type,
        headers=dispatch.headers,
        attributes=dispatch.attributes,
        payload=dispatch.payload,
        timeout_seconds=dispatch.timeout_seconds,
        dispatched_at=dispatch.dispatched_at,
    )


def answered(
    dispatch: WorkerDispatchMessage, status: int, body: bytes, started_at: datetime, completed_at: datetime
) -> InvocationResultMessage:
    """The result of a complete HTTP response.

    2xx with a sound envelope passes through; its `error` makes it `failed`/`handler_error` (S17). Anything else is
    502 `framework_error` with an excerpt of the body (S18).
    """
    try:
        envelope = read_envelope(status, body)
    except AnswerError as error:
        return failed(dispatch, str(error), started_at, completed_at)
    return InvocationResultMessage(
        invocation_id=dispatch.invocation_id,
        serverless_request_id=dispatch.serverless_request_id,
        mode=dispatch.mode,
        state=State.FAILED if envelope.error else State.SUCCEEDED,
        failure_class=FailureClass.HANDLER_ERROR if envelope.error else FailureClass.NONE,
        reply_subject=dispatch.reply_subject,
        worker_name=dispatch.worker_name,
        worker_namespace=dispatch.worker_namespace,
        status_code=envelope.status_code or 200,
        content_type=envelope.content_type,
        headers=envelope.headers,
        body=envelope.body,
        error=envelope.error,
        started_at=started_at,
        completed_at=completed_at,
    )


def failed(
    dispatch: WorkerDispatchMessage,
    error: str,
    started_at: datetime,
    completed_at: datetime,
    *,
    failure_class: str = FailureClass.FRAMEWORK_ERROR,
) -> InvocationResultMessage:
    """The result of a call without a usable answer: 502, or 504 `expired` for `framework_timeout`."""
    expired = failure_class == FailureClass.FRAMEWORK_TIMEOUT
    return InvocationResultMessage(
        invocation_id=dispatch.invocation_id,
        serverless_request_id=dispatch.serverless_request_id,
        mode=dispatch.mode,
        state=State.EXPIRED if expired else State.FAILED,
        failure_class=failure_class,
        reply_subject=dispatch.reply_subject,
        worker_name=dispatch.worker_name,
        worker_namespace=dispatch.worker_namespace,
        status_code=GATEWAY_TIMEOUT if expired else BAD_GATEWAY,
        error=error,
        started_at=started_at,
        completed_at=completed_at,
    )


def without_body(result: InvocationResultMessage, error: str) -> InvocationResultMessage:
    """The failure in place of a result that is too large to be stored (S9)."""
    return msgspec.structs.replace(
        result,
        state=State.FAILED,
        failure_class=FailureClass.FRAMEWORK_ERROR,
        status_code=BAD_GATEWAY,
        content_type="",
        headers={},
        body=NO_JSON,
        error=error,
    )


def read_envelope(status: int, body: bytes) -> InvocationResponse:
    """Check and decode a framework's answer; `null` counts as absent, except as the body itself.

    Raises:
        AnswerError: not 2xx, not UTF-8 JSON, a field of the wrong type, or a status code outside 100 to 599.
    """
    if not 200 <= status <= 299:
        raise AnswerError(f"the framework answered HTTP {status}{_excerpt(body)}")
    try:
        body.decode()  # msgspec leaves raw parts unchecked
        envelope = _decode_envelope(body)
    except ValueError as error:
        raise AnswerError(f"the framework's answer is no envelope: {error}{_excerpt(body)}") from error
    if envelope.status_code and not 100 <= envelope.status_code <= 599:
        raise AnswerError(f"the framework's statusCode {envelope.status_code} is outside 100 to 599")
    return envelope


def _decode_envelope(body: bytes) -> InvocationResponse:
    try:
        return msgspec.json.decode(body, type=InvocationResponse)
    except msgspec.ValidationError:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        present = {name: raw for name, raw in fields.items() if bytes(raw) != _NULL or name in _RAW_FIELDS}
        return msgspec.json.decode(msgspec.json.encode(present), type=InvocationResponse)


def _excerpt(body: bytes) -> str:
    text = " ".join(body[: 4 * EXCERPT_CHARACTERS].decode(errors="replace").split())
    shown = "".join(c if c.isprintable() else "?" for c in text[:EXCERPT_CHARACTERS])
    return f": {shown}" if shown else ""


def started_event(dispatch: WorkerDispatchMessage, inflight: int, started_at: datetime) -> WorkerMetricMessage:
    """The event that a call began; `inflight` counts it."""
    return WorkerMetricMessage(
        serverless_request_id=dispatch.serverless_request_id,
        worker_name=dispatch.worker_name,
        worker_namespace=dispatch.worker_namespace,
        invocation_id=dispatch.invocation_id,
        event_type=Event.STARTED,
        inflight=inflight,
        reported_at=started_at,
    )


def ended_event(result: InvocationResultMessage, inflight: int) -> WorkerMetricMessage:
    """The event that a call ended, finished or failed; `inflight` no longer counts it (S16)."""
    succeeded = result.state == State.SUCCEEDED
    return WorkerMetricMessage(
        serverless_request_id=result.serverless_request_id,
        worker_name=result.worker_name,
        worker_namespace=result.worker_namespace,
        invocation_id=result.invocation_id,
        event_type=Event.FINISHED if succeeded else Event.FAILED,
        inflight=inflight,
        status_code=result.status_code,
        error="" if succeeded else result.error,
        reported_at=result.completed_at,
    )
