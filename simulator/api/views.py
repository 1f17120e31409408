"""Invocations as the API shows them (contract 3.8, 4.3; P4, P5). Pure: messages in, JSON values out."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from sidecar.messages import FailureClass, InvocationResultMessage, State, decode
from simulator.ledger.ledger import OpenInvocation

NO_ANSWER_OF_THE_POOL: Final = 502
FIRST_STATUS: Final = 200
LAST_STATUS: Final = 599

_HIDDEN: Final = ("version", "replySubject")
_TIMEOUTS: Final = (FailureClass.FRAMEWORK_TIMEOUT, FailureClass.DEADLINE_EXCEEDED)


def open_view(invocation: OpenInvocation) -> dict[str, str]:
    """An invocation that has no result yet."""
    view = {
        "invocationID": invocation.invocation_id,
        "serverlessRequestID": invocation.pool,
        "state": invocation.phase.value,
    }
    return {**view, "workerName": invocation.worker} if invocation.worker else view


def result_view(message: bytes) -> dict[str, msgspec.Raw]:
    """A result message as the caller sees it: without `version` and `replySubject`, the body's bytes untouched.

    Raises:
        MalformedMessageError: it is no result message.
    """
    decode(message, InvocationResultMessage)
    fields = msgspec.json.decode(message, type=dict[str, msgspec.Raw])
    return {name: value for name, value in fields.items() if name not in _HIDDEN}


def ended_view(message: bytes) -> dict[str, Any]:
    """`result_view` of a stored result, with a terminal `state` also where an older worker wrote none (contract 10).

    Raises:
        MalformedMessageError: it is no result message.
    """
    view: dict[str, Any] = result_view(message)
    return view if "state" in view else {**view, "state": _derived_state(decode(message, InvocationResultMessage))}


def listed_view(message: bytes) -> dict[str, Any]:
    """`ended_view` without the body, which can be large; it keeps nothing of the message in memory.

    Raises:
        MalformedMessageError: it is no result message.
    """
    view: Mapping[str, Any] = ended_view(message)
    listed = {name: value for name, value in view.items() if name != "body"}
    # A decoded Raw is a window on the whole message.
    return {name: value.copy() if isinstance(value, msgspec.Raw) else value for name, value in listed.items()}


def mirrored_status(message: bytes) -> int:
    """The HTTP status that stands for a result's `statusCode`; 502 where that is no final HTTP status (P4).

    Raises:
        MalformedMessageError: it is no result message.
    """
    status = decode(message, InvocationResultMessage).status_code or FIRST_STATUS
    return status if FIRST_STATUS <= status <= LAST_STATUS else NO_ANSWER_OF_THE_POOL


def _derived_state(result: InvocationResultMessage) -> str:
    if result.failure_class in _TIMEOUTS:
        return State.EXPIRED
    return State.FAILED if result.error else State.SUCCEEDED
