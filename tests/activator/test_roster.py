"""The workers as they are now: from units, pods, events and the ledger (A4, A5, A6, A13, A16, S13)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sidecar.messages import Event, WorkerMetricMessage
from simulator.activator import roster as roster_module
from simulator.activator.fleet import Condition, FleetSettings, WorkerRecord
from simulator.activator.roster import MOST_UNKNOWN, Roster
from simulator.gpuunit import (
    ACTIVE_NAMESPACE,
    DRAINING_ANNOTATION,
    MANAGED_LABEL,
    MANAGED_LABELS,
    SIDECAR_CONTAINER,
    UNIT_LABEL,
)
from simulator.kube.kinds import GPUUNIT, POD, Object
from simulator.ledger.events import Dispatched, Ended, Queued
from simulator.ledger.ledger import Ledger
from tests.activator.parts import Shown

SETTINGS = FleetSettings(silence_s=45.0, ready_wait_s=120.0, capacity=2)


def unit(name: str = "w", pool: str = "p", phase: str = "Progressing", uid: str = "1", **metadata: Any) -> Object:
    return {
        "metadata": {"name": name, "namespace": ACTIVE_NAMESPACE, "uid": f"{name}-{uid}", **metadata},
        "spec": {"serverless": {"requestID": pool}},
        "status": {"phase": phase},
    }


class Scene:
    """A roster between a cluster and a stream, both in the test's hands; `now` is everybody's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000.0
        monkeypatch.setattr(roster_module, "time", self)
        self.units, self.pods, self.ledger = Shown(GPUUNIT), Shown(POD), Ledger()
        self.roster = Roster(self.units, self.pods, self.ledger, SETTINGS)
        self.lost: list[str] = []
        self.changed: list[str] = []
        self.roster.on_loss = self.lost.append
        self.roster.on_change = self.changed.append
        self._sequence = 0

    def time(self) -> float:
        return self.now

    def hear(self, kind: str, name: str = "w", *, reported: float | None = None) -> None:
        """An event reaches the queue now; it was reported then."""
        at = datetime.fromtimestamp(self.now if reported is None else reported, UTC)
        event = WorkerMetricMessage(
            serverless_request_id="p",
            worker_name=name,
            worker_namespace=ACTIVE_NAMESPACE,
            event_type=kind,
            reported_at=at,
        )
        self.roster.hear(event, self.now)

    def pod(self, sidecar: dict[str, Any], *, name: str = "w-0", of: str = "w", leaving: bool = False) -> None:
        labels = {**MANAGED_LABELS, UNIT_LABEL: of}
        metadata: Object = {"name": name, "namespace": ACTIVE_NAMESPACE, "labels": labels}
        if leaving:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        status = {"initContainerStatuses": [{"name": SIDECAR_CONTAINER, "state": sidecar}]}
        self.pods.show({"metadata": metadata, "status": status})

    def runs(self, since: float | None = None, **pod: Any) -> None:
        """The sidecar's container runs; Kubernetes gives whole seconds."""
        started = datetime.fromtimestamp(self.now if since is None else since, UTC) - timedelta(microseconds=500_000)
        self.pod({"running": {"startedAt": started.isoformat(timespec="seconds")}}, **pod)

    def dies(self, **pod: Any) -> None:
        self.pod({"terminated": {"exitCode": 137}}, **pod)

    def dispatched(self, invocation_id: str, worker: str = "w") -> None:
        self._sequence += 2
        self.ledger.apply(Queued(invocation_id, "p", self._sequence - 1))
        self.ledger.apply(Dispatched(invocation_id, "p", self._sequence, worker))

    def condition(self, name: str = "w") -> Condition | None:
        worker = self.roster.worker(name)
        return worker.condition if worker else None


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_a5_a_worker_that_registered_is_live_without_ports_or_url(scene: Scene) -> None:
    scene.units.show(unit())
    assert scene.condition() is Condition.STARTING
    scene.hear(Event.REGISTERED)
    assert scene.condition() is Condition.LIVE
    assert scene.changed == ["p", "p"]


def test_a5_a_registration_may_come_before_its_unit_is_seen(scene: Scene) -> None:
    scene.hear(Event.REGISTERED)
    assert scene.condition() is None
    scene.units.show(unit())
    assert scene.condition() is Condition.LIVE


def test_a5_a_unit_that_is_ready_is_live_though_nobody_heard_it(scene: Scene) -> None:
    scene.units.show(unit(phase="Ready"))
    assert scene.condition() is Condition.LIVE


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (unit(phase="Failed"), Condition.FAILED),
        (unit(phase="Ready", annotations={DRAINING_ANNOTATION: "2026-01-01T00:00:00Z"}), Condition.DRAINING),
        (unit(phase="Ready", deletionTimestamp="2026-01-01T00:00:00Z"), Condition.LEAVING),
    ],
)
def test_a6_what_a_unit_says_counts(scene: Scene, shown: Object, expected: Condition) -> None:
    scene.units.show(shown)
    assert scene.condition() is expected


def test_a13_a_silent_worker_is_lost_once(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.now += 30
    scene.hear(Event.HEARTBEAT)
    for _ in range(4):
        due = scene.roster.next_expiry()
        if due is None:
            break
        scene.now = due
        scene.roster.expire(scene.now)
    assert scene.condition() is Condition.LOST
    assert scene.now == 1_800_000_000.0 + 30 + SETTINGS.silence_s
    assert scene.lost == ["w"]
    scene.roster.expire(scene.now + 60)
    assert scene.lost == ["w"]


def test_a13_a_worker_that_is_heard_again_is_live_again(scene: Scene) -> None:
    """Its connection was lost for a while; it need not register anew."""
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.now += SETTINGS.silence_s
    scene.roster.expire(scene.now)
    assert scene.condition() is Condition.LOST
    scene.changed.clear()
    scene.hear(Event.HEARTBEAT)
    assert (scene.condition(), scene.changed) == (Condition.LIVE, ["p"])


def test_a16_old_events_that_come_late_change_nothing(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.changed.clear()
    scene.hear(Event.DEREGISTERED, reported=scene.now - 60)
    scene.hear(Event.FRAMEWORK_UNHEALTHY, reported=scene.now - 1)
    assert (scene.condition(), scene.changed, scene.lost) == (Condition.LIVE, [], [])
    assert not scene.roster.said_goodbye("w")


def test_a_unit_made_anew_under_the_old_name_starts_afresh(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.units.hide("w")
    assert scene.lost == ["w"]
    scene.units.show(unit(uid="2"))
    assert scene.condition() is Condition.STARTING


def test_a_unit_made_anew_unnoticed_starts_afresh(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.dispatched("i")
    scene.lost.clear()
    scene.units.show(unit(uid="2"))
    assert scene.condition() is Condition.STARTING
    assert scene.lost == ["w"], "S13: what the former one had is not the new one's"
    assert scene.roster.will_not_do("w")


def test_a_former_sidecar_that_drains_is_not_its_successor(scene: Scene) -> None:
    """A16: what is heard of a unit that is gone makes no later one of its name live."""
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.units.hide("w")
    for kind in (Event.HEARTBEAT, Event.FINISHED, Event.DEREGISTERED):
        scene.now += 1
        scene.hear(kind)
    assert scene.roster.said_goodbye("w")
    scene.units.show(unit(uid="2"))
    assert scene.condition() is Condition.STARTING
    scene.hear(Event.REGISTERED)
    assert scene.condition() is Condition.LIVE
    assert not scene.roster.said_goodbye("w")


def test_what_is_left_for_a_new_unit_of_an_old_name_is_looked_at_when_the_former_pod_is_gone(scene: Scene) -> None:
    scene.dispatched("i")
    scene.runs(leaving=True)
    scene.units.show(unit(uid="2"))
    assert scene.roster.is_draining("w")
    scene.lost.clear()
    scene.pods.hide("w-0")
    assert scene.lost == ["w"]
    assert not scene.roster.is_draining("w")


def test_s13_a_sidecar_that_restarted_is_lost_once_until_it_registers(scene: Scene) -> None:
    scene.units.show(unit())
    scene.runs()
    scene.hear(Event.REGISTERED)
    assert scene.condition() is Condition.LIVE
    scene.now += 10
    scene.dies()
    scene.pod({"waiting": {"reason": "CrashLoopBackOff"}})
    scene.now += 10
    scene.runs()
    assert (scene.condition(), scene.lost) == (Condition.LOST, ["w"])
    scene.now += 1
    scene.hear(Event.REGISTERED)
    scene.runs(since=scene.now - 1)
    assert (scene.condition(), scene.lost) == (Condition.LIVE, ["w"])


def test_s13_a_sidecar_that_restarted_unseen_is_recognised_by_its_start(scene: Scene) -> None:
    scene.units.show(unit())
    scene.runs()
    scene.hear(Event.REGISTERED)
    scene.now += 10
    scene.runs()
    assert (scene.condition(), scene.lost) == (Condition.LOST, ["w"])


def test_s13_a_sidecar_whose_end_nobody_saw_is_lost_when_its_successor_registers(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.now += 1
    scene.hear(Event.REGISTERED)
    assert (scene.condition(), scene.lost) == (Condition.LIVE, ["w"])


def test_a_registration_that_overtakes_the_pods_is_believed_in_the_end(scene: Scene) -> None:
    """The watch of pods may lag: what it shows of the former container does not lose the new one for ever."""
    scene.units.show(unit())
    scene.runs()
    scene.hear(Event.REGISTERED)
    scene.now += 10
    scene.hear(Event.REGISTERED)  # its container was restarted
    scene.dies()  # which is only seen now
    assert scene.condition() is Condition.LOST
    scene.now += 0.1
    scene.runs(since=scene.now - 1)
    scene.now += 15
    scene.hear(Event.HEARTBEAT)
    assert scene.condition() is Condition.LIVE


def test_a_terminating_pod_gets_nothing_new_and_is_not_lost(scene: Scene) -> None:
    scene.units.show(unit())
    scene.runs()
    scene.hear(Event.REGISTERED)
    scene.runs(since=scene.now, leaving=True)
    assert (scene.condition(), scene.lost) == (Condition.UNHEALTHY, [])
    scene.now += 5
    scene.dies(leaving=True)
    assert scene.lost == ["w"]


def test_a_sidecar_outside_the_cluster_is_lost_by_silence_only(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.units.show(unit(phase="Ready"))
    assert (scene.condition(), scene.lost) == (Condition.LIVE, [])
    scene.now += SETTINGS.silence_s
    scene.roster.expire(scene.now)
    assert (scene.condition(), scene.lost) == (Condition.LOST, ["w"])
    scene.hear(Event.REGISTERED)
    assert scene.condition() is Condition.LIVE


def test_a_sidecar_that_said_goodbye_is_lost_and_its_farewell_is_kept(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.now += 1
    scene.hear(Event.DEREGISTERED)
    assert (scene.condition(), scene.lost) == (Condition.LOST, ["w"])
    scene.units.hide("w")
    assert scene.roster.said_goodbye("w")


def test_another_pool_loses_the_worker(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.changed.clear()
    scene.units.show(unit(pool="q"))
    assert (scene.lost, sorted(scene.changed)) == (["w"], ["p", "q"])
    assert [worker.name for worker in scene.roster.workers("q")] == ["w"]
    assert scene.roster.workers("p") == []


def test_outstanding_and_idleness_are_those_of_now(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    scene.dispatched("i")
    [worker] = scene.roster.workers("p")
    assert worker.outstanding == 1
    scene.now += 9
    scene.hear(Event.FINISHED)
    scene.ledger.apply(Ended("i", "p", 9))
    [worker] = scene.roster.workers("p")
    assert (worker.outstanding, worker.idle_since) == (0, scene.now)


@pytest.mark.parametrize("name", ["A B", "a.b", "", 7])
def test_a_unit_whose_spec_cannot_be_read_serves_nobody_and_harms_nobody(scene: Scene, name: object) -> None:
    """Whatever somebody writes into a unit, the activator lives on."""
    scene.units.show(unit("ok"))
    broken = unit("broken")
    broken["spec"]["serverless"] = {"enabled": True, "requestID": name}
    scene.units.show(broken)
    scene.roster.start()
    scene.hear(Event.REGISTERED, "broken")
    scene.roster.expire(scene.now + 100)
    assert scene.roster.pools() == ["p"]
    assert scene.condition("broken") is None
    scene.units.hide("broken")
    assert scene.roster.records().keys() == {"ok"}


def test_a_worker_whose_unit_becomes_unreadable_is_lost(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    broken = unit()
    broken["spec"]["serverless"] = {"requestID": "A B"}
    scene.units.show(broken)
    assert (scene.condition(), scene.lost) == (None, ["w"])
    scene.units.show(unit())
    assert scene.condition() is Condition.LIVE


def test_a7_the_template_is_the_first_that_nobody_made(scene: Scene) -> None:
    scene.units.show(unit("a", labels={MANAGED_LABEL: "activator"}))
    scene.units.show(unit("c"))
    scene.units.show(unit("b"))
    template = scene.roster.template("p")
    assert template is not None
    assert template["metadata"]["name"] == "b"
    assert scene.roster.policy("q").pool == "q", "of a pool without units"


def test_a_pools_policy_is_that_of_its_template_as_it_is_now(scene: Scene) -> None:
    for attempts in (2, 5):
        changed = unit()
        changed["spec"]["serverless"]["maxAttempts"] = attempts
        scene.units.show(changed)
        assert [scene.roster.policy("p").max_attempts for _ in range(2)] == [attempts] * 2


def test_records_of_strangers_are_bounded(scene: Scene) -> None:
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    for number in range(3 * MOST_UNKNOWN):
        scene.hear(Event.REGISTERED, f"stranger-{number}")
        scene.hear(Event.DEREGISTERED, f"stranger-{number}", reported=scene.now + 1)
    roster = scene.roster
    for kept in (roster.records(), roster.changed, roster._registered_at, roster._farewells):
        assert len(kept) <= MOST_UNKNOWN + 1
    assert scene.condition() is Condition.LIVE


def test_nothing_is_kept_of_a_unit_that_is_gone(scene: Scene) -> None:
    for number in range(50):
        name = f"w{number}"
        scene.units.show(unit(name))
        scene.runs(name=f"{name}-0", of=name)
        scene.hear(Event.REGISTERED, name)
        scene.dies(name=f"{name}-0", of=name)
        scene.units.hide(name)
        scene.pods.hide(f"{name}-0")
    roster = scene.roster
    kept = [roster.records(), roster.changed, roster._registered_at, roster._ended, roster._had_pods, roster._uids]
    assert [len(each) for each in kept] == [0] * 6
    assert scene.roster.next_expiry() is None


def test_a12_what_was_known_before_a_restart_is_the_beginning(scene: Scene) -> None:
    record = WorkerRecord(
        first_seen=scene.now - 900,
        last_seen=scene.now - 10,
        last_activity=scene.now - 800,
        uid="w-1",
        registered_at=scene.now - 880,
    )
    scene.units.show(unit())
    scene.roster.load({"w": record})
    scene.roster.start()
    scene.hear(Event.HEARTBEAT)
    [worker] = scene.roster.workers("p")
    assert (worker.condition, worker.idle_since) == (Condition.LIVE, scene.now - 800)


def test_a4_looking_at_workers_reads_no_units(scene: Scene) -> None:
    """A4: what is known is worked out when something changes, not when it is asked for."""
    scene.units.show(unit())
    scene.hear(Event.REGISTERED)
    first = scene.roster.workers("p")
    reads: list[str] = []

    def read() -> list[Object]:
        reads.append("all units")
        return []

    scene.units.objects = read  # type: ignore[method-assign]
    for _ in range(100):
        scene.hear(Event.HEARTBEAT)
        assert scene.roster.workers("p") == first
    assert reads == []
    scene.units.show(unit("another"))
    scene.roster.workers("p")
    scene.roster.workers("q")
    assert len(reads) == 1
