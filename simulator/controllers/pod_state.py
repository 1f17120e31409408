"""What a pod's object says about its state: pure functions."""

from datetime import datetime

from simulator.kube.conditions import true_condition_of
from simulator.kube.kinds import Object


def phase(pod: Object) -> str:
    """The pod's phase, "" before there is one."""
    return str((pod.get("status") or {}).get("phase") or "")


def is_terminating(obj: Object) -> bool:
    """Whether the object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def is_ended(pod: Object) -> bool:
    """Whether the pod ran to its end, well or not."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether the pod counts as a replica: it neither ended nor is being deleted."""
    return not is_ended(pod) and not is_terminating(pod)


def ready_condition(pod: Object) -> Object | None:
    """The pod's `Ready` condition, if it is True."""
    return true_condition_of(pod, "Ready")


def is_ready(pod: Object) -> bool:
    """Whether the pod's `Ready` condition is True."""
    return ready_condition(pod) is not None


def restarts(pod: Object) -> tuple[int, int]:
    """The most restarts of one of the pod's containers, and of one of its restartable init containers."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    sidecars = {entry["name"] for entry in spec.get("initContainers") or () if entry.get("restartPolicy") == "Always"}
    mains = [entry.get("restartCount", 0) for entry in status.get("containerStatuses") or ()]
    inits = [
        entry.get("restartCount", 0) for entry in status.get("initContainerStatuses") or () if entry["name"] in sidecars
    ]
    return max(mains, default=0), max(inits, default=0)


def seconds_since(stamp: str | None, now: datetime) -> float:
    """How long ago a timestamp of the API was; 0 for none."""
    return max(0.0, (now - datetime.fromisoformat(stamp)).total_seconds()) if stamp else 0.0
