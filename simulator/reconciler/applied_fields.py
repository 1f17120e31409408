"""Whether a live object still is as it was applied, as its `managedFields` tell (C2).

The API server notes who set which field, and takes a field from its owner when another writer changes or removes it.
So nothing that was applied has changed while all of it is still owned; what the server or others added does not count,
and no value need be compared with the form that the server gives it.
"""

from typing import Any

import msgspec

from simulator.kube.kinds import Object

_FIELD, _KEY, _VALUE = "f:", "k:", "v:"
_NOT_KEPT: tuple[Any, ...] = ("", [], {}, None)
"""Values that the server leaves out, so that their fields may have no owner."""


def is_as_applied(live: Object, applied: Object, manager: str) -> bool:
    """Whether `manager` still owns all that it applied: labels, annotations, owners and spec."""
    fields = _applied_by(live, manager)
    if fields is None:
        return False
    metadata = {name: applied["metadata"].get(name) for name in ("labels", "annotations", "ownerReferences")}
    return _owns(fields, {"metadata": metadata, "spec": applied["spec"]})


def _applied_by(obj: Object, manager: str) -> Object | None:
    for entry in obj["metadata"].get("managedFields") or ():
        if (entry.get("manager"), entry.get("operation"), entry.get("subresource")) == (manager, "Apply", None):
            return dict(entry.get("fieldsV1") or {})
    return None


def _owns(fields: Object, wanted: Any) -> bool:
    if not fields:
        return True  # a single value, or a map or list that has one owner as a whole
    if isinstance(wanted, dict):
        return all(
            (name := _FIELD + field) in fields and _owns(fields[name], value)
            for field, value in wanted.items()
            if value not in _NOT_KEPT
        )
    if isinstance(wanted, list):
        return all(_owns_item(fields, item) for item in wanted)
    return False


def _owns_item(fields: Object, item: Any) -> bool:
    return any(_names(name, item) and _owns(of_item, item) for name, of_item in fields.items())


def _names(name: str, item: Any) -> bool:
    """Whether the name of a list's item in `managedFields` is that of this one."""
    if name.startswith(_KEY) and isinstance(item, dict):
        keys = msgspec.json.decode(name.removeprefix(_KEY))
        return all(item.get(field) == value for field, value in keys.items())
    return name.startswith(_VALUE) and bool(msgspec.json.decode(name.removeprefix(_VALUE)) == item)
