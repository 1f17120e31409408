"""Who has which fields after a change: the rules that updates and applies share, and what nobody can manage."""

from collections.abc import Mapping
from typing import Final

from simulator.kube.apply.comparison import Comparison
from simulator.kube.apply.fields import FieldSet
from simulator.kube.apply.managed import Managed, Manager, Share
from simulator.kube.kinds import CUSTOM_RESOURCE_DEFINITION, DEPLOYMENT, POD, Kind

_UNMANAGED: Final = FieldSet(
    [
        ("f:apiVersion",),
        ("f:kind",),
        ("f:metadata",),
        *(
            ("f:metadata", f"f:{name}")
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        ),
    ]
)
"""Fields that every object has, or that only the server sets."""

_NONE: Final = FieldSet()
_STATUS: Final = FieldSet([("f:status",)])
_SPEC: Final = FieldSet([("f:spec",)])
_ALL_BUT_STATUS: Final = FieldSet([("f:metadata",), ("f:spec",)])
_RESET_BY_STATUS: Final[Mapping[Kind, FieldSet]] = {
    DEPLOYMENT: FieldSet([("f:spec",), ("f:metadata", "f:labels")]),
    POD: FieldSet([("f:spec",), ("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")]),
    CUSTOM_RESOURCE_DEFINITION: _ALL_BUT_STATUS,
}


def reset_fields(kind: Kind, subresource: str) -> FieldSet:
    """The fields that a write to this part of an object cannot change, and that nobody comes to manage by it."""
    if subresource == "status":
        return _ALL_BUT_STATUS if kind.custom else _RESET_BY_STATUS.get(kind, _SPEC)
    return _STATUS if kind.has_status and not subresource else _NONE


def without_unmanaged(fields: FieldSet) -> FieldSet:
    """The fields that can have a manager."""
    return fields - _UNMANAGED


def conflicts(managed: Managed, comparison: Comparison, manager: Manager) -> dict[Manager, FieldSet]:
    """What the change took from others than `manager`."""
    changed = comparison.added | comparison.modified
    taken = {other: share.fields & changed for other, share in managed.items() if other != manager}
    return {other: fields for other, fields in taken.items() if fields}


def after_change(managed: Managed, comparison: Comparison, manager: Manager) -> dict[Manager, Share]:
    """The managers, with the fields that the change took, or removed, gone from others than `manager`."""
    gone = comparison.added | comparison.modified | comparison.removed
    left = {
        other: share if other == manager else Share(share.fields - gone, share.api_version, share.time)
        for other, share in managed.items()
    }
    return {other: share for other, share in left.items() if share.fields}
