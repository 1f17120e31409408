"""The status of a Deployment, as it follows from its ReplicaSets: counts, and how its update progresses."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from simulator.controllers.conditions import (
    condition_of,
    find_condition,
    new_condition,
    with_condition,
    without_condition,
)
from simulator.controllers.counts import counted, max_unavailable, replicas, total, total_counted
from simulator.controllers.revisions import UNLIMITED
from simulator.kube.kinds import Object

AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
REPLICA_FAILURE: Final = "ReplicaFailure"
DEFAULT_DEADLINE_S: Final = 600

NEW_AVAILABLE: Final = "NewReplicaSetAvailable"
UPDATED: Final = "ReplicaSetUpdated"
TIMED_OUT: Final = "ProgressDeadlineExceeded"
PAUSED: Final = "DeploymentPaused"
RESUMED: Final = "DeploymentResumed"

_SUMMED: Final = ("replicas", "readyReplicas", "availableReplicas")


def deadline_s(deployment: Object) -> int | None:
    """Within how many seconds an update has to progress; None: there is no deadline."""
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    deadline = DEFAULT_DEADLINE_S if deadline is None else deadline
    return None if deadline == UNLIMITED else int(deadline)


def current_status(deployment: Object, new: Object | None, old: Sequence[Object], now: datetime) -> Object:
    """Return the status with everything but the progress of an update, which stays as it was."""
    replica_sets = [*old, new] if new else list(old)
    sums = {name: total_counted(replica_sets, name) for name in _SUMMED}
    counts = {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        **sums,
        "updatedReplicas": counted(new, "replicas") if new else 0,
        "unavailableReplicas": max(0, total(replica_sets) - sums["availableReplicas"]),
        "collisionCount": counted(deployment, "collisionCount"),
    }
    enough = sums["availableReplicas"] >= replicas(deployment) - max_unavailable(deployment)
    before: list[Object] = list((deployment.get("status") or {}).get("conditions") or ())
    return {
        **{name: count for name, count in counts.items() if count},
        "terminatingReplicas": total_counted(replica_sets, "terminatingReplicas"),
        "conditions": with_condition(before, _availability(enough, now)),
    }


def rollout_status(
    deployment: Object, new: Object | None, old: Sequence[Object], progress_age_s: float, now: datetime
) -> Object:
    """Return the whole status during and after an update.

    `progress_age_s` is how long ago the condition Progressing was last written, in the cluster's seconds.
    """
    status = current_status(deployment, new, old, now)
    progress = condition_of(deployment, PROGRESSING)
    if deadline_s(deployment) is None:
        status["conditions"] = without_condition(status["conditions"], PROGRESSING)
    elif not _was_complete(status, progress):
        status["conditions"] = _progress(deployment, status, new, progress, progress_age_s, now)
    failure = _failure(new, old)
    if failure:
        status["conditions"] = with_condition(status["conditions"], failure)
    else:
        status["conditions"] = without_condition(status["conditions"], REPLICA_FAILURE)
    return status


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether all pods are new and available, and no other is left."""
    wanted = replicas(deployment)
    present = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    observed = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    return observed and present == [wanted] * 3


def check_after_s(deployment: Object, status: Object, progress_age_s: float) -> float | None:
    """In how many of the cluster's seconds the update will be late; None if it cannot be any more, or is."""
    deadline, progress = deadline_s(deployment), condition_of(deployment, PROGRESSING)
    if deadline is None or progress is None or progress["reason"] == TIMED_OUT or is_complete(deployment, status):
        return None
    return max(0.0, deadline - progress_age_s)


def pause_condition(deployment: Object, now: datetime) -> Object | None:
    """The condition that tells of a pause, or of its end; None if it is told already or there is nothing to tell."""
    progress = condition_of(deployment, PROGRESSING)
    if deadline_s(deployment) is None or (progress and progress["reason"] == TIMED_OUT):
        return None
    told, paused = progress is not None and progress["reason"] == PAUSED, is_paused(deployment)
    if paused and not told:
        return new_condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now)
    if told and not paused:
        return new_condition(PROGRESSING, "Unknown", RESUMED, "Deployment is resumed", now)
    return None


def is_paused(deployment: Object) -> bool:
    """Whether changes of the template are to have no effect for now."""
    return bool(deployment["spec"].get("paused"))


def _availability(enough: bool, now: datetime) -> Object:
    if enough:
        return new_condition(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    return new_condition(
        AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now
    )


def _was_complete(status: Object, progress: Object | None) -> bool:
    """Whether the update was complete before and still is: what becomes of its pods then is no progress."""
    all_updated = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    return all_updated and progress is not None and progress["reason"] == NEW_AVAILABLE


def _progress(
    deployment: Object, status: Object, new: Object | None, progress: Object | None, age_s: float, now: datetime
) -> list[Object]:
    conditions: list[Object] = status["conditions"]
    subject = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    if is_complete(deployment, status):
        done = new_condition(PROGRESSING, "True", NEW_AVAILABLE, f"{subject} has successfully progressed.", now)
        return with_condition(conditions, done)
    if is_progressing(deployment.get("status") or {}, status):
        going_on = new_condition(PROGRESSING, "True", UPDATED, f"{subject} is progressing.", now)
        if progress and progress["status"] == "True":
            going_on["lastTransitionTime"] = progress["lastTransitionTime"]
        return [*without_condition(conditions, PROGRESSING), going_on]
    if _is_late(deployment, conditions, age_s):
        late = new_condition(PROGRESSING, "False", TIMED_OUT, f"{subject} has timed out progressing.", now)
        return with_condition(conditions, late)
    return conditions


def is_progressing(before: Object, after: Object) -> bool:
    """Whether the second status is nearer to the end of the update: new pods came or got ready, or old ones went."""

    def old_pods(status: Object) -> int:
        return int(status.get("replicas", 0) - status.get("updatedReplicas", 0))

    grown = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return old_pods(after) < old_pods(before) or any(after.get(name, 0) > before.get(name, 0) for name in grown)


def _is_late(deployment: Object, conditions: Sequence[Object], age_s: float) -> bool:
    deadline, progress = deadline_s(deployment), find_condition(conditions, PROGRESSING)
    if deadline is None or progress is None or progress["reason"] == NEW_AVAILABLE:
        return False
    return progress["reason"] == TIMED_OUT or age_s >= deadline


def _failure(new: Object | None, old: Sequence[Object]) -> Object | None:
    for replica_set in ([new] if new else []) + list(old):
        condition = condition_of(replica_set, REPLICA_FAILURE)
        if condition:
            return {**condition, "lastUpdateTime": condition["lastTransitionTime"]}
    return None
