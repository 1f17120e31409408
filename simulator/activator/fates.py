"""What becomes of an invocation that no worker has: it waits, or it gets a failed result (contract 9.2). Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from framework.contract import ZERO_TIME
from sidecar.messages import FailureClass, InvocationMessage, State


@dataclass(frozen=True, slots=True)
class Keep:
    """It waits for a worker."""


@dataclass(frozen=True, slots=True)
class Fail:
    """Its caller gets this failure, with one of `FailureClass`."""

    status_code: int
    failure_class: str
    reason: str

    @property
    def state(self) -> str:
        """The result's `state` (contract 3.2)."""
        return State.EXPIRED if self.status_code == 504 else State.FAILED


def fate(invocation: InvocationMessage, *, has_units: bool, given_up: str, now: datetime) -> Keep | Fail:
    """Decide about a waiting invocation.

    `has_units` says whether its pool has a unit that is not being deleted; `given_up` why the pool cannot start, empty
    while it may.
    """
    if expired(invocation, now):
        reason = f"waited for a worker for longer than its {invocation.timeout_seconds} s"
        return Fail(504, FailureClass.ACTIVATION_TIMEOUT, reason)
    if not has_units:
        pool = invocation.serverless_request_id
        reason = f"no unit serves the pool {pool!r}: create one with this serverless.requestID"
        return Fail(503, FailureClass.NO_WORKER_TEMPLATE, reason)
    if given_up:
        return Fail(503, FailureClass.ACTIVATION_TIMEOUT, given_up)
    return Keep()


def expires_at(invocation: InvocationMessage) -> datetime | None:
    """When an invocation's whole budget has passed; None without a budget, or where nobody knows its start (A20)."""
    if invocation.timeout_seconds <= 0 or invocation.enqueued_at == ZERO_TIME:
        return None
    try:
        return invocation.enqueued_at + timedelta(seconds=invocation.timeout_seconds)
    except OverflowError:  # no calendar has that day
        return None


def expired(invocation: InvocationMessage, now: datetime) -> bool:
    """Whether nobody waits for it any longer (A20)."""
    deadline = expires_at(invocation)
    return deadline is not None and now >= deadline
