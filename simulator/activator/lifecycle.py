"""How many workers a pool has: which are made, drained, deleted, and when it cannot start (contract 9.3). Pure.

`plan` looks at one pool and at nothing else. Whoever carries it out keeps its `failures` for the next look, which is
due when something of the pool changed, and at `next_check_at` at the latest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from simulator.activator.fleet import Condition, FleetSettings, Worker
from simulator.activator.pools import PoolPolicy, is_managed
from simulator.kube.kinds import Object

FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 60.0

_ON_THE_WAY: Final = frozenset({Condition.STARTING, Condition.UNHEALTHY, Condition.LOST})
"""What comes up, or back, within the ready wait or never."""
_AVAILABLE: Final = frozenset({Condition.LIVE, Condition.STARTING, Condition.UNHEALTHY})


class StartFailures(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A pool's failed starts in a row. Its JSON can be kept for the next leader.

    The next start is allowed at `not_before`. `timed_out` says that one of them took the whole ready wait, so callers
    waited long enough. `reason` is the newest one's; `counted` are the failed workers that are still there.
    """

    consecutive: int = 0
    failed_at: float = 0.0
    not_before: float = 0.0
    timed_out: bool = False
    reason: str = ""
    counted: frozenset[str] = frozenset()


NO_FAILURES: Final = StartFailures()


@dataclass(frozen=True, slots=True)
class PoolView:
    """What is known of one pool. `waiting` counts the invocations that no worker has."""

    policy: PoolPolicy
    template: Object
    workers: tuple[Worker, ...]
    waiting: int = 0
    failures: StartFailures = NO_FAILURES

    @property
    def minimum(self) -> int:
        """How many workers are kept; none beyond what is waited for once the pool's template is gone (A7)."""
        return 0 if is_managed(self.template) else self.policy.min_available


@dataclass(frozen=True, slots=True)
class GpuBudget:
    """GPUs for a pool's new workers: how many are free, and how many could be when all went that may go."""

    free: int
    attainable: int


@dataclass(frozen=True, slots=True)
class CreateWorkers:
    """Make so many workers from the template."""

    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Give this worker nothing more."""

    worker: Worker
    reason: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete this worker; what it may have outstanding is moved when it is gone."""

    worker: Worker
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """All that wait get a failed result of class `activation_timeout` with this reason."""

    reason: str


Action = CreateWorkers | Drain | Delete | GiveUp


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now. Without events, nothing else is before `next_check_at`."""

    actions: tuple[Action, ...]
    failures: StartFailures
    next_check_at: float | None


def backoff_s(failures: int) -> float:
    """Return the seconds from the so many-th failed start in a row to the next start: 1, 2, 4 ... 60."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 10), LONGEST_BACKOFF_S)


def refused(failures: StartFailures, reason: str, now: float) -> StartFailures:
    """Count a worker that the cluster does not let us make: its callers need not wait for another refusal."""
    count = failures.consecutive + 1
    return replace(
        failures, consecutive=count, failed_at=now, not_before=now + backoff_s(count), timed_out=True, reason=reason
    )


def plan(view: PoolView, now: float, settings: FleetSettings, gpus: GpuBudget | None = None) -> Plan:
    """Decide what one pool needs now; `gpus` of None is no limit."""
    failed = [worker for worker in view.workers if worker.managed and _failed_to_start(worker, now, settings)]
    failures = _counted(view, failed, now, settings)
    available = [worker for worker in view.workers if _is_available(worker, now, settings)]
    growth = _grow(view, failures, available, now, settings, gpus)
    actions = (*_removed(view.workers, now, settings), *growth, *_idle(view, now))
    held_back = len(available) < _wanted(view) and now < failures.not_before
    times = [failures.not_before] if held_back else []
    times += _times(view, settings)
    return Plan(actions, failures, min((time for time in times if time > now), default=None))


def _overdue(worker: Worker, now: float, settings: FleetSettings) -> bool:
    return worker.condition in _ON_THE_WAY and now >= worker.since + settings.ready_wait_s


def _failed_to_start(worker: Worker, now: float, settings: FleetSettings) -> bool:
    """One that is lost or unhealthy is replaced in the end too, but that says nothing about the next start."""
    starting = worker.condition is Condition.STARTING
    return worker.condition is Condition.FAILED or (starting and _overdue(worker, now, settings))


def _is_available(worker: Worker, now: float, settings: FleetSettings) -> bool:
    """Counted by intent: a fresh worker is one, a failed one is none (A14). One that just ended is run again."""
    if worker.condition is Condition.LOST:
        return now < worker.since + settings.return_wait_s
    return worker.condition in _AVAILABLE and not _overdue(worker, now, settings)


def _wanted(view: PoolView) -> int:
    """How many available workers the pool should have at least (A15)."""
    backlog = 0
    if view.waiting:
        per_worker = view.policy.waiting_per_worker
        backlog = view.waiting // per_worker + 1 if per_worker else 1
    wanted = max(view.minimum, backlog)
    return wanted if view.policy.max_available is None else min(wanted, view.policy.max_available)


def _counted(view: PoolView, failed: list[Worker], now: float, settings: FleetSettings) -> StartFailures:
    """Add the starts that failed since the last look, each once; a start that succeeded since then ends the row."""
    failures = view.failures
    if failures.failed_at > now:  # the clock was set back
        failures = replace(failures, failed_at=now, not_before=now + backoff_s(failures.consecutive))
    if any(each.condition is Condition.LIVE and each.since > failures.failed_at for each in view.workers):
        failures = StartFailures(counted=failures.counted)
    new = [worker for worker in failed if worker.name not in failures.counted]
    if new:
        count = failures.consecutive + len(new)
        slow = any(worker.condition is Condition.STARTING for worker in new)
        failures = StartFailures(
            consecutive=count,
            failed_at=now,
            not_before=now + backoff_s(count),
            timed_out=failures.timed_out or slow,
            reason=_why(new[-1], settings),
        )
    present = {worker.name for worker in view.workers}
    counted = (view.failures.counted & present) | {worker.name for worker in failed}
    return replace(failures, counted=frozenset(counted))


def _why(worker: Worker, settings: FleetSettings) -> str:
    slow = worker.condition is Condition.STARTING
    return f"not ready within {settings.ready_wait_s:g} s: {worker.reason}" if slow else worker.reason


def _grow(
    view: PoolView,
    failures: StartFailures,
    available: list[Worker],
    now: float,
    settings: FleetSettings,
    gpus: GpuBudget | None,
) -> Iterable[Action]:
    """Start what is missing, unless the last starts say wait, or say that it is of no use."""
    missing = _wanted(view) - len(available)
    if missing <= 0:
        return
    policy, nobody = view.policy, bool(view.waiting) and not available
    cannot = f"no worker of the pool {policy.pool!r} can run"
    if now < failures.not_before:
        if nobody and _is_hopeless(view, failures, now, settings):
            yield GiveUp(f"{cannot}: {failures.reason}")
        return
    if gpus is not None and policy.gpus_per_worker:
        if nobody and gpus.attainable < policy.gpus_per_worker:
            yield GiveUp(
                f"{cannot}: it needs {policy.gpus_per_worker} GPUs, and at most {gpus.attainable} can get free"
            )
        missing = min(missing, max(gpus.free, 0) // policy.gpus_per_worker)
    if failures.consecutive:  # one is enough to find out
        missing = 0 if any(each.condition is Condition.STARTING for each in available) else min(missing, 1)
    if missing > 0:
        reason = f"{len(available)} available, at least {view.minimum} wanted, {view.waiting} invocations wait"
        yield CreateWorkers(missing, reason)


def _is_hopeless(view: PoolView, failures: StartFailures, now: float, settings: FleetSettings) -> bool:
    """Whether the callers should be told now.

    A template that serves and cannot start itself is a failed start as well, so there the first one after it decides.
    """
    broken = any(not worker.managed and _failed_to_start(worker, now, settings) for worker in view.workers)
    return broken or failures.timed_out or failures.consecutive >= settings.max_start_failures


def _removed(workers: Iterable[Worker], now: float, settings: FleetSettings) -> Iterable[Delete]:
    """Workers of ours that are drained, or that will not come up or back."""
    for worker in workers:
        if not worker.managed:
            continue
        if worker.condition is Condition.DRAINING:
            # Others may have given it work just before they heard of the drain (A11).
            if not worker.outstanding and now >= worker.since + settings.drain_settle_s:
                yield Delete(worker, "drained")
        elif worker.condition is Condition.FAILED:
            yield Delete(worker, f"failed: {worker.reason}")
        elif _overdue(worker, now, settings):
            yield Delete(worker, f"{worker.condition} for {settings.ready_wait_s:g} s: {worker.reason}")


def _idle(view: PoolView, now: float) -> list[Drain]:
    """Drain who was idle for too long, the longest first, as long as the minimum stays live (contract 9.3)."""
    if view.waiting:
        return []
    timeout_s = view.policy.idle_timeout_s
    over = sorted(
        (worker for worker in _drainable(view) if now >= worker.idle_since + timeout_s),
        key=lambda worker: (worker.idle_since, worker.name),
    )
    return [Drain(worker, f"idle for {timeout_s:g} s") for worker in over[: _surplus(view)]]


def _surplus(view: PoolView) -> int:
    return max(sum(worker.condition is Condition.LIVE for worker in view.workers) - view.minimum, 0)


def _drainable(view: PoolView) -> list[Worker]:
    if not _surplus(view):
        return []
    return [each for each in view.workers if each.managed and each.condition is Condition.LIVE and not each.outstanding]


def _times(view: PoolView, settings: FleetSettings) -> list[float]:
    """When time alone may change what is to be done."""
    times = [worker.lost_at for worker in view.workers if worker.lost_at is not None]
    times += [each.since + settings.ready_wait_s for each in view.workers if each.condition in _ON_THE_WAY]
    times += [each.since + settings.return_wait_s for each in view.workers if each.condition is Condition.LOST]
    times += [each.since + settings.drain_settle_s for each in view.workers if each.condition is Condition.DRAINING]
    return times + [worker.idle_since + view.policy.idle_timeout_s for worker in _drainable(view)]
