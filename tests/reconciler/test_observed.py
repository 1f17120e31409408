"""What pods and a Deployment are taken to say (contract 5.3, "Container failure")."""

from collections.abc import Callable
from typing import Any

import pytest

from simulator.kube.kinds import Object
from simulator.reconciler.observed import (
    available_replicas,
    current_pods,
    find_failure,
    find_sidecar_failure,
    scheduling_problem,
)

MakePod = Callable[..., Object]

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
def test_available_replicas(deployment: Object | None, replicas: int) -> None:
    """A status that was written for an earlier spec says nothing of the pods that this spec wants."""
    assert available_replicas(deployment) == replicas


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ([], ""),
        ([{"type": "PodScheduled", "status": "True"}], ""),
        ([{"type": "Ready", "status": "False", "message": "no"}], ""),
        ([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}], "Unschedulable"),
        ([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU"}], "no GPU"),
    ],
)
def test_scheduling_problem(make_pod: MakePod, conditions: list[Object], text: str) -> None:
    assert scheduling_problem([make_pod(phase="Pending", conditions=conditions)]) == text
