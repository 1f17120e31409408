"""What becomes of an invocation that waits (A6, A20)."""

from datetime import UTC, datetime, timedelta

import pytest

from framework.contract import ZERO_TIME
from sidecar.messages import FailureClass, InvocationMessage, State
from simulator.activator.fates import Fail, Keep, expired, expires_at, fate

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def invocation(enqueued_at: datetime = NOW, timeout_s: int = 0) -> InvocationMessage:
    return InvocationMessage(
        invocation_id="i", serverless_request_id="p", timeout_seconds=timeout_s, enqueued_at=enqueued_at
    )


@pytest.mark.parametrize(
    ("enqueued_at", "timeout_s", "deadline"),
    [
        (NOW - timedelta(seconds=5), 5, NOW),
        (NOW - timedelta(seconds=4), 5, NOW + timedelta(seconds=1)),
        (NOW - timedelta(days=3), 0, None),
        (ZERO_TIME, 5, None),
    ],
)
def test_a20_expired(enqueued_at: datetime, timeout_s: int, deadline: datetime | None) -> None:
    waiting = invocation(enqueued_at, timeout_s)
    assert expires_at(waiting) == deadline
    assert expired(waiting, NOW) is (deadline == NOW)


def test_an_invocation_waits_while_its_pool_may_start() -> None:
    assert fate(invocation(), has_units=True, given_up="", now=NOW) == Keep()


def test_a20_an_expired_invocation_is_answered_whatever_its_pool() -> None:
    old = invocation(NOW - timedelta(seconds=9), 9)
    for has_units in (True, False):
        failure = fate(old, has_units=has_units, given_up="broken", now=NOW)
        assert isinstance(failure, Fail)
        assert (failure.status_code, failure.state) == (504, State.EXPIRED)
        assert failure.failure_class == FailureClass.ACTIVATION_TIMEOUT
        assert "9 s" in failure.reason


def test_no_unit_is_a_failure_that_says_what_to_do() -> None:
    failure = fate(invocation(), has_units=False, given_up="", now=NOW)
    assert isinstance(failure, Fail)
    assert (failure.status_code, failure.state) == (503, State.FAILED)
    assert failure.failure_class == FailureClass.NO_WORKER_TEMPLATE
    assert "'p'" in failure.reason


def test_a6_a_pool_that_cannot_start_says_why() -> None:
    failure = fate(invocation(), has_units=True, given_up="unit w: PodStartupFailed: no such program", now=NOW)
    assert failure == Fail(503, FailureClass.ACTIVATION_TIMEOUT, "unit w: PodStartupFailed: no such program")
