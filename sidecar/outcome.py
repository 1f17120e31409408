"""What a call's end means: the durable result and the metric event for it (contract 7.3 step 5). Pure functions.

Every end has its own failure class and a text that says what to look at; nothing that a framework sends can raise.
"""

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
CLIENT_CLOSED_REQUEST: Final = 499
EXCERPT_CHARACTERS: Final = 200
MAX_EVENT_ERROR_CHARACTERS: Final = 1000
"""A metric event names the error, the result has all of it."""

_ENDS: Final = {
    FailureClass.FRAMEWORK_TIMEOUT: (State.EXPIRED, GATEWAY_TIMEOUT),
    FailureClass.DEADLINE_EXCEEDED: (State.EXPIRED, GATEWAY_TIMEOUT),
    FailureClass.CANCELLED: (State.FAILED, CLIENT_CLOSED_REQUEST),
}
_OTHER_END: Final = (State.FAILED, BAD_GATEWAY)
_NULL: Final = b"null"
_RAW_FIELDS: Final = frozenset({"body"})


class AnswerError(ValueError):
    """The framework's answer breaks the contract; the message says how, with a short excerpt of what was sent."""

    def __init__(self, text: str, failure_class: str) -> None:
        super().__init__(text)
        self.failure_class = failure_class


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
    a 502 of the class that `read_envelope` names.
    """
    try:
        envelope = read_envelope(status, body)
    except AnswerError as error:
        return failed(dispatch, str(error), started_at, completed_at, failure_class=error.failure_class)
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
    """The result of a call without a usable answer: 504 `expired` when time ran out, 499 when cancelled, else 502."""
    state, status_code = _ENDS.get(failure_class, _OTHER_END)
    return InvocationResultMessage(
        invocation_id=dispatch.invocation_id,
        serverless_request_id=dispatch.serverless_request_id,
        mode=dispatch.mode,
        state=state,
        failure_class=failure_class,
        reply_subject=dispatch.reply_subject,
        worker_name=dispatch.worker_name,
        worker_namespace=dispatch.worker_namespace,
        status_code=status_code,
        error=error,
        started_at=started_at,
        completed_at=completed_at,
    )


def timed_out(dispatch: WorkerDispatchMessage, started_at: datetime, completed_at: datetime) -> InvocationResultMessage:
    """The result of a call whose budget ran out while it ran: 504 `expired`/`framework_timeout`."""
    error = f"the framework gave no answer before the invocation's {dispatch.timeout_seconds} s were over"
    return failed(dispatch, error, started_at, completed_at, failure_class=FailureClass.FRAMEWORK_TIMEOUT)


def too_late(dispatch: WorkerDispatchMessage, now: datetime) -> InvocationResultMessage:
    """The result of a call that did not run, as its budget was used up by waiting: 504 `expired` (S7)."""
    error = f"the invocation's {dispatch.timeout_seconds} s were over before this worker could start it; it did not run"
    return failed(dispatch, error, now, now, failure_class=FailureClass.DEADLINE_EXCEEDED)


def cancelled(dispatch: WorkerDispatchMessage, started_at: datetime, completed_at: datetime) -> InvocationResultMessage:
    """The result of a call that was taken back, before it began or while it ran: 499 `failed` (S8)."""
    error = "the invocation was cancelled before it ended"
    return failed(dispatch, error, started_at, completed_at, failure_class=FailureClass.CANCELLED)


def worker_lost(dispatch: WorkerDispatchMessage, now: datetime) -> InvocationResultMessage:
    """The result of a call that may have run in this worker before, and must not run again: 502 `failed` (S13)."""
    error = "the sidecar before this one may have run it, and this pool's invocations must not run again"
    return failed(dispatch, error, now, now, failure_class=FailureClass.WORKER_LOST)


def without_body(result: InvocationResultMessage, error: str) -> InvocationResultMessage:
    """The failure in place of a result that is too large to be stored (S9)."""
    return msgspec.structs.replace(
        result,
        state=State.FAILED,
        failure_class=FailureClass.RESULT_TOO_LARGE,
        status_code=BAD_GATEWAY,
        content_type="",
        headers={},
        body=NO_JSON,
        error=error,
    )


def read_envelope(status: int, body: bytes) -> InvocationResponse:
    """Check and decode a framework's answer (contract 3.7); `null` counts as absent, except as the body itself.

    Raises:
        AnswerError: `framework_refused` when not 2xx (S18), `malformed_answer` when no envelope,
            `invalid_status_code` when its status code is outside 100 to 599 (S17).
    """
    if not 200 <= status <= 299:
        raise AnswerError(f"the framework answered HTTP {status}{_excerpt(body)}", FailureClass.FRAMEWORK_REFUSED)
    try:
        body.decode()  # msgspec leaves raw parts unchecked
        envelope = _decode_envelope(body)
    except (ValueError, RecursionError) as error:
        text = f"the framework's answer is no envelope: {error}{_excerpt(body)}"
        raise AnswerError(text, FailureClass.MALFORMED_ANSWER) from error
    if envelope.status_code and not 100 <= envelope.status_code <= 599:
        text = f"the framework's statusCode {str(envelope.status_code)[:20]} is outside 100 to 599"
        raise AnswerError(text, FailureClass.INVALID_STATUS_CODE)
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
        error="" if succeeded else result.error[:MAX_EVENT_ERROR_CHARACTERS],
        reported_at=result.completed_at,
    )
