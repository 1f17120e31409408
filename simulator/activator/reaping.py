"""What becomes of the dispatches of a worker that is lost: never two results, never none (S13, A10). Pure."""

from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from sidecar.messages import FailureClass
from simulator.activator.fates import Fail
from simulator.activator.pools import PoolPolicy
from simulator.gpuunit import OnWorkerLoss
from simulator.ledger.ledger import OpenInvocation, Phase

UNHEALTHY_WAIT_S: Final = 30.0
"""How long what nobody began waits for a framework that is unhealthy, before it goes to another worker."""
BEGIN_WAIT_S: Final = 2.0
"""A sidecar that took a dispatch has begun it so long after its registration."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """A dispatch that its worker did not conclude.

    `attempt` is how often its invocation was dispatched, this one included; `runs` how often it may have run on workers
    before this one. `delivered` says that the sidecar had it, `started` that it said it began, and `expired` that the
    invocation's budget has passed.
    """

    invocation_id: str
    sequence: int
    delivered: bool
    started: bool
    attempt: int = 1
    runs: int = 0
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """It has its result."""


@dataclass(frozen=True, slots=True)
class Move:
    """Dispatch it to another worker, as the `attempt`-th dispatch; it may have run `runs` times already."""

    attempt: int
    runs: int


def judge(orphan: Orphan, finished: Container[str], deregistered: bool, policy: PoolPolicy) -> Skip | Move | Fail:
    """Decide about one dispatch of a lost worker.

    `finished` holds the invocations with a result. `deregistered` says that the sidecar ended in good order, which it
    does only when every call that it began is concluded or given back.
    """
    if orphan.invocation_id in finished:
        return Skip()
    ran = orphan.started or (orphan.delivered and not deregistered)
    runs = orphan.runs + ran
    if ran and policy.on_worker_loss is OnWorkerLoss.NEVER:
        reason = "its worker was lost when it may have run, and this pool's invocations must not run again"
        return Fail(502, FailureClass.WORKER_LOST, reason)
    if ran and runs >= policy.max_attempts:
        return Fail(
            502, FailureClass.WORKER_LOST, f"its worker was lost in run {runs} of at most {policy.max_attempts}"
        )
    if orphan.expired:
        return Fail(504, FailureClass.ACTIVATION_TIMEOUT, "its worker was lost, and no time is left for another")
    return Move(orphan.attempt + 1, runs)


def is_stuck(unhealthy_since: float | None, *, undelivered: bool, in_hand: int, now: float) -> bool:
    """Whether what a worker was given and its sidecar does not have, as its framework is unhealthy, goes elsewhere.

    `in_hand` counts what the sidecar has: as long as that is not 0 its consumer stays.
    """
    return undelivered and not in_hand and unhealthy_since is not None and now >= unhealthy_since + UNHEALTHY_WAIT_S


def was_formers(given: OpenInvocation, *, start: int, delivered: int, settled: bool) -> bool:
    """Whether a worker's former sidecar, which ended without a word, had a dispatch, and the present one has not.

    The consumer delivered from `start` up to `delivered`. What that sidecar began is known. The rest may be with the
    present one, until that, had it taken it, must have begun it: `settled`.
    """
    had = given.superseded and start <= given.dispatch_sequence <= delivered
    return had and (settled or given.phase is Phase.RUNNING)
