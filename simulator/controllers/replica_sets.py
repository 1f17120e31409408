"""What a ReplicaSet does about its pods, and what its status says: pure functions."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from simulator.controllers.counts import replicas
from simulator.controllers.ownership import controller_reference
from simulator.controllers.pod_ranking import expendable
from simulator.controllers.pod_state import is_active, is_ended, is_ready, is_terminating
from simulator.kube.kinds import REPLICA_SET, Object
from simulator.kube.timestamps import format_time

BURST: Final = 500
"""Pods that are created or deleted in one go."""


@dataclass(frozen=True, slots=True)
class PodPlan:
    """How many pods to create, and which ones to delete."""

    create: int = 0
    delete: tuple[Object, ...] = ()


def plan_pods(replica_set: Object, pods: Sequence[Object], related: Sequence[Object], now: datetime) -> PodPlan:
    """Return what brings the ReplicaSet's own `pods` to the wanted number.

    `related` are the pods of all ReplicaSets of its Deployment; they weigh in when one of several has to go.
    """
    own = [pod for pod in pods if is_active(pod)]
    surplus = len(own) - replicas(replica_set)
    if surplus <= 0:
        return PodPlan(create=min(-surplus, BURST))
    first_to_go = own if surplus == len(own) else expendable(own, related, now)
    return PodPlan(delete=tuple(first_to_go[: min(surplus, BURST)]))


def new_pod(replica_set: Object) -> Object:
    """A pod of the ReplicaSet's template; the API gives it its name."""
    metadata, template = replica_set["metadata"], copy.deepcopy(replica_set["spec"]["template"])
    own = template.get("metadata") or {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            **{part: own[part] for part in ("labels", "annotations", "finalizers") if own.get(part)},
            "ownerReferences": [controller_reference(REPLICA_SET, replica_set)],
        },
        "spec": template["spec"],
    }


def replica_set_status(
    replica_set: Object,
    pods: Sequence[Object],
    is_available: Callable[[Object], bool],
    failure: str,
    now: datetime,
) -> Object:
    """Return the whole status that follows from the ReplicaSet's own `pods`.

    `is_available` says of a ready pod whether it has been so for long enough; `failure` is why pods could not be
    created or deleted, "" if they could.
    """
    own = [pod for pod in pods if is_active(pod)]
    wanted_labels = ((replica_set["spec"]["template"].get("metadata") or {}).get("labels") or {}).items()
    ready = [pod for pod in own if is_ready(pod)]
    counts = {
        "fullyLabeledReplicas": sum(wanted_labels <= (pod["metadata"].get("labels") or {}).items() for pod in own),
        "readyReplicas": len(ready),
        "availableReplicas": sum(map(is_available, ready)),
    }
    conditions = _conditions(replica_set, failure, len(own), now)
    return {
        "replicas": len(own),
        **{name: count for name, count in counts.items() if count},
        "terminatingReplicas": sum(is_terminating(pod) and not is_ended(pod) for pod in pods),
        "observedGeneration": replica_set["metadata"].get("generation", 1),
        **({"conditions": conditions} if conditions else {}),
    }


def _conditions(replica_set: Object, failure: str, present: int, now: datetime) -> list[Object]:
    before: list[Object] = list((replica_set.get("status") or {}).get("conditions") or ())
    failed_before = any(entry["type"] == "ReplicaFailure" for entry in before)
    if not failure:
        return [entry for entry in before if entry["type"] != "ReplicaFailure"]
    if failed_before:
        return before
    reason = "FailedCreate" if present < replicas(replica_set) else "FailedDelete"
    return [
        *before,
        {
            "type": "ReplicaFailure",
            "status": "True",
            "lastTransitionTime": format_time(now),
            "reason": reason,
            "message": failure,
        },
    ]
