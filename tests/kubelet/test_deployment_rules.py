"""Which pods a Deployment wants, and the status that follows from them."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kube.kinds import Object
from simulator.kubelet.deployment_status import deployment_status
from simulator.kubelet.pods import Plan, is_active, is_ready, new_pod, owned_by, plan_pods, template_hash

T0 = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
T1 = T0 + timedelta(seconds=1)
_numbers = itertools.count()


def deployment(replicas: int | None = 1, strategy: str = "RollingUpdate", **extra: Any) -> Object:
    spec: Object = {"strategy": {"type": strategy}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}}}
    if replicas is not None:
        spec["replicas"] = replicas
    return {"metadata": {"name": "u1", "namespace": "ns", "uid": "d1", "generation": 3}, "spec": spec, **extra}


def pod(
    name: str = "", *, old: bool = False, ready: bool = False, going: bool = False, phase: str = "Running"
) -> Object:
    made = new_pod(deployment())
    made["metadata"] |= {"name": name or f"pod-{next(_numbers):09}", "creationTimestamp": "2026-11-22T10:00:00Z"}
    if old:
        made["metadata"]["labels"]["pod-template-hash"] = "outdated"
    if going:
        made["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:00Z"
    made["status"] = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return made


def test_new_pod() -> None:
    wanted = deployment()
    made, other = new_pod(wanted), new_pod(wanted)
    digest = template_hash(wanted)
    stem, _, suffix = made["metadata"]["name"].rpartition("-")
    assert stem == f"u1-{digest}"
    assert len(suffix) == 5
    assert made["metadata"]["name"] != other["metadata"]["name"]
    assert made["metadata"]["labels"] == {"a": "b", "pod-template-hash": digest}
    assert made["spec"] == {"x": 1, "nodeName": "local-node"}
    assert wanted["spec"]["template"]["spec"] == {"x": 1}
    assert owned_by(wanted, [made, {"metadata": {"name": "stranger"}}]) == [made]


def test_template_hash_follows_the_template_only() -> None:
    wanted = deployment()
    assert template_hash(deployment(replicas=5)) == template_hash(wanted)
    wanted["spec"]["template"]["metadata"]["annotations"] = {"rev": "2"}
    assert template_hash(wanted) != template_hash(deployment())


@pytest.mark.parametrize(
    ("strategy", "replicas", "pods", "plan"),
    [
        ("Recreate", 1, [], Plan(create=1)),
        ("Recreate", None, [], Plan(create=1)),
        ("Recreate", 0, [], Plan()),
        ("Recreate", 1, [pod("a", old=True, ready=True)], Plan(delete=("a",))),
        ("Recreate", 1, [pod("a", old=True, going=True)], Plan()),
        ("Recreate", 1, [pod("a", old=True, phase="Failed")], Plan(delete=("a",))),
        ("Recreate", 1, [pod("a", going=True)], Plan(create=1)),
        ("Recreate", 2, [pod("a"), pod("b", old=True)], Plan(delete=("b",))),
        ("RollingUpdate", 1, [pod("a", old=True, ready=True)], Plan(create=1)),
        ("RollingUpdate", 1, [pod("a", old=True, ready=True), pod("b")], Plan()),
        ("RollingUpdate", 1, [pod("a", old=True), pod("b")], Plan()),
        ("RollingUpdate", 1, [pod("a", old=True, ready=True), pod("b", ready=True)], Plan(delete=("a",))),
        ("RollingUpdate", 3, [pod(old=True, ready=True) for _ in range(3)], Plan(create=1)),
        ("RollingUpdate", 1, [pod("a", ready=True), pod("b", going=True)], Plan()),
        ("RollingUpdate", 1, [pod("a", phase="Failed")], Plan(create=1)),
        ("RollingUpdate", 1, [pod("a", ready=True), pod("b")], Plan(delete=("b",))),
        ("RollingUpdate", 1, [pod("a"), pod("b")], Plan(delete=("b",))),
        ("RollingUpdate", 1, [pod("a"), pod("b"), pod("c", old=True, ready=True)], Plan(delete=("b",))),
        ("RollingUpdate", 0, [pod("a", ready=True), pod("b", old=True)], Plan(delete=("a", "b"))),
    ],
)
def test_plan(strategy: str, replicas: int | None, pods: list[Object], plan: Plan) -> None:
    assert plan_pods(deployment(replicas, strategy), pods) == plan


@given(
    replicas=st.integers(0, 4),
    pods=st.lists(st.builds(pod, old=st.booleans(), ready=st.booleans(), going=st.booleans()), max_size=6),
    strategy=st.sampled_from(["Recreate", "RollingUpdate"]),
)
def test_plans_lead_to_the_wanted_pods(replicas: int, pods: list[Object], strategy: str) -> None:
    """Whatever there is at first, and never with too many pods, or too few ready ones in a rolling update."""
    wanted, digest = deployment(replicas, strategy), template_hash(deployment())
    for _ in range(20):
        plan = plan_pods(wanted, pods)
        ready_before = sum(is_ready(entry) for entry in pods if is_active(entry))
        kept = [entry for entry in pods if entry["metadata"]["name"] not in plan.delete]
        if strategy == "RollingUpdate":
            ready_after = sum(is_ready(entry) for entry in kept if is_active(entry))
            assert ready_after >= min(ready_before, replicas)
        elif plan.create:
            assert all(entry["metadata"]["labels"]["pod-template-hash"] == digest for entry in kept)
        # What was going is gone, what was there became ready, what is new is not yet.
        pods = [pod(entry["metadata"]["name"], ready=True, old=_is_old(entry)) for entry in kept if is_active(entry)]
        pods += [pod() for _ in range(plan.create)]
        assert len(pods) <= max(replicas + 1, len(kept))
    assert [_is_old(entry) for entry in pods] == [False] * replicas


def _is_old(entry: Object) -> bool:
    return bool(entry["metadata"]["labels"]["pod-template-hash"] == "outdated")


def reasons(status: Object) -> list[tuple[str, str, str]]:
    return sorted((entry["type"], entry["status"], entry["reason"]) for entry in status["conditions"])


AVAILABLE = ("Available", "True", "MinimumReplicasAvailable")
UNAVAILABLE = ("Available", "False", "MinimumReplicasUnavailable")


@pytest.mark.parametrize(
    ("strategy", "replicas", "pods", "counts", "conditions"),
    [
        ("RollingUpdate", 1, [], {"unavailableReplicas": 1},
         [UNAVAILABLE, ("Progressing", "True", "NewReplicaSetCreated")]),
        ("RollingUpdate", 1, [pod()], {"replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1},
         [UNAVAILABLE, ("Progressing", "True", "ReplicaSetUpdated")]),
        ("RollingUpdate", 1, [pod(ready=True)],
         {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1},
         [AVAILABLE, ("Progressing", "True", "NewReplicaSetAvailable")]),
        ("RollingUpdate", 1, [pod(old=True, ready=True), pod()],
         {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 1},
         [AVAILABLE, ("Progressing", "True", "ReplicaSetUpdated")]),
        ("Recreate", 1, [pod(old=True, going=True)], {"unavailableReplicas": 1, "terminatingReplicas": 1},
         [UNAVAILABLE, ("Progressing", "True", "NewReplicaSetCreated")]),
        ("RollingUpdate", 4, [pod(ready=True) for _ in range(3)],
         {"replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3, "unavailableReplicas": 1},
         [AVAILABLE, ("Progressing", "True", "ReplicaSetUpdated")]),
        ("Recreate", 0, [], {}, [AVAILABLE, ("Progressing", "True", "NewReplicaSetAvailable")]),
    ],
)  # fmt: skip
def test_status(
    strategy: str, replicas: int, pods: list[Object], counts: Object, conditions: list[tuple[str, str, str]]
) -> None:
    status = deployment_status(deployment(replicas, strategy), pods, T0)
    assert reasons(status) == conditions
    del status["conditions"]
    assert status == {"observedGeneration": 3, "terminatingReplicas": 0, **counts}


def test_conditions_keep_their_times_and_a_rollout_stays_done() -> None:
    up = deployment_status(deployment(), [pod(ready=True)], T0)
    assert deployment_status(deployment(status=up), [pod(ready=True)], T1) == up
    down = deployment_status(deployment(status=up), [pod()], T1)
    assert reasons(down) == [UNAVAILABLE, ("Progressing", "True", "NewReplicaSetAvailable")]
    times = {entry["type"]: (entry["lastUpdateTime"], entry["lastTransitionTime"]) for entry in down["conditions"]}
    assert times == {"Progressing": ("2026-11-22T10:00:00Z",) * 2, "Available": ("2026-11-22T10:00:01Z",) * 2}
