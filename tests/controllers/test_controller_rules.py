"""The rules of the controllers, of plain values."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.controllers.ages import Ages
from simulator.controllers.counts import max_surge, max_unavailable
from simulator.controllers.deployment_status import rollout_status
from simulator.controllers.expectations import EXPIRY_S, Expectations
from simulator.controllers.ownership import claims
from simulator.controllers.placement import NO_NODES, NO_VICTIMS, NOT_HELPFUL, place
from simulator.controllers.pod_ranking import expendable
from simulator.controllers.replica_sets import new_pod, plan_pods, replica_set_status
from simulator.controllers.requests import Occupancy, amounts_of, pod_requests
from simulator.controllers.revisions import brought_up_to_date, new_replica_set, outlived, split, template_hash
from simulator.controllers.rollout import Resize, is_scaling, rolling_step, scale
from simulator.controllers.scheduling_queue import SchedulingQueue
from simulator.kube.kinds import Object
from simulator.nodes import NodeSpec, node_object

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
PREFIX = "deployment.kubernetes.io"


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(replicas: int = 1, surge: Any = "25%", unavailable: Any = "25%", **spec: Any) -> Object:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}},
            **spec,
        },
    }


def replica_set(
    name: str, replicas: int, available: int = 0, *, desired: int | None = None, most: int | None = None, age: int = 9
) -> Object:
    annotations = {"desired-replicas": desired, "max-replicas": most}
    return {
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": name,
            "creationTimestamp": ago(age),
            "annotations": {f"{PREFIX}/{key}": str(value) for key, value in annotations.items() if value is not None},
        },
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {}}},
        "status": {"replicas": replicas, "readyReplicas": available, "availableReplicas": available},
    }


def pod(name: str, **fields: Any) -> Object:
    conditions = (
        [{"type": "Ready", "status": "True", "lastTransitionTime": ago(fields["ready"])}] if "ready" in fields else []
    )
    restarts = [{"name": "c", "restartCount": fields.get("restarts", 0)}]
    return {
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": fields.get("uid", name),
            "creationTimestamp": ago(fields.get("age", 100)),
            "annotations": {"controller.kubernetes.io/pod-deletion-cost": str(fields.get("cost", 0))},
            **({"deletionTimestamp": ago(0)} if fields.get("going") else {}),
        },
        "spec": {"nodeName": fields.get("node", "n1"), "containers": [{"name": "c"}]},
        "status": {"phase": fields.get("phase", "Running"), "conditions": conditions, "containerStatuses": restarts},
    }


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "limits"),
    [
        (1, "25%", "25%", (1, 0)),
        (4, "25%", "25%", (1, 1)),
        (10, "25%", "25%", (3, 2)),
        (10, 3, 2, (3, 2)),
        (2, "0%", "1%", (0, 1)),
        (1, 0, "25%", (0, 1)),
        (3, "100%", 5, (3, 3)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_limits_of_a_rolling_update(replicas: int, surge: Any, unavailable: Any, limits: tuple[int, int]) -> None:
    wanted = deployment(replicas, surge, unavailable)
    assert (max_surge(wanted), max_unavailable(wanted)) == limits


@pytest.mark.parametrize(
    ("wanted", "new", "old", "steps"),
    [
        (deployment(4), replica_set("new", 0), [replica_set("old", 4, 4)], [Resize("new", 1)]),
        (deployment(4), replica_set("new", 1), [replica_set("old", 4, 4)], [Resize("old", 3)]),
        (deployment(4), replica_set("new", 1), [replica_set("old", 3, 3)], [Resize("new", 2)]),
        (deployment(4), replica_set("new", 2), [replica_set("old", 3, 3)], []),
        (deployment(1), replica_set("new", 1, 1), [replica_set("old", 1, 1)], [Resize("old", 0)]),
        (deployment(1), replica_set("new", 1), [replica_set("old", 1, 1)], []),
        (deployment(2), replica_set("new", 5), [], [Resize("new", 2)]),
        # What is not available goes first, of the oldest first.
        (
            deployment(3, 1, 1),
            replica_set("new", 1, 1),
            [replica_set("b", 1, 1, age=50), replica_set("a", 2, 0, age=60)],
            [Resize("a", 0)],
        ),
        # A status that tells of an earlier size is no ground to shrink further.
        (deployment(3, 1, 1), replica_set("new", 3, 3), [replica_set("old", 1, 3)], []),
    ],
)
def test_a_step_of_a_rolling_update(wanted: Object, new: Object, old: list[Object], steps: list[Resize]) -> None:
    assert rolling_step(wanted, new, old) == steps


@given(st.integers(0, 8), st.integers(0, 4), st.integers(0, 4))
def test_a_rolling_update_ends_and_stays_within_its_limits(replicas: int, surge: int, unavailable: int) -> None:
    wanted = deployment(replicas, surge, unavailable)
    sizes = {"new": 0, "old": replicas}
    for _ in range(40):
        # Every pod is available by the next step.
        new, old = (replica_set(name, size, size) for name, size in sizes.items())
        steps = rolling_step(wanted, new, [old])
        if not steps:
            break
        sizes |= {step.name: step.replicas for step in steps}
        assert sum(sizes.values()) <= replicas + max_surge(wanted)
        assert sum(sizes.values()) >= replicas - max_unavailable(wanted)
    assert sizes == {"new": replicas, "old": 0}


@pytest.mark.parametrize(
    ("wanted", "new", "old", "steps"),
    [
        (3, replica_set("new", 1), [], {"new": 3}),
        (3, replica_set("new", 0), [replica_set("old", 1)], {"old": 3}),
        (3, None, [replica_set("older", 0, age=99), replica_set("old", 0)], {"old": 3}),
        (2, replica_set("new", 2, 2, desired=2), [replica_set("old", 1, 1)], {"old": 0}),
        # 10 of 13 and 3 of 13, with 20 + 5 allowed.
        (20, replica_set("new", 3, 3, most=13), [replica_set("old", 10, 10, most=13)], {"old": 19, "new": 6}),
        (0, replica_set("new", 3, 3, most=13), [replica_set("old", 10, 10, most=13)], {"old": 0, "new": 0}),
    ],
)
def test_a_change_of_scale(wanted: int, new: Object | None, old: list[Object], steps: dict[str, int]) -> None:
    assert {step.name: step.replicas for step in scale(deployment(wanted), new, old)} == steps


def test_a_change_of_scale_is_seen_in_the_replica_sets() -> None:
    assert is_scaling(deployment(2), [replica_set("new", 1, desired=1)])
    assert not is_scaling(deployment(1), [replica_set("new", 1, desired=1), replica_set("old", 0, desired=7)])
    assert not is_scaling(deployment(1), [replica_set("new", 3)])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pod("b", node="", ready=5), pod("a", phase="Pending")),
        (pod("b", phase="Pending"), pod("a")),
        (pod("b"), pod("a", ready=50)),
        (pod("b", ready=50, cost=-1), pod("a", ready=1)),
        (pod("b", ready=50, node="crowded"), pod("a", ready=1)),
        (pod("b", ready=1), pod("a", ready=50)),
        (pod("b", restarts=2), pod("a", restarts=1)),
        (pod("b", age=1), pod("a", age=50)),
        (pod("b", ready=10, uid="0"), pod("a", ready=15, uid="1")),
    ],
)
def test_which_pod_goes_first(first: Object, second: Object) -> None:
    related = [first, second, pod("c", node="crowded"), pod("d", node="crowded")]
    for pods in ([first, second], [second, first]):
        assert expendable(pods, related, NOW) == [first, second]


def test_pods_of_a_replica_set() -> None:
    wanted = replica_set("rs", 2)
    assert plan_pods(wanted, [pod("a"), pod("gone", going=True)], [], NOW).create == 1
    assert plan_pods(wanted, [pod("a"), pod("done", phase="Failed")], [], NOW).create == 1
    three = [pod("a", ready=9), pod("b"), pod("c", ready=9)]
    assert [each["metadata"]["name"] for each in plan_pods(wanted, three, three, NOW).delete] == ["b"]
    made = new_pod(wanted)
    assert made["metadata"]["generateName"] == "rs-"
    assert made["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"


def test_the_failure_of_a_replica_set_is_told_until_it_is_over() -> None:
    broken = replica_set("rs", 2)
    broken["status"] = replica_set_status(broken, [], lambda _: True, "quota exceeded", NOW)
    (condition,) = broken["status"]["conditions"]
    assert (condition["type"], condition["reason"]) == ("ReplicaFailure", "FailedCreate")
    again = replica_set_status(broken, [], lambda _: True, "another text", NOW + timedelta(seconds=9))
    assert again["conditions"] == [condition]
    assert "conditions" not in replica_set_status(broken, [], lambda _: True, "", NOW)
    told = rollout_status(deployment(2), broken, [], 0.0, NOW)
    assert [entry["type"] for entry in told["conditions"]] == ["Available", "ReplicaFailure"]


def test_revisions_count_up_and_a_rollback_keeps_the_earlier_one() -> None:
    wanted = deployment(2)
    first = new_replica_set(wanted, [], 2)
    assert first["metadata"]["annotations"] == {
        f"{PREFIX}/revision": "1",
        f"{PREFIX}/desired-replicas": "2",
        f"{PREFIX}/max-replicas": "3",
    }
    assert set(template_hash(wanted)) <= set("456789bcdf")
    changed = deployment(2, template={"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}})
    second = new_replica_set(changed, [first], 1)
    assert second["metadata"]["annotations"][f"{PREFIX}/revision"] == "2"
    new, old = split(wanted, [first, second])
    assert (new, old) == (first, [second])
    third = brought_up_to_date(first, wanted, [second])
    assert third is not None
    assert third["metadata"]["annotations"][f"{PREFIX}/revision"] == "3"
    assert third["metadata"]["annotations"][f"{PREFIX}/revision-history"] == "1"
    assert brought_up_to_date({**third, "spec": {**third["spec"]}}, wanted, [second]) is None


def test_annotations_go_to_the_replica_set_but_those_of_tools() -> None:
    wanted = deployment()
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    wanted["metadata"]["annotations"] = {"team": "gpu", applied: "{}", f"{PREFIX}/revision": "7"}
    annotations = new_replica_set(wanted, [], 1)["metadata"]["annotations"]
    assert annotations["team"] == "gpu"
    assert applied not in annotations
    assert annotations[f"{PREFIX}/revision"] == "1"


def test_a_history_forgets_the_lowest_revisions_whose_pods_are_gone() -> None:
    old = [replica_set(name, size) for name, size in (("a", 0), ("b", 1), ("c", 0), ("d", 0))]
    for number, entry in enumerate(old, 1):
        entry["metadata"]["annotations"][f"{PREFIX}/revision"] = str(number)
        entry["status"]["observedGeneration"] = 1
    gone = outlived(deployment(revisionHistoryLimit=1), old)
    assert [entry["metadata"]["name"] for entry in gone] == ["a", "c"]
    assert outlived(deployment(revisionHistoryLimit=4), old) == []


def test_who_is_adopted_and_released() -> None:
    owner = replica_set("rs", 1)
    owner["spec"]["selector"] = {"matchLabels": {"app": "web"}}

    def each(name: str, app: str, controller: str = "", **extra: Any) -> Object:
        reference = {"uid": controller, "controller": True}
        metadata = {"name": name, "labels": {"app": app}, "ownerReferences": [reference] if controller else [], **extra}
        return {"metadata": metadata}

    mine, strayed, orphan = each("mine", "web", "rs"), each("strayed", "x", "rs"), each("orphan", "web")
    others = [each("foreign", "web", "other"), each("stranger", "x"), each("going", "web", deletionTimestamp=ago(0))]
    found = claims(owner, [mine, strayed, orphan, *others])
    assert (found.owned, found.release, found.adopt) == ((mine,), (strayed,), (orphan,))
    owner["metadata"]["deletionTimestamp"] = ago(0)
    found = claims(owner, [mine, strayed, orphan])
    assert (found.owned, found.release, found.adopt) == ((mine,), (), ())


def test_what_a_pod_requests() -> None:
    def container(cpu: str, **extra: Any) -> Object:
        return {"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": "9", "nvidia.com/gpu": "1"}}, **extra}

    spec: Object = {
        "containers": [container("500m"), container("1")],
        "initContainers": [
            container("250m", restartPolicy="Always"),
            container("4"),
            container("1", restartPolicy="Always"),
        ],
        "overhead": {"cpu": "100m"},
    }
    # 4 of an init container beside the 250m that started before it are more than 1500m of the main and 1250m of both.
    assert pod_requests({"spec": spec}) == {"cpu": 4350, "nvidia.com/gpu": 4}
    assert amounts_of({"memory": "1Ki", "cpu": "0.5", "x": "nonsense"}) == {"memory": 1024, "cpu": 500, "x": 0}


def test_what_pods_occupy() -> None:
    occupancy = Occupancy()
    occupancy.put(("ns", "a"), "one", {"cpu": 5})
    occupancy.put(("ns", "a"), "two", {"cpu": 5})
    assert not any(occupancy.on("one").values())
    assert occupancy.on("two") == {"cpu": 5, "pods": 1}
    assert occupancy.drop(("ns", "a"))
    assert not occupancy.drop(("ns", "a"))


def made_node(name: str, gpus: int = 1, **spec: Any) -> Object:
    made = node_object(NodeSpec(name, cpu="4", memory="8Gi", pods=3, gpus=gpus))
    return {**made, "spec": spec}


@pytest.mark.parametrize(
    ("nodes", "occupied", "pod_spec", "outcome"),
    [
        ([], {}, {}, NO_NODES),
        ([made_node("a"), made_node("b")], {"a": {"cpu": 100}}, {}, "b"),
        ([made_node("b"), made_node("a")], {}, {}, "a"),
        ([made_node("a"), made_node("b")], {}, {"nodeSelector": {"kubernetes.io/hostname": "b"}}, "b"),
        (
            [made_node("a")],
            {"a": {"nvidia.com/gpu": 1}},
            {},
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, "
            f"preemption: 0/1 nodes are available: 1 {NO_VICTIMS}.",
        ),
        (
            [made_node("a", gpus=0), made_node("b", unschedulable=True), made_node("c")],
            {"c": {"pods": 3}},
            {},
            "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 1 Too many pods, 1 node(s) were unschedulable. "
            "no new claims to deallocate, preemption: 0/3 nodes are available: "
            f"1 {NO_VICTIMS}, 2 {NOT_HELPFUL}.",
        ),
        (
            [made_node("a", taints=[{"key": "gpu", "effect": "NoSchedule"}])],
            {},
            {"nodeSelector": {"zone": "x"}},
            "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, "
            f"preemption: 0/1 nodes are available: 1 {NOT_HELPFUL}.",
        ),
        (
            [made_node("a", taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}])],
            {},
            {"tolerations": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]},
            "a",
        ),
        ([made_node("a", unschedulable=True)], {}, {"tolerations": [{"operator": "Exists"}]}, "a"),
        ([made_node("a", taints=[{"key": "gpu", "effect": "PreferNoSchedule"}])], {}, {}, "a"),
    ],
)
def test_where_a_pod_goes(nodes: list[Object], occupied: dict[str, Any], pod_spec: Object, outcome: str) -> None:
    wanted = {"spec": {"containers": [], **pod_spec}}
    found = place(wanted, {"nvidia.com/gpu": 1}, nodes, lambda name: occupied.get(name, {}))
    assert (found.node or found.problem) == outcome


def test_the_order_of_waiting_pods() -> None:
    queue = SchedulingQueue()
    first, second, third = ("ns", "first"), ("ns", "second"), ("ns", "third")
    queue.add(first, 0.0)
    queue.add(second, 1.0)
    assert queue.next() == first
    queue.park(first, 1.0)
    assert queue.next() == second
    queue.remove(second)
    assert queue.next() is None
    queue.wake(1.5)
    assert queue.next() == first  # still backing off, but nobody else is there
    queue.park(first, 1.5)
    queue.add(third, 2.0)
    assert queue.next() == third
    queue.park(third, 2.0)
    assert queue.wake(2.1)
    assert [queue.next(), queue.next()] == [third, first]  # until 3.0 and, after its second attempt, 3.5
    queue.park(third, 4.0)
    queue.park(first, 4.5)
    assert queue.wake(60.0)
    assert [queue.next(), queue.next()] == [third, first]
    assert not queue.wake(61.0)


def test_ages_are_finer_than_timestamps() -> None:
    clock, wall = 100.0, NOW
    ages = Ages(0.5, lambda: clock, lambda: wall)
    assert ages.age_s("fresh", ago(1)) == 0.0
    assert ages.age_s("old", ago(30)) == 60.0
    clock += 2
    assert ages.age_s("fresh", ago(1)) == 4.0
    assert ages.age_s("fresh", ago(0)) == 0.0
    assert ages.age_s("never", None) == 0.0


def test_nothing_is_done_while_changes_are_expected() -> None:
    time = 0.0
    expected = Expectations(lambda: time)
    owner, made, going = ("ns", "rs"), ("ns", "made"), ("ns", "going")
    expected.creation(owner, made)
    expected.deletion(owner, going)
    expected.seen(going, gone=False)
    expected.seen(made, gone=False)
    assert not expected.are_met(owner)
    expected.seen(going, gone=True)
    assert expected.are_met(owner)
    expected.creation(owner, made)
    time += EXPIRY_S
    assert expected.are_met(owner)
    expected.creation(owner, going)
    expected.seen(going, gone=False)
    assert expected.are_met(owner)  # the one that was never seen does not hold up the next
    expected.forget(owner)
    expected.seen(made, gone=False)
    assert expected.are_met(owner)
