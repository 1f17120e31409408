"""How many pods each ReplicaSet of a Deployment is to have next: the steps of an update, and of a change of scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from simulator.controllers.counts import (
    active,
    counted,
    is_rolling,
    max_surge,
    max_unavailable,
    replicas,
    total,
    total_counted,
)
from simulator.controllers.ownership import age_order
from simulator.controllers.revisions import desired_replicas, most_replicas
from simulator.kube.kinds import Object


@dataclass(frozen=True, slots=True)
class Resize:
    """A ReplicaSet, by name, and how many pods it is to have."""

    name: str
    replicas: int


def is_scaling(deployment: Object, replica_sets: Sequence[Object]) -> bool:
    """Whether the wanted number changed since the ReplicaSets were sized."""
    wanted = replicas(deployment)
    return any(desired_replicas(entry) not in (None, wanted) for entry in active(replica_sets))


def first_size(deployment: Object, old: Sequence[Object]) -> int:
    """How many pods a new ReplicaSet starts with."""
    return _new_size(deployment, old, 0)


def rolling_step(deployment: Object, new: Object, old: Sequence[Object]) -> list[Resize]:
    """The next step of a rolling update: the new ReplicaSet grows as far as it may; if it cannot, old ones shrink."""
    wanted, size = replicas(deployment), replicas(new)
    target = min(size, wanted) if size >= wanted else _new_size(deployment, [*old, new], size)
    if target != size:
        return [Resize(new["metadata"]["name"], target)]
    return _shrink(deployment, new, sorted(active(old), key=age_order))


def recreate_step(old: Sequence[Object]) -> list[Resize]:
    """The first step of a replacement: every old ReplicaSet gives up all its pods."""
    return [Resize(entry["metadata"]["name"], 0) for entry in active(old)]


def scale(deployment: Object, new: Object | None, old: Sequence[Object]) -> list[Resize]:
    """What a change of the wanted number, or of anything while paused, means for each ReplicaSet.

    The only one that has pods follows the Deployment. In the middle of a rolling update each takes its share, so that
    the change does not hasten the update. A share is listed even where the size stays: the noted numbers change.
    """
    replica_sets = [*old, new] if new else list(old)
    if not replica_sets:
        return []
    busy = active(replica_sets)
    if len(busy) <= 1:
        follower = busy[0] if busy else new or max(old, key=age_order)
        change = replicas(follower) != replicas(deployment)
        return [Resize(follower["metadata"]["name"], replicas(deployment))] if change else []
    if new and _is_saturated(deployment, new):
        return recreate_step(old)
    return _proportional(deployment, busy) if is_rolling(deployment) else []


def _new_size(deployment: Object, replica_sets: Sequence[Object], size: int) -> int:
    wanted = replicas(deployment)
    if not is_rolling(deployment):
        return wanted
    room = wanted + max_surge(deployment) - total(replica_sets)
    return size + min(room, wanted - size) if room > 0 else size


def _shrink(deployment: Object, new: Object, old: Sequence[Object]) -> list[Resize]:
    """Old pods that are not available go first; then available ones, while enough of all remain."""
    least = replicas(deployment) - max_unavailable(deployment)
    missing = replicas(new) - counted(new, "availableReplicas")
    room = total([*old, new]) - least - missing
    if not old or room <= 0:
        return []
    sizes = {entry["metadata"]["name"]: replicas(entry) for entry in old}
    steps: list[Resize] = []
    for entry in old:
        name = entry["metadata"]["name"]
        unavailable = min(room, sizes[name] - counted(entry, "availableReplicas"))
        if unavailable < 0:
            return steps  # its status tells of an earlier size: too soon to say what remains
        if unavailable > 0:
            room -= unavailable
            sizes[name] -= unavailable
            steps.append(Resize(name, sizes[name]))
    spare = total_counted([*old, new], "availableReplicas") - least
    for name, size in sizes.items():
        given_up = min(size, spare)
        if given_up > 0:
            spare -= given_up
            steps.append(Resize(name, size - given_up))
    return steps


def _is_saturated(deployment: Object, new: Object) -> bool:
    wanted = replicas(deployment)
    return replicas(new) == desired_replicas(new) == counted(new, "availableReplicas") == wanted


def _proportional(deployment: Object, busy: Sequence[Object]) -> list[Resize]:
    wanted = replicas(deployment)
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - total(busy)
    # Of equal ones the newest grows first, and the oldest shrinks first.
    ordered = sorted(busy, key=age_order, reverse=to_add > 0)
    ordered.sort(key=replicas, reverse=True)
    sizes, added = {}, 0
    for entry in ordered:
        share = _share(deployment, entry, to_add, added)
        sizes[entry["metadata"]["name"]] = replicas(entry) + share
        added += share
    largest = ordered[0]["metadata"]["name"]
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return [Resize(name, size) for name, size in sizes.items()]


def _share(deployment: Object, replica_set: Object, to_add: int, added: int) -> int:
    left = to_add - added
    if not to_add or not left:
        return 0
    share = _fraction(deployment, replica_set)
    return min(share, left) if to_add > 0 else max(share, left)


def _fraction(deployment: Object, replica_set: Object) -> int:
    """By how much the ReplicaSet would grow if it kept its part of the whole; negative if it would shrink."""
    size, wanted = replicas(replica_set), replicas(deployment)
    if not wanted:
        return -size
    before = most_replicas(replica_set) or counted(deployment, "replicas")
    if not before:
        return 0
    exact = size * (wanted + max_surge(deployment)) / before
    return floor(exact + 0.5) - size
