"""Which pods a ReplicaSet gives up first when it has too many: the order of the real controller."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cmp_to_key
from typing import Final

from simulator.controllers.pod_state import is_active, is_ready, phase, ready_condition, restarts, seconds_since
from simulator.kube.kinds import Object

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}
_NANOSECONDS: Final = 1e9


def expendable(pods: Sequence[Object], related: Iterable[Object], now: datetime) -> list[Object]:
    """Return the pods, the first to go first.

    Without a node before with one, pending before running, not ready before ready, cheap before dear, on a node with
    more of the `related` pods before on one with fewer, ready for a shorter time, restarted more often, younger. Ages
    count by their magnitude only, so that not always the youngest goes.
    """
    together = Counter(_node(pod) for pod in related if is_active(pod))
    standing = {
        pod["metadata"]["uid"]: (
            bool(_node(pod)),
            _PHASES.get(phase(pod), 0),
            is_ready(pod),
            _deletion_cost(pod),
            -together[_node(pod)],
        )
        for pod in pods
    }

    def compare(one: Object, other: Object) -> int:
        first, second = standing[one["metadata"]["uid"]], standing[other["metadata"]["uid"]]
        if first != second:
            return -1 if first < second else 1
        return (
            _compare_ages(one, other, _ready_since(one), _ready_since(other), now)
            or _compare(restarts(other), restarts(one))
            or _compare_ages(one, other, _created(one), _created(other), now)
        )

    return sorted(pods, key=cmp_to_key(compare))


def _compare_ages(one: Object, other: Object, since: str, other_since: str, now: datetime) -> int:
    if since == other_since:
        return 0
    if not since or not other_since:
        return 1 if since else -1
    difference = _magnitude(since, now) - _magnitude(other_since, now)
    return difference or _compare((one["metadata"]["uid"],), (other["metadata"]["uid"],))


def _magnitude(since: str, now: datetime) -> int:
    age = seconds_since(since, now) * _NANOSECONDS
    return int(math.log2(age)) if age > 0 else -1


def _compare(one: tuple[object, ...], other: tuple[object, ...]) -> int:
    return 0 if one == other else (-1 if one < other else 1)


def _node(pod: Object) -> str:
    return str((pod.get("spec") or {}).get("nodeName") or "")


def _created(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp") or "")


def _ready_since(pod: Object) -> str:
    condition = ready_condition(pod)
    return str(condition.get("lastTransitionTime") or "") if condition else ""


def _deletion_cost(pod: Object) -> int:
    cost = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    try:
        return int(cost)
    except ValueError:
        return 0
