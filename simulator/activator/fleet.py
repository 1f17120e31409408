"""What is known of each worker, folded from its unit and its events (A5, A12, A13, A16). Pure.

All times are seconds on one clock, the caller's, whichever that is: nothing here compares them with another one.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from framework.contract import ZERO_TIME
from sidecar.messages import Event, WorkerMetricMessage
from simulator.activator.pools import gpus_of, is_managed
from simulator.gpuunit import is_draining, is_ready, phase_of, serverless_of
from simulator.kube.kinds import Object

ACTIVITY: Final = frozenset({Event.STARTED, Event.FINISHED, Event.FAILED})
"""Events that say no more than that a worker is at work."""
_SAID_WHEN_REGISTERED: Final = ACTIVITY | {Event.HEARTBEAT, Event.FRAMEWORK_HEALTHY, Event.FRAMEWORK_UNHEALTHY}


@dataclass(frozen=True, slots=True)
class FleetSettings:
    """Limits, the same for all pools; times are seconds.

    A worker that is silent for `silence_s`, three heartbeats, is lost (A13). One that does not come up, or back, within
    `ready_wait_s` is replaced. It is given at most `capacity` invocations at a time. After `max_start_failures` starts
    in a row that failed, a pool counts as one that cannot start. One whose sidecar ended is expected back for
    `return_wait_s`, since its unit runs it again. `drain_settle_s` is how long after the decision other
    activators may still give work to a worker that is drained.
    """

    silence_s: float = 45.0
    ready_wait_s: float = 120.0
    capacity: int = 1
    max_start_failures: int = 3
    drain_settle_s: float = 2.0
    return_wait_s: float = 5.0


class WorkerRecord(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What was seen and heard of one worker. Its JSON can be kept, so that a restart forgets nothing (A12, A19).

    `uid` is its unit's, empty until that was sighted. `registered_at` is None until it could take work for the first
    time. `reported_at` is the worker's own clock, of its newest event, and `incarnation` counts the starts of its
    sidecar that were heard of. `took_over` says that the one before the present sidecar ended without a word.
    """

    first_seen: float
    last_seen: float
    last_activity: float
    uid: str = ""
    registered_at: float | None = None
    unhealthy_since: float | None = None
    failed_since: float | None = None
    draining_since: float | None = None
    deregistered: bool = False
    incarnation: int = 0
    took_over: bool = False
    last_event: str = ""
    reported_at: datetime = ZERO_TIME


class Condition(StrEnum):
    """What a worker may be used for; only a LIVE one is given work."""

    STARTING = "starting"
    """It was never able to take work."""
    LIVE = "live"
    UNHEALTHY = "unhealthy"
    """Its sidecar lives, its framework does not; the kubelet may bring it back."""
    LOST = "lost"
    """Its sidecar is silent, has said goodbye, or died; it may come back."""
    FAILED = "failed"
    """Its unit says that it cannot run, and no sidecar says otherwise (A6)."""
    DRAINING = "draining"
    LEAVING = "leaving"
    """Its unit is being deleted."""
    TEMPLATE = "template"
    """It is only the pattern for others."""


class Worker(Struct, frozen=True):
    """A worker now. Times are those of the caller's clock.

    `since` is when `condition` began, `reason` the unit's own, for people. `lost` says, whatever the condition, that
    what it has `outstanding` will not be done by it; `lost_at` when that will be so if nothing more is heard.
    """

    name: str
    namespace: str
    pool: str
    condition: Condition
    managed: bool
    capacity: int
    outstanding: int
    since: float
    idle_since: float
    gpus: int = 0
    reason: str = ""
    lost: bool = False
    lost_at: float | None = None


def sighted(record: WorkerRecord | None, unit: Object, now: float) -> WorkerRecord:
    """Take in a unit as the cluster shows it; one that was made anew under its old name is another worker.

    First sight counts as activity, so a worker that never serves gets idle all the same (A12). A unit that is Ready is
    registered even where nobody heard it say so: ports and URLs do not matter (A5).
    """
    uid = unit["metadata"].get("uid", "")
    if record is None or record.uid not in ("", uid):
        record = _first_sight(now, record)
    failed_since = _since(record.failed_since, phase_of(unit) == "Failed", now)
    draining_since = _since(record.draining_since, is_draining(unit), now)
    record = replace(record, uid=uid, failed_since=failed_since, draining_since=draining_since)
    if record.registered_at is None and is_ready(unit):
        record = replace(_registered(record, now), last_seen=now)
    return record


def heard(record: WorkerRecord | None, event: WorkerMetricMessage, at: float) -> WorkerRecord:
    """Take in an event that reached the queue at the time `at`.

    One that was reported before the newest says nothing new and changes nothing (A16). Every other is a sign of life,
    those of an unknown type too; only invocations are activity.
    """
    record = record or _first_sight(at)
    if ZERO_TIME != event.reported_at < record.reported_at:
        return record
    kind, reported_at = event.event_type, max(event.reported_at, record.reported_at)
    record = replace(record, last_event=kind, last_seen=at, reported_at=reported_at)
    if kind == Event.DEREGISTERED:
        return replace(record, deregistered=True)
    if kind == Event.REGISTERED or (kind == Event.HEARTBEAT and record.deregistered):
        record = replace(
            _registered(record, at),
            deregistered=False,
            unhealthy_since=None,
            incarnation=record.incarnation + 1,
            took_over=bool(record.incarnation) and record.registered_at is not None and not record.deregistered,
        )
    elif kind in _SAID_WHEN_REGISTERED and record.registered_at is None:
        record = _registered(record, at)
    if kind in ACTIVITY:
        return replace(record, last_activity=at)
    if kind in (Event.FRAMEWORK_HEALTHY, Event.FRAMEWORK_UNHEALTHY):
        return replace(record, unhealthy_since=_since(record.unhealthy_since, kind == Event.FRAMEWORK_UNHEALTHY, at))
    return record


def is_lost(record: WorkerRecord, incarnation_lost: bool, now: float, settings: FleetSettings) -> bool:
    """Whether nothing more is to be expected of a worker's sidecar.

    `incarnation_lost` says that the cluster has seen it end since it registered last.
    """
    return incarnation_lost or record.deregistered or _silent(record, now, settings)


def condition(
    unit: Object, record: WorkerRecord, incarnation_lost: bool, now: float, settings: FleetSettings
) -> Condition:
    """Decide what a worker may be used for; the record must have sighted this unit."""
    spec, failed = serverless_of(unit), phase_of(unit) == "Failed"
    if unit["metadata"].get("deletionTimestamp"):
        return Condition.LEAVING
    if spec is not None and spec.template_only:
        return Condition.TEMPLATE
    if is_draining(unit):
        return Condition.DRAINING
    if failed and (record.registered_at is None or record.deregistered or _silent(record, now, settings)):
        return Condition.FAILED
    if record.registered_at is None:
        return Condition.STARTING
    if is_lost(record, incarnation_lost, now, settings):
        return Condition.LOST
    return Condition.UNHEALTHY if failed or record.unhealthy_since is not None else Condition.LIVE


def worker_of(
    unit: Object,
    record: WorkerRecord,
    *,
    outstanding: int,
    now: float,
    settings: FleetSettings,
    incarnation_lost: bool = False,
) -> Worker:
    """Return the view of one worker; `outstanding` counts what it was given and has no result."""
    spec = serverless_of(unit)
    state = condition(unit, record, incarnation_lost, now, settings)
    lost = is_lost(record, incarnation_lost, now, settings)
    return Worker(
        name=unit["metadata"]["name"],
        namespace=unit["metadata"]["namespace"],
        pool=spec.request_id if spec else "",
        condition=state,
        managed=is_managed(unit),
        capacity=settings.capacity,
        outstanding=outstanding,
        since=_condition_since(state, record),
        idle_since=record.last_activity,
        gpus=gpus_of(unit),
        reason=_reason(unit),
        lost=lost,
        lost_at=None if lost else record.last_seen + settings.silence_s,
    )


def _first_sight(now: float, namesake: WorkerRecord | None = None) -> WorkerRecord:
    """Of an earlier worker of the name only this is kept: what it reported is older than all that follows."""
    fresh = WorkerRecord(first_seen=now, last_seen=now, last_activity=now)
    if namesake is None:
        return fresh
    return replace(fresh, reported_at=namesake.reported_at, incarnation=namesake.incarnation)


def _registered(record: WorkerRecord, now: float) -> WorkerRecord:
    """Only the first time is activity: a sidecar that restarts again and again must not keep an idle worker."""
    activity = now if record.registered_at is None else record.last_activity
    return replace(record, registered_at=now, last_activity=activity)


def _since(since: float | None, holds: bool, now: float) -> float | None:
    """Since when something holds, None while it does not."""
    if not holds:
        return None
    return now if since is None else since


def _silent(record: WorkerRecord, now: float, settings: FleetSettings) -> bool:
    return now >= record.last_seen + settings.silence_s


def _condition_since(state: Condition, record: WorkerRecord) -> float:
    unwell = [each for each in (record.unhealthy_since, record.failed_since) if each is not None]
    since: dict[Condition, float | None] = {
        Condition.LIVE: record.registered_at,
        Condition.UNHEALTHY: min(unwell, default=None),
        Condition.LOST: record.last_seen,
        Condition.FAILED: record.failed_since,
        Condition.DRAINING: record.draining_since,
    }
    found = since.get(state)
    return record.first_seen if found is None else found


def _reason(unit: Object) -> str:
    conditions = (unit.get("status") or {}).get("conditions") or []
    ready: Object = next((each for each in conditions if each.get("type") == "Ready"), {})
    return (
        f"unit {unit['metadata']['name']}: {ready.get('reason') or 'no reason'}: {ready.get('message') or 'no message'}"
    )
