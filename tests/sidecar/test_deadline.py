"""The absolute deadline of an invocation (S7), and how long it waited."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from framework.contract import ZERO_TIME
from sidecar.deadline import budget, queue_wait_s
from sidecar.messages import WorkerDispatchMessage, decode

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def dispatch(timeout_seconds: int, enqueued_at: datetime, dispatched_at: datetime) -> WorkerDispatchMessage:
    return WorkerDispatchMessage(
        invocation_id="i",
        serverless_request_id="p",
        worker_name="w",
        worker_namespace="n",
        timeout_seconds=timeout_seconds,
        enqueued_at=enqueued_at,
        dispatched_at=dispatched_at,
    )


@pytest.mark.parametrize(
    ("timeout_seconds", "enqueued_at", "dispatched_at", "left_s"),
    [
        (0, before(1), before(1), None),
        (-5, before(1), before(1), None),
        (20, before(5), before(2), 15),
        (20, ZERO_TIME, before(2), 18),
        (20, ZERO_TIME, ZERO_TIME, 20),
        (20, before(20), before(1), 0),
        (20, before(3600), before(1), -3580),
        (20, before(-3600), before(1), 20),
        (20, ZERO_TIME, before(-1), 20),
        (20, before(0.25), ZERO_TIME, 19.75),
        (2**31 - 1, before(0), before(0), 2**31 - 1),
    ],
)
def test_the_budget_counts_from_the_queueing(
    timeout_seconds: int, enqueued_at: datetime, dispatched_at: datetime, left_s: float | None
) -> None:
    """S7: a sender's clock in the future never gives more than `timeout_seconds`."""
    assert budget(dispatch(timeout_seconds, enqueued_at, dispatched_at), NOW) == left_s


@pytest.mark.parametrize(
    ("enqueued_at", "dispatched_at", "waited_s"),
    [
        (before(5), before(2), 5),
        (ZERO_TIME, before(2), 2),
        (before(-5), ZERO_TIME, 0),
        (ZERO_TIME, ZERO_TIME, None),
        (ZERO_TIME.replace(tzinfo=timezone(timedelta(hours=5))), ZERO_TIME, None),
        (before(5).astimezone(timezone(timedelta(hours=-7))), ZERO_TIME, 5),
    ],
)
def test_the_wait_is_never_negative_and_none_when_unknown(
    enqueued_at: datetime, dispatched_at: datetime, waited_s: float | None
) -> None:
    assert queue_wait_s(dispatch(0, enqueued_at, dispatched_at), NOW) == waited_s


@pytest.mark.parametrize("written", ["2026-03-04T05:06:00Z", "2026-03-04T06:06:00+01:00"])
def test_the_times_of_a_message_are_understood_in_any_zone(written: str) -> None:
    data = (
        '{"invocationID":"i","serverlessRequestID":"p","workerName":"w","workerNamespace":"n","timeoutSeconds":10,'
        f'"enqueuedAt":"{written}"}}'
    )
    assert budget(decode(data.encode(), WorkerDispatchMessage), NOW) == 3
