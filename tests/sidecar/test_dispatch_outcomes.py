"""What becomes of a dispatch: results, replies, redeliveries, dead letters (contract 7.3 and 7.4), in memory."""

import msgspec
import pytest

from sidecar.connection import Response
from sidecar.dead_letters import MAX_ID_BYTES
from sidecar.framework_client import BrokenCallError, FrameworkLostError, NeverSentError
from sidecar.publishing import HEADER_BYTES
from sidecar.queue_errors import MessageTooLargeError, QueueRefusedError, QueueUnavailableError
from sidecar.stored import MESSAGE_ID_HEADER
from sidecar.subjects import result_message_id
from tests.sidecar.rig import OK, Gate, Json, answer_ok, dispatch, running


async def test_one_dispatch_in_the_contracts_order() -> None:
    """S16 too: the finished event no longer counts its own call."""
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert rig.kinds()[:3] == ["invocation_started", "result", "reply"]
    assert sorted(rig.kinds()[3:]) == ["end", "invocation_finished"]
    (result,) = rig.of("result")
    assert result["subject"] == "runtime.serverless.result.pool"
    assert (result["state"], result["statusCode"], result["body"]) == ("succeeded", 201, {"ok": 1})
    (reply,) = rig.of("reply")
    assert reply["subject"] == "_INBOX.1"
    assert {k: v for k, v in reply.items() if k != "subject"} == {
        k: v for k, v in result.items() if k not in {"subject", "duplicate"}
    }
    started, finished = rig.of("metrics")
    assert (started["inflight"], finished.get("inflight", 0)) == (1, 0)
    assert started["reportedAt"] == result["startedAt"]
    assert finished["reportedAt"] == result["completedAt"]
    assert rig.queue.ids >= {"result-inv-1", "metric-inv-1-invocation_started", "metric-inv-1-invocation_finished"}


async def test_the_reply_follows_the_subject_and_not_the_mode() -> None:
    async with running(answer_ok) as rig:
        first = rig.put(dispatch("a", mode="sync", replySubject=""))
        second = rig.put(dispatch("b", mode="async"))
        third = rig.put(dispatch("c", replySubject="runtime.serverless.invoke.pool"))
        assert await rig.ended(first, second, third) == ["ack"] * 3
    assert [reply["invocationID"] for reply in rig.of("reply")] == ["b"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Response(200, b'{"error":"bad","statusCode":500}'), ("failed", "handler_error", 500, "invocation_failed")),
        (Response(503, b"loading"), ("failed", "framework_refused", 502, "invocation_failed")),
        (BrokenCallError("not an HTTP response"), ("failed", "framework_error", 502, "invocation_failed")),
        (FrameworkLostError("the answer was lost"), ("failed", "framework_error", 502, "invocation_failed")),
    ],
)
async def test_failures_are_final_results(answer: Response | Exception, expected: tuple[str, str, int, str]) -> None:
    async def handle(_request: Json) -> Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    (result,) = rig.of("result")
    event = rig.of("metrics")[-1]
    assert (result["state"], result["failureClass"], result["statusCode"], event["eventType"]) == expected
    assert event["error"] == result["error"]
    assert rig.framework.calls == ["inv-1"]


async def test_the_time_budget_cancels_the_call() -> None:
    gate = Gate()
    async with running(gate) as rig:
        assert await rig.ended(rig.put(dispatch(timeoutSeconds=1))) == ["ack"]
    assert gate.cancelled == ["inv-1"]
    (result,) = rig.of("result")
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("expired", "framework_timeout", 504)


async def test_a_framework_that_is_not_there_is_waited_for() -> None:
    refusals = 3

    async def handle(_request: Json) -> Response:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise NeverSentError("nobody")
        return OK

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert rig.framework.calls == ["inv-1"] * 4
    assert [result["state"] for result in rig.of("result")] == ["succeeded"]


async def test_a_redelivery_is_answered_from_memory() -> None:
    async with running(answer_ok) as rig:
        first = rig.put(dispatch(), fails=1)
        assert await rig.ended(first) == ["ack lost"]
        second = rig.put(dispatch(replySubject="_INBOX.2"), attempt=9)
        assert await rig.ended(second) == ["ack"]
    assert rig.framework.calls == ["inv-1"]
    assert [result["duplicate"] for result in rig.of("result")] == [False, True]
    assert [reply["subject"] for reply in rig.of("reply")] == ["_INBOX.1", "_INBOX.2"]
    assert len(rig.of("metrics")) == 2


async def test_a_redelivery_beside_the_running_call_waits_for_it() -> None:
    gate = Gate()
    async with running(gate, SERVERLESS_MAX_CONCURRENCY="2") as rig:
        first, second = rig.put(dispatch()), rig.put(dispatch(), attempt=2)
        assert await gate.began.get() == "inv-1"
        gate.open.set()
        assert await rig.ended(first, second) == ["ack", "ack"]
    assert rig.framework.calls == ["inv-1"]
    assert sorted(result["duplicate"] for result in rig.of("result")) == [False, True]


async def test_only_the_publish_is_repeated_when_a_result_cannot_be_stored() -> None:
    async with running(answer_ok) as rig:
        rig.queue.errors["result"] = [QueueUnavailableError("down"), QueueRefusedError("no stream")]
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert rig.framework.calls == ["inv-1"]
    assert len(rig.of("result")) == 1


async def test_a_lost_reply_or_event_changes_nothing_else() -> None:
    async with running(answer_ok) as rig:
        rig.queue.errors["reply"] = [QueueUnavailableError("down")]
        rig.queue.errors["metrics"] = [QueueUnavailableError("down")]
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert sorted(rig.kinds()) == ["end", "invocation_finished", "invocation_started", "result"]


async def test_a_result_that_no_message_can_carry_is_replaced() -> None:
    async def handle(_request: Json) -> Response:
        return Response(200, b'{"body":"' + b"x" * 200_000 + b'"}')

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    (result,) = rig.of("result")
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("failed", "result_too_large", 502)
    assert "body" not in result
    assert "bytes" in result["error"]
    assert rig.of("metrics")[-1]["eventType"] == "invocation_failed"


@pytest.mark.parametrize(
    ("data", "failure_class", "answered"),
    [
        (b"\xff garbage", "malformed_message", False),
        (b"[]", "malformed_message", False),
        (dispatch(timeoutSeconds="soon"), "malformed_message", True),
        (dispatch(serverlessRequestID=7), "malformed_message", True),
        (dispatch(workerName="other"), "dispatch_error", True),
        (dispatch(workerNamespace="other"), "dispatch_error", True),
        (dispatch(serverlessRequestID="other"), "dispatch_error", True),
    ],
)
async def test_what_cannot_be_handled_is_dead_lettered(data: bytes, failure_class: str, answered: bool) -> None:
    async with running(answer_ok) as rig:
        bad, good = rig.put(data), rig.put(dispatch("good", replySubject=""))
        assert await rig.ended(bad, good) == [f"term {failure_class}", "ack"]
    (letter,) = rig.of("dlq")
    assert (letter["failureClass"], letter["streamSequence"], letter["deliveryCount"]) == (failure_class, 1, 1)
    failures = [result for result in rig.of("result") if result["invocationID"] != "good"]
    assert [(f["state"], f["failureClass"]) for f in failures] == ([("failed", failure_class)] if answered else [])
    assert len(rig.of("reply")) == len(failures)
    assert rig.framework.calls == ["good"]
    # Whatever pool it names: a worker's identity may publish for its own only (S23).
    assert {message["serverlessRequestID"] for message in [letter, *failures]} == {"pool"}


@pytest.mark.parametrize(
    ("changes", "replies"),
    [({"workerName": " " * 90_000 + "w1"}, 1), ({"mode": "x" * 90_000}, 1), ({"replySubject": "x" * 90_000}, 0)],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else str(value),
)
async def test_s9_no_text_of_a_dispatch_makes_a_result_that_never_fits(changes: Json, replies: int) -> None:
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(**changes))) == ["term malformed_message"]
    [result] = rig.of("result")
    assert result["failureClass"] == "malformed_message"
    assert len(msgspec.json.encode(result)) < 2_000
    assert len(rig.of("reply")) == replies


async def test_s9_a_result_that_is_refused_for_its_size_is_not_published_for_ever() -> None:
    async with running(answer_ok) as rig:
        rig.queue.errors["result"] = [MessageTooLargeError("too large")]
        first = rig.put(dispatch())
        second = rig.put(dispatch("b", replySubject=""))
        assert await rig.ended(second) == ["ack"]
        assert first.outcome == ""
    assert [result["invocationID"] for result in rig.of("result")] == ["b"]


def test_the_headers_of_the_longest_names_fit_beside_the_largest_result() -> None:
    message_id = result_message_id("x" * MAX_ID_BYTES)
    headers = {MESSAGE_ID_HEADER: message_id, "traceparent": "0" * 55, "tracestate": "v" * 512}
    lines = ["NATS/1.0", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    assert len("\r\n".join(lines)) <= HEADER_BYTES


async def test_names_are_compared_as_the_subjects_tokens() -> None:
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(workerName=" W1 ", serverlessRequestID=" POOL"))) == ["ack"]
    [result] = rig.of("result")
    assert (result["subject"], result["serverlessRequestID"]) == ("runtime.serverless.result.pool", "pool")
    assert {event["subject"] for event in rig.of("metrics")} == {"runtime.serverless.metrics.pool"}


async def test_too_many_deliveries_are_dead_lettered_without_a_run() -> None:
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch("a"), attempt=5), rig.put(dispatch("b"), attempt=6)) == [
            "ack",
            "term retry_exhausted",
        ]
    assert rig.framework.calls == ["a"]
    assert [(r["invocationID"], r.get("failureClass")) for r in rig.of("result")] == [
        ("a", None),
        ("b", "retry_exhausted"),
    ]


@pytest.mark.parametrize(
    ("attempt", "outcome"), [(1, "nak 2"), (2, "nak 10"), (4, "nak 10"), (5, "term retry_exhausted")]
)
async def test_an_unexpected_failure_is_retried_with_growing_delays(attempt: int, outcome: str) -> None:
    async def handle(_request: Json) -> Response:
        raise RuntimeError("a fault of the sidecar itself")

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch(), attempt=attempt)) == [outcome]
    assert len(rig.of("dlq")) == (1 if outcome.startswith("term") else 0)
