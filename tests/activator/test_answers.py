"""The results that come from an activator itself, and what cannot be an invocation (A17, Q3, S9)."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import pytest

from framework.contract import ZERO_TIME
from sidecar.deliveries import Delivery
from sidecar.messages import (
    DeadLetterMessage,
    FailureClass,
    InvocationResultMessage,
    MalformedMessageError,
    State,
    decode,
    encode,
    utc_now,
)
from sidecar.publishing import DEAD_LETTER_ATTEMPTS, HEADER_BYTES
from sidecar.queue import MessageTooLargeError, Published, Queue, QueueError, QueueUnavailableError
from simulator.activator.answers import Answers, checked_invocation
from simulator.activator.fates import Fail
from tests.activator.parts import StubQueue, invocation

FAILURE = Fail(503, FailureClass.ACTIVATION_TIMEOUT, "unit w: ImagePullBackOff")


@dataclass
class StubDelivery:
    data: bytes
    subject: str = "runtime.serverless.invoke.p"
    sequence: int = 7
    consumer_sequence: int = 8
    attempt: int = 2
    ended: list[str] = field(default_factory=list)

    async def term(self, reason: str) -> None:
        self.ended.append(reason)


class RefusingQueue(StubQueue):
    """Refuses the first messages of a family, as often as `failures` says."""

    def __init__(self, family: str, failures: list[QueueError]) -> None:
        super().__init__()
        self.family, self.failures = family, failures

    async def publish(self, subject: str, data: bytes, **fields: object) -> Published:
        if self.failures and self.family in subject:
            raise self.failures.pop(0)
        return await super().publish(subject, data)


def answers(queue: StubQueue) -> Answers:
    return Answers(cast("Queue", queue), "runtime-activator")


@pytest.fixture(autouse=True)
def _retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.publishing.FIRST_RETRY_S", 0.0)
    monkeypatch.setattr("sidecar.publishing.LONGEST_RETRY_S", 0.0)


async def test_a_failed_result_is_stored_and_then_sent_to_the_caller() -> None:
    queue = StubQueue()
    await answers(queue).fail(invocation("a", mode="sync"), FAILURE)
    [(subject, message_id, data)] = queue.published
    assert (subject, message_id) == ("runtime.serverless.result.p", "result-a")
    result = decode(data, InvocationResultMessage)
    assert (result.invocation_id, result.serverless_request_id, result.mode) == ("a", "p", "sync")
    assert (result.state, result.status_code, result.failure_class, result.error) == (
        State.FAILED,
        503,
        FailureClass.ACTIVATION_TIMEOUT,
        FAILURE.reason,
    )
    assert (result.worker_name, result.worker_namespace) == ("", "")
    assert queue.replies == [("_INBOX.a", data)]


@pytest.mark.parametrize("waited_s", [3, None])
async def test_a17_failed_results_have_both_times(waited_s: int | None) -> None:
    before = utc_now()
    enqueued_at: datetime = ZERO_TIME if waited_s is None else before - timedelta(seconds=waited_s)
    queue = StubQueue()
    await answers(queue).fail(invocation("a", enqueued_at=enqueued_at), FAILURE)
    [result] = queue.results()
    assert result.completed_at >= before
    assert result.started_at == (result.completed_at if waited_s is None else enqueued_at)


async def test_without_a_reply_subject_nobody_is_told() -> None:
    queue = StubQueue()
    await answers(queue).fail(invocation("a", reply_subject=""), FAILURE)
    assert (len(queue.published), queue.replies) == (1, [])


async def test_a9_a_result_is_published_until_it_is_stored() -> None:
    queue = RefusingQueue(".result.", [QueueUnavailableError("no answer in time")] * 30)
    await answers(queue).fail(invocation("a"), FAILURE)
    assert [each.invocation_id for each in queue.results()] == ["a"]
    assert len(queue.replies) == 1


async def test_s9_a_reason_of_any_length_fits_into_a_result() -> None:
    queue = StubQueue()
    queue.max_payload = 4096
    await answers(queue).fail(invocation("a"), Fail(503, FailureClass.ACTIVATION_TIMEOUT, "x" * 5000))
    [(_, _, data)] = queue.published
    assert len(data) <= 4096 - HEADER_BYTES
    [result] = queue.results()
    assert (result.invocation_id, result.state) == ("a", State.FAILED)


async def test_q3_what_is_malformed_is_buried_answered_and_ended() -> None:
    queue = StubQueue()
    body = b'{"invocationID":"a","serverlessRequestID":"P","headers":7,"replySubject":"_INBOX.a"}'
    delivery = StubDelivery(body)
    await answers(queue).bury(cast("Delivery", delivery), "headers is no object")
    (subject, _, letter), (_, message_id, result) = queue.published
    assert (subject, message_id) == ("runtime.serverless.dlq.invocation.p", "result-a")
    buried = decode(letter, DeadLetterMessage)
    assert (buried.stream_sequence, buried.consumer_sequence, buried.delivery_count) == (7, 8, 2)
    assert (buried.consumer, buried.stream) == ("runtime-activator", "RUNTIME_SERVERLESS")
    assert (buried.failure_class, bytes(buried.payload)) == (FailureClass.MALFORMED_MESSAGE, body)
    assert queue.replies == [("_INBOX.a", result)]
    assert delivery.ended == [FailureClass.MALFORMED_MESSAGE]


async def test_q3_a_message_that_names_nobody_is_buried_alone() -> None:
    queue = StubQueue()
    delivery = StubDelivery(b"\xff\x00")
    await answers(queue).bury(cast("Delivery", delivery), "no JSON")
    assert [subject for subject, _, _ in queue.published] == ["runtime.serverless.dlq.invocation.unknown"]
    assert delivery.ended == [FailureClass.MALFORMED_MESSAGE]


async def test_q3_a_caller_is_answered_though_the_dead_letter_cannot_be_stored() -> None:
    """The original stays in the stream."""
    queue = RefusingQueue(".dlq.", [MessageTooLargeError("2 MB")] * DEAD_LETTER_ATTEMPTS)
    delivery = StubDelivery(b'{"invocationID":"a","serverlessRequestID":"p","headers":7}')
    await answers(queue).bury(cast("Delivery", delivery), "headers is no object")
    assert [each.invocation_id for each in queue.results()] == ["a"]
    assert delivery.ended == [FailureClass.MALFORMED_MESSAGE]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"invocation_id": ""}, id="no ID"),
        pytest.param({"invocation_id": "a b"}, id="space"),
        pytest.param({"invocation_id": "a\r\nNats-Msg-Id: b"}, id="a header"),
        pytest.param({"invocation_id": "x" * 257}, id="long ID"),
        pytest.param({"pool": ""}, id="no pool"),
        pytest.param({"pool": "a.b"}, id="two tokens"),
        pytest.param({"pool": "*"}, id="wildcard"),
        pytest.param({"mode": "x" * 300}, id="long mode"),
        pytest.param({"reply_subject": "x" * 300}, id="long reply subject"),
    ],
)
def test_what_cannot_become_a_subject_or_a_header_is_no_invocation(changes: dict[str, str]) -> None:
    fields = {"invocation_id": "a", "pool": "p", **changes}
    with pytest.raises(MalformedMessageError):
        checked_invocation(encode(invocation(**fields)))


def test_a_pools_name_is_normalised() -> None:
    assert checked_invocation(encode(invocation("a", " Pool_1 "))).serverless_request_id == "pool_1"
