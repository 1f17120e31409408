"""The conditions of a Deployment's status: pure functions of lists of them."""

from collections.abc import Iterable
from datetime import datetime

from simulator.kube.kinds import Object
from simulator.kube.timestamps import format_time


def condition_of(obj: Object, kind: str) -> Object | None:
    """The object's condition of this type."""
    return find_condition((obj.get("status") or {}).get("conditions") or (), kind)


def find_condition(conditions: Iterable[Object], kind: str) -> Object | None:
    """The condition of this type."""
    return next((entry for entry in conditions if entry["type"] == kind), None)


def new_condition(kind: str, status: str, reason: str, message: str, now: datetime) -> Object:
    """A condition that is so since now."""
    time = format_time(now)
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": time,
        "lastTransitionTime": time,
        "reason": reason,
        "message": message,
    }


def with_condition(conditions: list[Object], condition: Object) -> list[Object]:
    """The conditions with this one last; as they are if there is one of the same type, status and reason.

    The time of transition stays while the status stays.
    """
    before = find_condition(conditions, condition["type"])
    if before and before["status"] == condition["status"]:
        if before["reason"] == condition["reason"]:
            return conditions
        condition = {**condition, "lastTransitionTime": before["lastTransitionTime"]}
    return [*without_condition(conditions, condition["type"]), condition]


def without_condition(conditions: Iterable[Object], kind: str) -> list[Object]:
    """The conditions but the one of this type."""
    return [entry for entry in conditions if entry["type"] != kind]
