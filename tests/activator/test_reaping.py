"""What becomes of a lost worker's dispatches: S13's policy."""

import pytest

from sidecar.messages import FailureClass, State
from simulator.activator.fates import Fail
from simulator.activator.pools import PoolPolicy
from simulator.activator.reaping import UNHEALTHY_WAIT_S, Move, Orphan, Skip, is_stuck, judge, was_formers
from simulator.gpuunit import OnWorkerLoss
from simulator.ledger.ledger import OpenInvocation, Phase

RETRY = PoolPolicy("p", max_attempts=3)
NEVER = PoolPolicy("p", on_worker_loss=OnWorkerLoss.NEVER)


def orphan(
    *, delivered: bool = True, started: bool = True, attempt: int = 1, runs: int = 0, expired: bool = False
) -> Orphan:
    return Orphan("i", 7, delivered, started, attempt, runs, expired)


UNDELIVERED = orphan(delivered=False, started=False)
DELIVERED = orphan(started=False)


@pytest.mark.parametrize(
    ("lost", "deregistered", "policy", "verdict"),
    [
        pytest.param(UNDELIVERED, False, RETRY, Move(2, 0), id="undelivered: at once, and no run"),
        pytest.param(UNDELIVERED, False, NEVER, Move(2, 0), id="undelivered: never run, so never does not matter"),
        pytest.param(UNDELIVERED, True, NEVER, Move(2, 0), id="undelivered, worker ended well"),
        pytest.param(DELIVERED, False, RETRY, Move(2, 1), id="delivered: may have run"),
        pytest.param(DELIVERED, True, RETRY, Move(2, 0), id="delivered, worker ended well: did not run"),
        pytest.param(DELIVERED, True, NEVER, Move(2, 0), id="given back by a worker that ended well"),
        pytest.param(orphan(), True, RETRY, Move(2, 1), id="started, then given back"),
        pytest.param(orphan(attempt=5), False, RETRY, Move(6, 1), id="dispatches are not runs"),
        pytest.param(orphan(attempt=2, runs=1), False, RETRY, Move(3, 2), id="second run of three"),
        pytest.param(
            orphan(attempt=9, runs=3, delivered=False, started=False), False, RETRY, Move(10, 3), id="moved, not run"
        ),
    ],
)
def test_s13_moved(lost: Orphan, deregistered: bool, policy: PoolPolicy, verdict: Move) -> None:
    assert judge(lost, frozenset(), deregistered, policy) == verdict


@pytest.mark.parametrize(
    ("lost", "deregistered", "policy", "words"),
    [
        pytest.param(DELIVERED, False, NEVER, "must not run again", id="never"),
        pytest.param(orphan(), True, NEVER, "must not run again", id="never, though the worker ended well"),
        pytest.param(orphan(runs=2), False, RETRY, "run 3 of at most 3", id="out of attempts"),
        pytest.param(orphan(), False, PoolPolicy("p", max_attempts=1), "run 1 of at most 1", id="one attempt only"),
        pytest.param(
            orphan(expired=True), False, NEVER, "must not run again", id="the policy says more than the clock"
        ),
    ],
)
def test_s13_worker_lost(lost: Orphan, deregistered: bool, policy: PoolPolicy, words: str) -> None:
    verdict = judge(lost, frozenset(), deregistered, policy)
    assert isinstance(verdict, Fail)
    assert (verdict.status_code, verdict.state) == (502, State.FAILED)
    assert verdict.failure_class == FailureClass.WORKER_LOST
    assert words in verdict.reason


@pytest.mark.parametrize("lost", [UNDELIVERED, orphan()])
def test_a10_what_has_a_result_is_left_alone(lost: Orphan) -> None:
    assert judge(lost, {"i"}, False, NEVER) == Skip()


@pytest.mark.parametrize("delivered", [False, True])
def test_a20_nothing_is_moved_for_nobody(delivered: bool) -> None:
    verdict = judge(orphan(delivered=delivered, started=False, expired=True), frozenset(), False, RETRY)
    assert isinstance(verdict, Fail)
    assert (verdict.status_code, verdict.state) == (504, State.EXPIRED)


@pytest.mark.parametrize(
    ("unhealthy_since", "undelivered", "in_hand", "stuck"),
    [
        pytest.param(1000 - UNHEALTHY_WAIT_S, True, 0, True, id="unhealthy for long, and nobody began it"),
        pytest.param(1001 - UNHEALTHY_WAIT_S, True, 0, False, id="not for so long"),
        pytest.param(0, True, 1, False, id="its sidecar has something"),
        pytest.param(0, False, 0, False, id="nothing waits"),
        pytest.param(None, True, 0, False, id="healthy"),
    ],
)
def test_s13_stuck(unhealthy_since: float | None, undelivered: bool, in_hand: int, stuck: bool) -> None:
    assert is_stuck(unhealthy_since, undelivered=undelivered, in_hand=in_hand, now=1000) is stuck


def given(sequence: int, phase: Phase = Phase.DISPATCHED, *, superseded: bool = True) -> OpenInvocation:
    return OpenInvocation("i", "p", 1, phase, "w", 1, 0, sequence, superseded)


@pytest.mark.parametrize(
    ("dispatch", "at_once", "later"),
    [
        pytest.param(given(10, Phase.RUNNING), True, True, id="the former one began it"),
        pytest.param(given(10), False, True, id="delivered, not begun: nobody knows to whom"),
        pytest.param(given(10, Phase.RUNNING, superseded=False), False, False, id="the present one began it"),
        pytest.param(given(10, superseded=False), False, False, id="dispatched since"),
        pytest.param(given(21), False, False, id="not delivered"),
        pytest.param(given(4, Phase.RUNNING), False, False, id="of an earlier consumer: moved when that was replaced"),
    ],
)
def test_s13_the_former_sidecars(dispatch: OpenInvocation, at_once: bool, later: bool) -> None:
    found = [was_formers(dispatch, start=5, delivered=20, settled=settled) for settled in (False, True)]
    assert found == [at_once, later]
