"""Whether what was applied runs, and what keeps a pod from it."""

from typing import Any

import pytest

from simulator.install.progress import obstacles, unready
from simulator.kube.kinds import Object


def workload(kind: str, replicas: int, generation: int = 2, **status: Any) -> Object:
    return {
        "kind": kind,
        "metadata": {"name": "x", "generation": generation},
        "spec": {"replicas": replicas},
        "status": status,
    }


@pytest.mark.parametrize(
    ("obj", "missing"),
    [
        (workload("Deployment", 2), "not looked at yet"),
        (workload("Deployment", 2, observedGeneration=1, updatedReplicas=2, availableReplicas=2), "not looked at yet"),
        (workload("Deployment", 2, observedGeneration=2), "0 of 2 ready"),
        (workload("Deployment", 2, observedGeneration=2, updatedReplicas=2, availableReplicas=1), "1 of 2 ready"),
        (workload("Deployment", 2, observedGeneration=2, updatedReplicas=1, availableReplicas=2), "1 of 2 ready"),
        (workload("Deployment", 2, observedGeneration=2, updatedReplicas=2, availableReplicas=2), ""),
        (workload("Deployment", 0, observedGeneration=2), ""),
        (workload("StatefulSet", 1, observedGeneration=2, readyReplicas=1, updatedReplicas=0), "0 of 1 ready"),
        (workload("StatefulSet", 1, observedGeneration=2, readyReplicas=1, updatedReplicas=1), ""),
        (workload("StatefulSet", 1, observedGeneration=2, readyReplicas=1), ""),
        ({"kind": "CustomResourceDefinition", "metadata": {}}, "not established"),
        (
            {
                "kind": "CustomResourceDefinition",
                "metadata": {},
                "status": {"conditions": [{"type": "Established", "status": "True"}]},
            },
            "",
        ),
        ({"kind": "Secret", "metadata": {}}, ""),
    ],
)
def test_unready(obj: Object, missing: str) -> None:
    assert unready(obj) == missing


def pod(status: Object) -> Object:
    return {"metadata": {"name": "p"}, "status": status}


def container(state: Object, last: Object | None = None, image: str = "i:1") -> Object:
    return {"containerStatuses": [{"name": "api", "image": image, "state": state, "lastState": last or {}}]}


UNREACHABLE = "dial tcp [::1]:80: connect: connection refused"


@pytest.mark.parametrize(
    ("status", "text"),
    [
        ({}, None),
        (container({"running": {}}), None),
        (container({"waiting": {"reason": "ContainerCreating"}}), None),
        (container({"waiting": {"reason": "ErrImagePull"}}), "api: cannot pull i:1"),
        (
            container({"waiting": {"reason": "ErrImagePull", "message": f"failed to pull: {UNREACHABLE}"}}),
            f"api: cannot pull i:1 ({UNREACHABLE})",
        ),
        (
            container({"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off "i:1": {UNREACHABLE}'}}),
            f"api: cannot pull i:1 ({UNREACHABLE})",
        ),
        (
            container({"waiting": {"reason": "ErrImagePull", "message": "not found"}}, image="localhost/a:b"),
            "api: cannot pull localhost/a:b (not found); no registry has it: build it, and load it into the nodes",
        ),
        (container({"waiting": {"reason": "ErrImageNeverPull"}}), "api: ErrImageNeverPull: i:1"),
        (
            container(
                {"waiting": {"reason": "CrashLoopBackOff"}},
                {"terminated": {"exitCode": 2, "message": "unitsim: it\nfailed\n"}},
            ),
            "api ended with code 2: unitsim: it failed",
        ),
        (
            container({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1}}),
            "api ended with code 1",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/3 nodes"}]},
            "no node for it: 0/3 nodes",
        ),
    ],
)
def test_obstacles(status: Object, text: str | None) -> None:
    assert obstacles([pod(status)]) == ({} if text is None else {"p": text})
