"""A worker's sidecar ends and the next one comes: how it ended is known, and since when it is lost (S13, A14)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sidecar.messages import Event, WorkerMetricMessage
from simulator.activator import roster as roster_module
from simulator.activator.fleet import Condition, FleetSettings, WorkerRecord, heard, sighted
from simulator.activator.roster import Roster
from simulator.gpuunit import ACTIVE_NAMESPACE, MANAGED_LABELS, SIDECAR_CONTAINER, UNIT_LABEL
from simulator.kube.kinds import GPUUNIT, POD, Object
from simulator.ledger.events import Dispatched, Queued, Registered, Started
from simulator.ledger.ledger import Ledger, Phase
from tests.activator.parts import Shown, unit

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def said(kind: str, at: float) -> WorkerMetricMessage:
    return WorkerMetricMessage(
        serverless_request_id="p",
        worker_name="w",
        worker_namespace=ACTIVE_NAMESPACE,
        event_type=kind,
        reported_at=EPOCH + timedelta(seconds=at),
    )


def record_after(*kinds: str) -> WorkerRecord:
    record = sighted(None, unit("w"), 0.0)
    for at, kind in enumerate(kinds, start=1):
        record = heard(record, said(kind, at), at)
    return record


@pytest.mark.parametrize(
    ("kinds", "took_over"),
    [
        ([Event.REGISTERED], False),
        ([Event.REGISTERED, Event.REGISTERED], True),
        ([Event.REGISTERED, Event.HEARTBEAT, Event.REGISTERED, Event.HEARTBEAT], True),
        ([Event.REGISTERED, Event.DEREGISTERED, Event.REGISTERED], False),
        ([Event.REGISTERED, Event.REGISTERED, Event.DEREGISTERED, Event.REGISTERED], False),
        ([Event.HEARTBEAT, Event.REGISTERED], False),
    ],
)
def test_s13_a_sidecar_knows_how_the_one_before_it_ended(kinds: list[str], took_over: bool) -> None:
    assert record_after(*kinds).took_over is took_over


def test_a5_that_a_unit_is_ready_is_no_sidecar_of_its_own() -> None:
    """The cluster may show it before the registration is heard."""
    shown: dict[str, Any] = unit("w") | {
        "status": {"phase": "Ready", "conditions": [{"type": "Ready", "status": "True"}]}
    }
    record = sighted(None, shown, 1.0)
    assert record.registered_at == 1.0
    assert not heard(record, said(Event.REGISTERED, 1), 2.0).took_over


def test_a14_who_is_lost_is_so_since_its_end_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last sign of life may be a heartbeat interval older."""
    now = 2_000_000_000.0

    class Clock:
        time = staticmethod(lambda: now)

    monkeypatch.setattr(roster_module, "time", Clock)
    units, pods = Shown(GPUUNIT), Shown(POD)
    roster = Roster(units, pods, Ledger(), FleetSettings())
    units.show(unit("w"))
    roster.hear(said(Event.REGISTERED, 1), now)
    metadata = {"name": "w-0", "namespace": ACTIVE_NAMESPACE, "labels": {**MANAGED_LABELS, UNIT_LABEL: "w"}}
    ended: Object = {"name": SIDECAR_CONTAINER, "state": {"terminated": {}}}
    now += 12
    pods.show({"metadata": metadata, "status": {"initContainerStatuses": [ended]}})
    worker = roster.worker("w")
    assert worker is not None
    assert (worker.condition, worker.since) == (Condition.LOST, now)


def test_s13_what_a_worker_was_given_before_its_sidecar_registered_is_marked_until_that_begins_it() -> None:
    ledger = Ledger()
    for sequence, invocation_id in enumerate("abc"):
        ledger.apply(Queued(invocation_id, "p", 10 * sequence + 1))
        ledger.apply(Dispatched(invocation_id, "p", 10 * sequence + 2, "other" if invocation_id == "c" else "w"))
    ledger.apply(Started("a"))
    ledger.apply(Registered("p", "w", 40))

    def state(invocation_id: str) -> tuple[Phase, bool] | None:
        known = ledger.open(invocation_id)
        return (known.phase, known.superseded) if known else None

    assert [state(each) for each in "abc"] == [
        (Phase.RUNNING, True),
        (Phase.DISPATCHED, True),
        (Phase.DISPATCHED, False),
    ]
    assert [ledger.apply(Started(each)) for each in "abb"] == ["a", "b", None]
    assert [state(each) for each in "ab"] == [(Phase.RUNNING, False)] * 2
    ledger.apply(Registered("p", "w", 41))
    ledger.apply(Dispatched("a", "p", 50, "w", 2))
    assert state("a") == (Phase.DISPATCHED, False), "given anew"
