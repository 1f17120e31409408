"""What pods and a Deployment are taken to say (contract 5.3, "Container failure")."""

from collections.abc import Callable
from typing import Any

import pytest

from simulator.kube.kinds import Object
from simulator.reconciler.observed import (
    available_replicas,
    current_pods,
    find_failure,
    find_obstacle,
    find_sidecar_failure,
    only_sidecar_unready,
)

MakePod = Callable[..., Object]

READY = {"type": "Ready", "status": "True"}
RUNNING = {"running": {"startedAt": "2026-03-04T05:00:00Z"}}


def container(state: Object, *, name: str = "runtime-worker", last: Object | None = None) -> Object:
    return {"name": name, "state": state, "lastState": {"terminated": last} if last else {}}


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (container({}), None),
        (container(RUNNING), None),
        (container(RUNNING, last={"exitCode": 1, "reason": "Error"}), None),
        (container({"waiting": {}}), None),
        (container({"waiting": {"reason": ""}}), None),
        (container({"waiting": {"reason": "ContainerCreating"}}), None),
        (container({"waiting": {"reason": "PodInitializing"}}), None),
        (container({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}), "ErrImagePull: no such image"),
        (container({"waiting": {"reason": "CreateContainerConfigError"}}), "CreateContainerConfigError"),
        (
            container({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
            "CrashLoopBackOff: back-off 10s",
        ),
        (
            container(
                {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                last={"exitCode": 3, "message": "no GPU found\n"},
            ),
            "CrashLoopBackOff: no GPU found",
        ),
        (
            container(
                {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                last={"exitCode": 3, "reason": "Error"},
            ),
            "CrashLoopBackOff: back-off 10s",
        ),
        (container({"terminated": {"exitCode": 0, "reason": "Completed"}}), None),
        (container({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}), "OOMKilled (exit code 137)"),
        (container({"terminated": {"exitCode": 1, "message": "boom"}}), "Error: boom (exit code 1)"),
        (container({"terminated": {"exitCode": 0, "signal": 9, "reason": "Killed"}}), "Killed (signal 9)"),
    ],
)
def test_container_failures(make_pod: MakePod, entry: Object, cause: str | None) -> None:
    failure = find_failure([make_pod(main=[entry])])
    assert (failure.cause if failure else None) == cause
    if failure:
        assert str(failure) == f"container runtime-worker of pod u1-7c9f-abcde: {cause}"


def test_init_containers_come_first(make_pod: MakePod) -> None:
    failed = {"terminated": {"exitCode": 1}}
    pod = make_pod(main=[container(failed)], init=[container(failed, name="serverless-sidecar")])
    failure = find_failure([pod])
    assert failure is not None
    assert failure.container == "serverless-sidecar"


def test_a_container_says_more_than_its_pod(make_pod: MakePod) -> None:
    pod = make_pod(phase="Failed", reason="Evicted", main=[container({"terminated": {"exitCode": 137}})])
    failure = find_failure([pod])
    assert failure is not None
    assert failure.container == "runtime-worker"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, "pod u1-7c9f-abcde: Failed"),
        ({"reason": "Evicted", "message": "low on memory"}, "pod u1-7c9f-abcde: Evicted: low on memory"),
    ],
)
def test_a_failed_pod(make_pod: MakePod, status: dict[str, Any], text: str) -> None:
    assert str(find_failure([make_pod(phase="Failed", **status)])) == text


def test_sidecar_failure_is_that_of_the_sidecar_only(make_pod: MakePod) -> None:
    failed = {"waiting": {"reason": "CrashLoopBackOff"}}
    assert find_sidecar_failure([make_pod(main=[container(failed)])]) is None
    sidecar = make_pod(main=[container(failed)], init=[container(failed, name="serverless-sidecar")])
    failure = find_sidecar_failure([sidecar])
    assert failure is not None
    assert failure.container == "serverless-sidecar"


def test_pods_on_their_way_out_do_not_count(make_pod: MakePod) -> None:
    """A container that a delete killed did not fail."""
    going = make_pod(deleted=True, main=[container({"terminated": {"exitCode": 143}})])
    assert current_pods([going]) == []


def test_an_ended_pod_counts_only_while_it_is_the_last_one(make_pod: MakePod) -> None:
    ended = make_pod(name="a", phase="Failed", reason="Evicted")
    pending = make_pod(name="b", phase="Pending")
    assert current_pods([ended]) == [ended]
    assert current_pods([ended, pending]) == [pending]


def test_pods_are_looked_at_by_name(make_pod: MakePod) -> None:
    pods = [make_pod(name="b"), make_pod(name="a")]
    assert [pod["metadata"]["name"] for pod in current_pods(pods)] == ["a", "b"]


@pytest.mark.parametrize(
    ("deployment", "replicas"),
    [
        (None, 0),
        ({"metadata": {}}, 0),
        ({"metadata": {"generation": 1}, "status": {}}, 0),
        ({"metadata": {"generation": 2}, "status": {"availableReplicas": 1}}, 1),
        ({"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "availableReplicas": 1}}, 1),
        ({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "availableReplicas": 1}}, 0),
    ],
)
def test_available_replicas(make_pod: MakePod, deployment: Object | None, replicas: int) -> None:
    """A status that was written for an earlier spec says nothing of the pods that this spec wants."""
    assert available_replicas(deployment, [make_pod(conditions=[READY])]) == replicas


@pytest.mark.parametrize(
    ("pods", "replicas"),
    [
        ([], 0),
        ([{}], 0),
        ([{"conditions": [{"type": "Ready", "status": "False"}]}], 0),
        ([{"conditions": [{"type": "Ready", "status": "Unknown"}]}], 0),
        ([{"conditions": [{"type": "ContainersReady", "status": "True"}]}], 0),
        ([{"conditions": [READY]}], 1),
        ([{"name": "a", "conditions": [READY]}, {"name": "b", "conditions": [READY]}], 1),
    ],
)
def test_available_is_what_the_pods_confirm(make_pod: MakePod, pods: list[dict[str, Any]], replicas: int) -> None:
    """C1: a Deployment's count may be older than what its pods say; both must agree."""
    deployment = {"metadata": {"generation": 1}, "status": {"availableReplicas": 1}}
    assert available_replicas(deployment, [make_pod(**pod) for pod in pods]) == replicas


PLACED = {"type": "PodScheduled", "status": "True"}
UNPLACED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ([], None),
        ([PLACED], None),
        ([{"type": "Ready", "status": "False", "message": "no"}], None),
        ([UNPLACED], "pod u1-7c9f-abcde: Unschedulable: no GPU"),
        ([{**UNPLACED, "message": ""}], "pod u1-7c9f-abcde: Unschedulable"),
        ([{"type": "PodScheduled", "status": "False"}], "pod u1-7c9f-abcde"),
    ],
)
def test_a_pod_that_is_not_placed(make_pod: MakePod, conditions: list[Object], text: str | None) -> None:
    obstacle = find_obstacle(None, [make_pod(phase="Pending", conditions=conditions)])
    assert (str(obstacle) if obstacle else None) == text


@pytest.mark.parametrize("status", ["True", "False"])
def test_pods_that_are_refused(make_pod: MakePod, status: str) -> None:
    """What the Deployment says of it counts while there is no pod."""
    refused = {"type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": "exceeded quota"}
    deployment = {"status": {"conditions": [refused]}}
    obstacle = find_obstacle(deployment, [])
    assert (str(obstacle) if obstacle else None) == ("FailedCreate: exceeded quota" if status == "True" else None)
    assert find_obstacle(deployment, [make_pod()]) is None


def status_of(name: str, state: Object, *, ready: bool) -> Object:
    return {"name": name, "state": state, "ready": ready}


@pytest.mark.parametrize(
    ("sidecar", "runtime", "alone"),
    [
        ((RUNNING, False), (RUNNING, True), True),
        ((RUNNING, True), (RUNNING, True), False),
        ((RUNNING, True), (RUNNING, False), False),
        ((RUNNING, False), (RUNNING, False), False),
        ((RUNNING, False), ({"waiting": {"reason": "PodInitializing"}}, False), False),
        ((RUNNING, False), ({}, False), False),
    ],
)
def test_only_the_sidecar_is_waited_for(
    make_pod: MakePod, sidecar: tuple[Object, bool], runtime: tuple[Object, bool], alone: bool
) -> None:
    pod = make_pod(
        init=[status_of("serverless-sidecar", sidecar[0], ready=sidecar[1])],
        main=[status_of("runtime-worker", runtime[0], ready=runtime[1])],
    )
    assert only_sidecar_unready([pod]) is alone
    assert not only_sidecar_unready([])
    assert not only_sidecar_unready([make_pod()])
