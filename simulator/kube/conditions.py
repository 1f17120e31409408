"""The conditions in an object's status."""

from simulator.kube.kinds import Object


def condition_of(obj: Object, condition_type: str) -> Object | None:
    """The condition of that type; None if the status has none."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == condition_type), None)


def true_condition_of(obj: Object, condition_type: str) -> Object | None:
    """The same, if its status is True."""
    condition = condition_of(obj, condition_type)
    return condition if condition is not None and condition["status"] == "True" else None
