"""How much time an invocation has left, and how long it waited (S7). Pure functions.

`timeoutSeconds` counts from the moment the caller's request was queued, so a call that waited too long is not run for
nobody. The sender's clock is another one than ours: where it is ahead, the budget just starts now.
"""

from datetime import datetime

from sidecar.messages import WorkerDispatchMessage


def budget(dispatch: WorkerDispatchMessage, now: datetime) -> float | None:
    """Return the seconds left for the call, never more than its `timeout_seconds`; 0 or less means do not run it.

    None is no limit: `timeout_seconds` is 0 or negative (contract 3.5).
    """
    if dispatch.timeout_seconds <= 0:
        return None
    waited_s = queue_wait_s(dispatch, now)
    return dispatch.timeout_seconds - (waited_s or 0.0)


def queue_wait_s(dispatch: WorkerDispatchMessage, now: datetime) -> float | None:
    """Return the seconds since the invocation was queued, or else dispatched; None when neither time was set."""
    since = dispatch.enqueued_at
    if _is_unset(since):
        since = dispatch.dispatched_at
        if _is_unset(since):
            return None
    return max((now - since).total_seconds(), 0.0)


def _is_unset(time: datetime) -> bool:
    """Whether it is Go's zero time, in whatever zone a peer wrote it."""
    return time.year == 1
