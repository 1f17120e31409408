"""What is known of a worker, from its unit and its events (A5, A6, A12, A13, A16)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from framework.contract import ZERO_TIME
from sidecar.messages import Event, WorkerMetricMessage
from simulator.activator.fleet import (
    Condition,
    FleetSettings,
    Worker,
    WorkerRecord,
    condition,
    heard,
    is_lost,
    sighted,
    worker_of,
)
from simulator.gpuunit import DRAINING_ANNOTATION, MANAGED_LABEL
from simulator.kube.kinds import Object

SETTINGS = FleetSettings(silence_s=45.0, ready_wait_s=120.0, capacity=2)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def unit(phase: str = "", *, uid: str = "u1", draining: bool = False, leaving: bool = False, **spec: Any) -> Object:
    metadata: Object = {"name": "w", "namespace": "ns", "uid": uid, "labels": {MANAGED_LABEL: "activator"}}
    if draining:
        metadata["annotations"] = {DRAINING_ANNOTATION: "2026-01-01T00:00:00Z"}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "spec": {"serverless": {"requestID": "p", **spec}}, "status": {"phase": phase}}


def event(kind: str, at: float) -> WorkerMetricMessage:
    return WorkerMetricMessage(
        serverless_request_id="p",
        worker_name="w",
        worker_namespace="ns",
        event_type=kind,
        reported_at=EPOCH + timedelta(seconds=at),
    )


def after(*events: tuple[str, float], first_seen: float = 0.0) -> WorkerRecord:
    record = sighted(None, unit(), first_seen)
    for kind, at in events:
        record = heard(record, event(kind, at), at)
    return record


def now_is(record: WorkerRecord, now: float, unit_now: Object | None = None, *, died: bool = False) -> Condition:
    seen = unit_now or unit("Progressing")
    return condition(seen, sighted(record, seen, now), died, now, SETTINGS)


@pytest.mark.parametrize(
    ("events", "now", "unit_now", "expected"),
    [
        pytest.param([], 119, unit(), Condition.STARTING, id="A14: a fresh unit is on its way"),
        pytest.param([], 9, unit("Failed"), Condition.FAILED, id="A6: failed, never up"),
        pytest.param([], 9, unit("Ready"), Condition.LIVE, id="A5: Ready is enough, without ports or URL"),
        pytest.param([("registered", 5)], 9, unit("Progressing"), Condition.LIVE, id="A5: registered is enough"),
        pytest.param([("heartbeat", 5)], 9, unit(), Condition.LIVE, id="a heartbeat is enough"),
        pytest.param([("invocation_started", 5)], 9, unit(), Condition.LIVE, id="work is enough"),
        pytest.param([("something_new", 5)], 9, unit(), Condition.STARTING, id="unknown event: life, no more"),
        pytest.param([("registered", 5)], 49.9, unit("Ready"), Condition.LIVE, id="not yet silent"),
        pytest.param([("registered", 5)], 50, unit("Ready"), Condition.LOST, id="A13: silent"),
        pytest.param([("registered", 5), ("heartbeat", 20)], 50, unit("Ready"), Condition.LIVE, id="heartbeat is life"),
        pytest.param([("registered", 5), ("invocation_finished", 20)], 50, unit(), Condition.LIVE, id="work is life"),
        pytest.param([("registered", 5), ("something_new", 20)], 50, unit(), Condition.LIVE, id="unknown is life too"),
        pytest.param([("registered", 5), ("deregistered", 6)], 7, unit("Ready"), Condition.LOST, id="said goodbye"),
        pytest.param(
            [("registered", 5), ("deregistered", 6), ("invocation_finished", 7)],
            8,
            unit(),
            Condition.LOST,
            id="last word",
        ),
        pytest.param(
            [("registered", 5), ("deregistered", 6), ("registered", 8)], 9, unit(), Condition.LIVE, id="back again"
        ),
        pytest.param(
            [("registered", 5), ("deregistered", 6), ("heartbeat", 8)], 9, unit(), Condition.LIVE, id="back, unheard"
        ),
        pytest.param(
            [("registered", 5), ("framework_unhealthy", 6)], 9, unit("Ready"), Condition.UNHEALTHY, id="framework ill"
        ),
        pytest.param(
            [("registered", 5), ("framework_unhealthy", 6), ("invocation_failed", 7), ("heartbeat", 8)],
            9,
            unit(),
            Condition.UNHEALTHY,
            id="only healthy makes healthy",
        ),
        pytest.param(
            [("registered", 5), ("framework_unhealthy", 6), ("framework_healthy", 7)],
            9,
            unit(),
            Condition.LIVE,
            id="well",
        ),
        pytest.param(
            [("registered", 5), ("framework_unhealthy", 6), ("registered", 7)],
            9,
            unit(),
            Condition.LIVE,
            id="new start",
        ),
        pytest.param(
            [("registered", 5)], 9, unit("Failed"), Condition.UNHEALTHY, id="its sidecar lives, the kubelet restarts"
        ),
        pytest.param([("registered", 5)], 50, unit("Failed"), Condition.FAILED, id="failed and silent"),
        pytest.param(
            [("registered", 5), ("deregistered", 6)], 9, unit("Failed"), Condition.FAILED, id="its next pod failed"
        ),
        pytest.param([("registered", 5)], 9, unit("Ready", draining=True), Condition.DRAINING, id="draining"),
        pytest.param([], 9, unit("Failed", draining=True), Condition.DRAINING, id="draining, whatever else"),
        pytest.param([("registered", 5)], 9, unit("Ready", leaving=True), Condition.LEAVING, id="leaving"),
        pytest.param(
            [("registered", 5)], 9, unit(draining=True, leaving=True), Condition.LEAVING, id="leaving at last"
        ),
        pytest.param([], 9, unit("Empty", templateOnly=True), Condition.TEMPLATE, id="only a pattern"),
    ],
)
def test_condition(events: list[tuple[str, float]], now: float, unit_now: Object, expected: Condition) -> None:
    assert now_is(after(*events), now, unit_now) is expected


def test_a13_a_worker_whose_sidecar_was_seen_to_end_is_lost_at_once() -> None:
    record = after(("registered", 5))
    assert now_is(record, 6, died=True) is Condition.LOST
    assert now_is(record, 6, unit("Failed"), died=True) is Condition.LOST, "its kubelet may bring it back"
    assert now_is(record, 50, unit("Failed"), died=True) is Condition.FAILED


def test_a13_what_a_worker_has_is_lost_whatever_its_condition() -> None:
    draining = unit("Ready", draining=True)
    record = sighted(after(("registered", 5)), draining, 6)
    worker = worker_of(draining, record, outstanding=1, now=49, settings=SETTINGS)
    assert (worker.condition, worker.lost, worker.lost_at) == (Condition.DRAINING, False, 50)
    worker = worker_of(draining, record, outstanding=1, now=50, settings=SETTINGS)
    assert (worker.condition, worker.lost, worker.lost_at) == (Condition.DRAINING, True, None)


def test_a5_a_unit_that_is_ready_is_alive_from_when_it_was_seen_ready() -> None:
    record = sighted(sighted(None, unit(), 0), unit("Ready"), 100)
    assert (record.registered_at, record.last_seen, record.incarnation) == (100, 100, 0)
    assert sighted(record, unit("Ready"), 130) == record, "and seeing it again is no sign of life"
    assert now_is(record, 145, unit("Ready")) is Condition.LOST


def test_a12_first_sight_counts_as_activity_and_heartbeats_do_not() -> None:
    record = heard(None, event(Event.HEARTBEAT, 100), 100)
    for at in (115, 130, 145):
        record = heard(record, event(Event.HEARTBEAT, at), at)
    assert (record.last_activity, record.last_seen) == (100, 145)


@pytest.mark.parametrize("kind", [Event.STARTED, Event.FINISHED, Event.FAILED])
def test_invocations_are_activity(kind: str) -> None:
    assert after((Event.REGISTERED, 5), (kind, 7)).last_activity == 7


def test_only_the_first_registration_is_activity() -> None:
    record = after((Event.REGISTERED, 90))
    assert record.last_activity == 90, "not idle for the time that it took to start"
    assert heard(record, event(Event.REGISTERED, 99), 99).last_activity == 90


def test_a16_an_event_older_than_the_newest_changes_nothing() -> None:
    record = after((Event.REGISTERED, 5), (Event.FRAMEWORK_UNHEALTHY, 8), (Event.FRAMEWORK_HEALTHY, 9))
    for stale in (event(Event.FRAMEWORK_UNHEALTHY, 8), event(Event.DEREGISTERED, 4), event(Event.FINISHED, 6)):
        assert heard(record, stale, 40) == record


def test_a16_order_is_the_workers_and_not_that_of_arrival() -> None:
    events = [event(Event.REGISTERED, 5), event(Event.DEREGISTERED, 6), event(Event.REGISTERED, 7)]
    for order in (events, [events[1], events[2], events[0]], [events[2], events[0], events[1]]):
        record = None
        for each in order:
            record = heard(record, each, 10)
        assert record is not None
        assert (record.deregistered, record.last_event) == (False, Event.REGISTERED)


def test_an_event_without_a_time_is_taken_as_it_comes() -> None:
    timeless = msgspec.structs.replace(event(Event.DEREGISTERED, 0), reported_at=ZERO_TIME)
    record = heard(after((Event.REGISTERED, 5)), timeless, 9)
    assert record.deregistered
    assert record.reported_at == EPOCH + timedelta(seconds=5)


def test_a_second_registration_is_a_new_incarnation() -> None:
    record = after((Event.REGISTERED, 5), (Event.REGISTERED, 9))
    assert (record.incarnation, record.registered_at) == (2, 9)
    assert after((Event.REGISTERED, 5), (Event.HEARTBEAT, 9)).incarnation == 1


def test_a_unit_made_anew_under_the_old_name_is_another_worker() -> None:
    record = after((Event.REGISTERED, 5), (Event.FINISHED, 9))
    anew = sighted(record, unit(uid="u2"), 20)
    assert (anew.registered_at, anew.first_seen, anew.last_activity) == (None, 20, 20)
    assert heard(anew, event(Event.HEARTBEAT, 8), 21) == anew, "A16: the old one's events do not count for it"


def test_an_event_may_come_before_its_unit() -> None:
    record = sighted(heard(None, event(Event.REGISTERED, 5), 5), unit(), 6)
    assert (record.uid, record.registered_at) == ("u1", 5)


def test_a12_a_record_survives_as_json() -> None:
    record = sighted(after((Event.REGISTERED, 5), (Event.FRAMEWORK_UNHEALTHY, 6)), unit("Failed", draining=True), 7)
    assert msgspec.json.decode(msgspec.json.encode(record), type=WorkerRecord) == record


def test_lost_needs_no_registration() -> None:
    record = after()
    assert not is_lost(record, False, 44.9, SETTINGS)
    assert is_lost(record, False, 45, SETTINGS), "what it was given before a restart forgot it is to be moved"


@pytest.mark.parametrize(
    ("record", "unit_now", "expected"),
    [
        (after(first_seen=3), unit(), (Condition.STARTING, 3)),
        (after((Event.REGISTERED, 5)), unit("Ready"), (Condition.LIVE, 5)),
        (after((Event.REGISTERED, 5), (Event.FRAMEWORK_UNHEALTHY, 7)), unit(), (Condition.UNHEALTHY, 7)),
        (after((Event.REGISTERED, 5)), unit("Failed"), (Condition.UNHEALTHY, 10)),
        (after((Event.REGISTERED, 5), (Event.DEREGISTERED, 8)), unit(), (Condition.LOST, 8)),
        (after(), unit("Failed"), (Condition.FAILED, 10)),
        (after((Event.REGISTERED, 5)), unit(draining=True), (Condition.DRAINING, 10)),
    ],
)
def test_since(record: WorkerRecord, unit_now: Object, expected: tuple[Condition, float]) -> None:
    record = sighted(sighted(record, unit_now, 10), unit_now, 12)
    worker = worker_of(unit_now, record, outstanding=0, now=12, settings=SETTINGS)
    assert (worker.condition, worker.since) == expected


def test_a_worker_says_what_its_unit_says() -> None:
    failed = unit("Failed")
    failed["spec"]["gpu"] = 2
    failed["status"]["conditions"] = [{"type": "Ready", "reason": "PodStartupFailed", "message": "no such program"}]
    worker = worker_of(failed, sighted(None, failed, 1), outstanding=0, now=2, settings=SETTINGS)
    assert worker == Worker(
        name="w",
        namespace="ns",
        pool="p",
        condition=Condition.FAILED,
        managed=True,
        capacity=2,
        outstanding=0,
        since=1,
        idle_since=1,
        gpus=2,
        reason="unit w: PodStartupFailed: no such program",
        lost=False,
        lost_at=46,
    )
