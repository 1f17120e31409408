"""Deadlines, cancels, trace context, counting: what the reference has not (S6 to S8, S12, S19, S30), in memory."""

import asyncio
from datetime import timedelta

import pytest

from framework.contract import ZERO_TIME
from sidecar.messages import utc_now
from sidecar.stored import ONCE_HEADER
from tests.sidecar.rig import Gate, Json, answer_ok, dispatch, running


def seconds_ago(seconds: float) -> str:
    return (utc_now() - timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("ages_s", "timeout_s", "runs"),
    [
        ({"enqueuedAt": 500, "dispatchedAt": 1}, 200, False),
        ({"dispatchedAt": 500}, 200, False),
        ({"enqueuedAt": 5, "dispatchedAt": 500}, 200, True),
        ({"dispatchedAt": -500}, 200, True),
        ({}, 200, True),
        ({"enqueuedAt": 500}, 0, True),
    ],
)
async def test_what_is_too_late_is_answered_without_running(ages_s: Json, timeout_s: int, runs: bool) -> None:
    """S7: the budget counts from when the caller's request was queued; the sender's clock may be ahead."""
    unset = {"dispatchedAt": ZERO_TIME.isoformat()}
    times = unset | {name: seconds_ago(age_s) for name, age_s in ages_s.items()}
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(**Json(times | {"timeoutSeconds": timeout_s})))) == ["ack"]
    (result,) = rig.of("result")
    (reply,) = rig.of("reply")
    assert reply["state"] == result["state"]
    if runs:
        assert (result["state"], rig.framework.calls) == ("succeeded", ["inv-1"])
    else:
        assert (result["state"], result["failureClass"], result["statusCode"]) == ("expired", "deadline_exceeded", 504)
        assert rig.framework.calls == []
        assert [event["eventType"] for event in rig.of("metrics")] == ["invocation_failed"]


async def test_a_running_call_is_cancelled_on_demand() -> None:
    """S8: the request is closed, so the handler is cancelled, and the result says so."""
    gate = Gate()
    async with running(gate) as rig:
        delivery = rig.put(dispatch())
        await gate.began.get()
        rig.invocations.cancel("inv-1")
        rig.invocations.cancel("inv-1")
        assert await rig.ended(delivery) == ["ack"]
    assert gate.cancelled == ["inv-1"]
    (result,) = rig.of("result")
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("failed", "cancelled", 499)
    assert sorted(rig.kinds()[3:]) == ["end", "invocation_failed"]


async def test_a_waiting_call_that_is_cancelled_does_not_start() -> None:
    """S8: and a later invocation of another caller is not touched."""
    gate = Gate()
    async with running(gate) as rig:
        deliveries = [rig.put(dispatch(name, replySubject="")) for name in ("a", "b", "c")]
        await gate.began.get()
        rig.invocations.cancel("b")
        gate.open.set()
        assert await rig.ended(*deliveries) == ["ack"] * 3
    assert rig.framework.calls == ["a", "c"]
    assert [(r["invocationID"], r.get("failureClass")) for r in rig.of("result")] == [
        ("a", None),
        ("b", "cancelled"),
        ("c", None),
    ]


@pytest.mark.parametrize("timeout_s", [0, 4_000, 100_000])
async def test_there_is_no_hidden_cap_on_a_call(timeout_s: int) -> None:
    """S6: the call's only limit is its own budget, and none when it has none."""
    gate = Gate()
    async with running(gate) as rig:
        delivery = rig.put(dispatch(timeoutSeconds=timeout_s))
        await gate.began.get()
        timer, now = rig.invocations._calls["inv-1"].timer, asyncio.get_running_loop().time()
        gate.open.set()
        assert await rig.ended(delivery) == ["ack"]
    assert rig.framework.timeouts == [None]
    assert (timer is None) if not timeout_s else (timer is not None and timer.when() - now > timeout_s - 60)


async def test_the_trace_context_goes_through() -> None:
    """S30: from the NATS headers, or else from the invocation's own, to framework, result, reply and events."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    own = parent.replace("b7ad", "c7ad")
    async with running(answer_ok) as rig:
        first = rig.put(dispatch("a", headers={"traceparent": own}), extra_headers={"traceparent": parent, "x": "y"})
        second = rig.put(dispatch("b", headers={"Traceparent": own, "tracestate": "v=1", "x": "y"}))
        third = rig.put(dispatch("c", headers={"traceparent": "nonsense"}))
        assert await rig.ended(first, second, third) == ["ack"] * 3
    expected = [{"traceparent": parent}, {"traceparent": own, "tracestate": "v=1"}, {}]
    assert [dict(headers) for headers in rig.framework.headers] == expected
    for kind in ("result", "reply"):
        assert [fields["natsHeaders"] for fields in rig.of(kind)] == expected
    assert [fields["natsHeaders"] for fields in rig.of("metrics") if fields["eventType"] == "invocation_finished"] == (
        expected
    )


@pytest.mark.parametrize(
    ("field_name", "subject", "outcome"),
    [
        ("resultSubject", "runtime.serverless.result.pool", "ack"),
        ("resultSubject", "elsewhere.result.pool", "term dispatch_error"),
        ("metricsSubject", "runtime.serverless.metrics.pool", "ack"),
        ("metricsSubject", "runtime.serverless.metrics.other", "term dispatch_error"),
    ],
)
async def test_subjects_of_another_platform_are_refused(field_name: str, subject: str, outcome: str) -> None:
    """S19: a result that nobody there would find is not published here in silence: its caller is told."""
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(**{field_name: subject}))) == [outcome]
    (result,) = rig.of("result")
    assert result.get("failureClass", "") == ("" if outcome == "ack" else "dispatch_error")
    assert subject in result.get("error", subject)


async def test_the_events_of_a_second_run_are_seen() -> None:
    """S12: their ids carry the attempt, from the second on, so that the stream does not drop them as duplicates."""
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(), attempt=2)) == ["ack"]
    assert rig.queue.ids >= {"metric-inv-1-invocation_started-2", "metric-inv-1-invocation_finished-2"}


async def test_what_happens_is_counted() -> None:
    """S30."""
    async with running(answer_ok) as rig:
        deliveries = [
            rig.put(dispatch("a", dispatchedAt=seconds_ago(2))),
            rig.put(dispatch("a"), attempt=2),
            rig.put(b"nonsense"),
            rig.put(dispatch("b", timeoutSeconds=1, dispatchedAt=seconds_ago(2))),
        ]
        await rig.ended(*deliveries)
    meters = rig.meters
    assert dict(meters.outcomes) == {("succeeded", ""): 1, ("expired", "deadline_exceeded"): 1}
    assert (meters.redeliveries, meters.answered_from_memory, meters.inflight) == (1, 1, 0)
    assert dict(meters.dead_letters) == {"malformed_message": 1}
    assert [sum(h.counts) for h in (meters.queue_wait, meters.handler, meters.publish)] == [2, 1, 3]


async def test_s13_what_must_not_run_again_is_not_run_on_a_second_delivery() -> None:
    """Nobody knows whether the sidecar before this one ran it: then it fails, without a run."""
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(), attempt=2, extra_headers={ONCE_HEADER: "1"})) == ["ack"]
    (result,) = rig.of("result")
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("failed", "worker_lost", 502)
    assert rig.framework.calls == []


async def test_s13_its_first_delivery_runs() -> None:
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(), extra_headers={ONCE_HEADER: "1"})) == ["ack"]
    assert rig.framework.calls == ["inv-1"]
