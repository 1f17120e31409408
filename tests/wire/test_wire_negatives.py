"""Every message that a reader must refuse is refused, by the class and with the answer that its file says."""

from datetime import UTC, datetime

import pytest

from fixtures import wire
from fixtures.wire.message_schemas import MESSAGES
from framework.app import decode_request
from sidecar.config import Config
from sidecar.dead_letters import Origin, dead_letter, decode_dispatch, recognise
from sidecar.framework_client import MAX_RESPONSE_BYTES, AnswerTooLargeError
from sidecar.identity import Identity
from sidecar.messages import (
    DeadLetterMessage,
    FailureClass,
    MalformedMessageError,
    WorkerDispatchMessage,
    decode,
    encode,
)
from sidecar.outcome import answered
from simulator.activator.answers import checked_invocation

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
MIB = 1024 * 1024
NEGATIVES = [case for message_type in wire.MESSAGE_TYPES for case in wire.negatives(message_type)]
QUEUED = [case for case in NEGATIVES if case.message_type not in {"InvocationRequest", "InvocationResponse"}]
REQUESTS = wire.negatives("InvocationRequest")
ANSWERS = wire.negatives("InvocationResponse")
each_queued = pytest.mark.parametrize("case", QUEUED, ids=lambda case: f"{case.message_type}-{case.name}")


def receiver() -> Identity:
    """The worker that all dispatches of the kit arrive at."""
    worker = wire.receiver()
    environ = {
        "SERVERLESS_NATS_URL": "nats://127.0.0.1:4222",
        "SERVERLESS_SUBJECT_PREFIX": worker["subjectPrefix"],
        "SERVERLESS_WORKER_NAME": worker["workerName"],
        "SERVERLESS_WORKER_NAMESPACE": worker["workerNamespace"],
        "SERVERLESS_REQUEST_ID": worker["serverlessRequestID"],
    }
    return Identity(Config.from_env(environ))


def classified(message_type: str, data: bytes) -> str:
    """What the message's own reader calls it: a failure class, or nothing when it is accepted."""
    try:
        match message_type:
            case "WorkerDispatchMessage":
                return FailureClass.DISPATCH_ERROR if receiver().mismatch(decode_dispatch(data)) else FailureClass.NONE
            case "InvocationMessage":
                checked_invocation(data)
            case _:
                decode(data, MESSAGES[message_type])
    except MalformedMessageError:
        return FailureClass.MALFORMED_MESSAGE
    return FailureClass.NONE


@each_queued
def test_a_queued_message_is_refused_by_its_class(case: wire.Negative) -> None:
    """S19, S20 and S27."""
    assert classified(case.message_type, case.data) == case.failure_class


@pytest.mark.parametrize("message_type", ["WorkerDispatchMessage", "InvocationMessage"])
def test_the_caller_is_answered_where_the_file_says_so(message_type: str) -> None:
    """S27, Q3: as long as both IDs can be read, somebody is told."""
    cases = wire.negatives(message_type)
    wrong = [case.name for case in cases if recognise(case.data).answerable is not case.answered]
    assert wrong == []
    assert {case.answered for case in cases} == {True, False}


@each_queued
def test_each_has_a_dead_letter_that_fits_and_can_be_read(case: wire.Negative) -> None:
    """Q6, Q7: whatever the message was."""
    origin = Origin(
        source="dispatch", subject="s", stream="S", consumer="c", sequence=1, consumer_sequence=1, attempt=1
    )
    letter = encode(dead_letter(origin, recognise(case.data), case.data, case.failure_class, "refused", NOW, MIB))
    assert len(letter) <= MIB
    assert letter.decode()
    assert decode(letter, DeadLetterMessage).failure_class == case.failure_class


@pytest.mark.parametrize("case", REQUESTS, ids=str)
def test_a_framework_refuses_the_request(case: wire.Negative) -> None:
    assert case.http_status == 400
    with pytest.raises(ValueError, match=r"."):
        decode_request(case.data)


DISPATCH = WorkerDispatchMessage(
    invocation_id="inv-1", serverless_request_id="pool", worker_name="w", worker_namespace="n"
)


@pytest.mark.parametrize("case", ANSWERS, ids=str)
def test_an_answer_of_a_framework_has_its_class(case: wire.Negative) -> None:
    """S17 and S18."""
    if len(case.data) > MAX_RESPONSE_BYTES:
        assert case.failure_class == AnswerTooLargeError.failure_class
    else:
        result = answered(DISPATCH, case.http_status, case.data, NOW, NOW)
        assert (result.state, result.failure_class) == ("failed", case.failure_class)


def test_the_kit_has_each_class_that_a_refusal_can_have() -> None:
    assert {case.failure_class for case in QUEUED} == {FailureClass.MALFORMED_MESSAGE, FailureClass.DISPATCH_ERROR}
    assert {case.failure_class for case in ANSWERS} == {
        FailureClass.FRAMEWORK_REFUSED,
        FailureClass.MALFORMED_ANSWER,
        FailureClass.INVALID_STATUS_CODE,
        FailureClass.HANDLER_ERROR,
        FailureClass.RESULT_TOO_LARGE,
    }
    for message_type in wire.MESSAGE_TYPES:
        names = [case.name for case in wire.negatives(message_type)]
        assert len(set(names)) == len(names) > 40
