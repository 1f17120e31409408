"""The status of a Deployment, as it follows from its pods."""

from collections.abc import Sequence
from datetime import datetime
from math import floor
from typing import Final

from simulator.kube.kinds import Object
from simulator.kubelet.pods import is_active, is_ready, is_terminating, template_hash, updated_pods, wanted_replicas
from simulator.kubelet.timestamps import format_time

DEFAULT_MAX_UNAVAILABLE: Final = "25%"


def deployment_status(deployment: Object, pods: Sequence[Object], now: datetime) -> Object:
    """Return the whole status. A condition that did not change keeps its times, so an unchanged status is equal."""
    wanted = wanted_replicas(deployment)
    active = [pod for pod in pods if is_active(pod)]
    updated, ready = len(updated_pods(deployment, pods)), sum(map(is_ready, active))
    counts = {
        "replicas": len(active),
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": ready,
        "unavailableReplicas": max(wanted, len(active)) - ready,
    }
    conditions: list[Object] = list((deployment.get("status") or {}).get("conditions") or ())
    for condition in (
        _available(ready >= wanted - _max_unavailable(deployment, wanted)),
        _progressing(deployment, conditions, updated, complete=updated == len(active) == wanted == ready),
    ):
        conditions = _set(conditions, condition, now)
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        **{name: number for name, number in counts.items() if number},
        "terminatingReplicas": sum(map(is_terminating, pods)),
        "conditions": conditions,
    }


def _available(available: bool) -> Object:
    if available:
        return _condition("Available", True, "MinimumReplicasAvailable", "Deployment has minimum availability.")
    return _condition(
        "Available", False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
    )


def _progressing(deployment: Object, conditions: Sequence[Object], updated: int, *, complete: bool) -> Object:
    replica_set = f'"{deployment["metadata"]["name"]}-{template_hash(deployment)}"'
    done = _condition(
        "Progressing", True, "NewReplicaSetAvailable", f"ReplicaSet {replica_set} has successfully progressed."
    )
    # Once a template was rolled out it stays so, whatever becomes of its pods.
    was_done = any(entry["type"] == "Progressing" and entry["message"] == done["message"] for entry in conditions)
    if complete or was_done:
        return done
    if updated:
        return _condition("Progressing", True, "ReplicaSetUpdated", f"ReplicaSet {replica_set} is progressing.")
    return _condition("Progressing", True, "NewReplicaSetCreated", f"Created new replica set {replica_set}")


def _condition(kind: str, status: bool, reason: str, message: str) -> Object:
    return {"type": kind, "status": str(status), "reason": reason, "message": message}


def _set(conditions: Sequence[Object], condition: Object, now: datetime) -> list[Object]:
    before = next((entry for entry in conditions if entry["type"] == condition["type"]), None)
    if before and all(before.get(key) == value for key, value in condition.items()):
        return list(conditions)
    time = format_time(now)
    same = before is not None and before["status"] == condition["status"]
    times = {"lastUpdateTime": time, "lastTransitionTime": before["lastTransitionTime"] if before and same else time}
    return [entry for entry in conditions if entry["type"] != condition["type"]] + [{**condition, **times}]


def _max_unavailable(deployment: Object, wanted: int) -> int:
    strategy = deployment["spec"].get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    allowed = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", DEFAULT_MAX_UNAVAILABLE)
    if isinstance(allowed, int):
        return allowed
    return floor(wanted * int(allowed.rstrip("%")) / 100)
