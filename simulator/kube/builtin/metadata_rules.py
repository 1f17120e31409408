"""The rules for the metadata of any object, and for the names of each kind."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import IMMUTABLE, each, invalid, too_long
from simulator.kube.builtin.formats import Format
from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    EVENT,
    LEASE,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Object,
)
from simulator.kube.status import Cause, forbidden_value, required

MAX_ANNOTATIONS: Final = 256 * 1024
_STANDARD_FINALIZERS: Final = ("kubernetes", "orphan", "foregroundDeletion")
_NOT_CHECKED: Final = (EVENT, POD_DISRUPTION_BUDGET)
"""Kinds whose own rules say nothing about metadata."""
_CHECKED_AGAIN: Final = frozenset(
    {
        *(CONFIG_MAP, SECRET, POD, SERVICE_ACCOUNT, PERSISTENT_VOLUME_CLAIM),
        *(ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING),
    }
)
"""Kinds of which an update has to keep the rules for a creation, too."""
_OWNER_FIELDS: Final = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
"""In the order in which a message shows them."""
_ANY_FINALIZER: Final = (LEASE, CUSTOM_RESOURCE_DEFINITION)
_NAMES: Final[Mapping[Kind, Format]] = {
    **dict.fromkeys((NAMESPACE, SERVICE, STATEFUL_SET), formats.label),
    **dict.fromkeys((ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING), formats.path_segment),
    **dict.fromkeys(_NOT_CHECKED, formats.path_segment),
}


def create_metadata_causes(kind: Kind, metadata: Object) -> list[Cause]:
    """What is wrong with the metadata of an object that is to be created, once it has a name."""
    causes = [*_name_causes(_NAMES.get(kind, formats.subdomain), metadata), *_common_causes(metadata)]
    return [*causes, *_finalizer_name_causes(kind, metadata)]


def update_metadata_causes(kind: Kind, metadata: Object, old: Object) -> list[Cause]:
    """What is wrong with the metadata of an object that is to be replaced.

    The real server looks at it several times and lists a cause each time; its message has it once.
    """
    causes = [*_name_causes(formats.path_segment, metadata), *_common_causes(metadata), *_change_causes(metadata, old)]
    if kind in _NOT_CHECKED:
        return causes
    causes += [*_change_causes(metadata, old), *_finalizer_name_causes(kind, metadata)]
    return [*causes, *create_metadata_causes(kind, metadata)] if kind in _CHECKED_AGAIN else causes


def immutable_metadata_causes(metadata: Object, old: Object) -> list[Cause]:
    """What of the metadata that a client sent is the server's, and not as it was; looked at twice, as the rest."""
    fixed = ["uid"] if "deletionTimestamp" in old else ["uid", "deletionTimestamp"]
    changed = [name for name in fixed if metadata.get(name) not in (None, "", old.get(name))]
    return [invalid(f"metadata.{name}", metadata[name], IMMUTABLE) for name in changed] * 2


def finalizer_warnings(metadata: Object, old: Object) -> list[str]:
    """What a client is told of finalizers that it gives a custom resource, and had better not; `old` is as before."""
    advice = "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
    return [
        f'metadata.finalizers: "{finalizer}": {advice}'
        for finalizer in sorted({*(metadata.get("finalizers") or ())} - {*(old.get("finalizers") or ())})
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
    ]


def label_causes(labels: Mapping[str, str] | None, field: str) -> list[Cause]:
    """What is wrong with a set of labels."""
    causes = []
    for key, value in (labels or {}).items():
        causes += each(field, key, formats.qualified_name(key))
        causes += each(field, value, formats.label_value(value))
    return causes


def annotation_causes(annotations: Mapping[str, str] | None, field: str) -> list[Cause]:
    """What is wrong with annotations: their keys, or that they are too long together."""
    causes = []
    for key in annotations or ():
        causes += each(field, key, formats.qualified_name(key.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in (annotations or {}).items())
    return [*causes, too_long(field, MAX_ANNOTATIONS)] if size > MAX_ANNOTATIONS else causes


def owner_causes(owners: list[Object], field: str = "metadata.ownerReferences") -> list[Cause]:
    """What is wrong with the references to an object's owners."""
    causes: list[Cause] = []
    controller = ""
    for owner in owners:
        causes += _owner_causes(owner, field)
        if owner.get("controller"):
            named = f"{owner.get('kind')}/{owner.get('name')}"
            if controller:
                problem = (
                    "Only one reference can have Controller set to true. "
                    f'Found "true" in references for {controller} and {named}'
                )
                causes.append(invalid(field, [_in_order(owner) for owner in owners], problem))
            controller = controller or named
    return causes


def _owner_causes(owner: Object, field: str) -> list[Cause]:
    version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
    causes = []
    if version.count("/") > 1 or not version.rpartition("/")[2]:
        causes.append(invalid(f"{field}.apiVersion", version, "version must not be empty"))
    empty = [name for name in ("kind", "name", "uid") if not owner.get(name)]
    causes += [invalid(f"{field}.{name}", "", "must not be empty") for name in empty]
    if (version, kind) == ("v1", "Event"):
        causes.append(invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner"))
    return causes


def _in_order(owner: Object) -> Object:
    return {name: owner[name] for name in _OWNER_FIELDS if name in owner}


def _name_causes(name_format: Callable[[str], list[str]], metadata: Object) -> list[Cause]:
    name, prefix = metadata.get("name") or "", metadata.get("generateName") or ""
    prefix_format = formats.path_prefix if name_format is formats.path_segment else name_format
    causes = each("metadata.generateName", prefix, prefix_format(formats.masked_prefix(prefix))) if prefix else []
    if not name:
        return [*causes, required("metadata.name", "name or generateName is required")]
    return [*causes, *each("metadata.name", name, name_format(name))]


def _common_causes(metadata: Object) -> list[Cause]:
    finalizers: list[str] = metadata.get("finalizers") or []
    causes = [
        *label_causes(metadata.get("labels"), "metadata.labels"),
        *annotation_causes(metadata.get("annotations"), "metadata.annotations"),
        *owner_causes(metadata.get("ownerReferences") or []),
    ]
    for finalizer in finalizers:
        causes += each("metadata.finalizers", finalizer, formats.qualified_name(finalizer))
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        problem = "finalizer orphan and foregroundDeletion cannot be both set"
        causes.append(invalid("metadata.finalizers", finalizers, problem))
    return causes


def _change_causes(metadata: Object, old: Object) -> list[Cause]:
    causes: list[Cause] = []
    if "deletionTimestamp" in old:
        causes += _new_finalizer_causes(metadata.get("finalizers") or [], old.get("finalizers") or [])
    return [
        *causes,
        *label_causes(metadata.get("labels"), "metadata.labels"),
        *annotation_causes(metadata.get("annotations"), "metadata.annotations"),
        *owner_causes(metadata.get("ownerReferences") or []),
    ]


def _new_finalizer_causes(new: list[Any], old: list[Any]) -> list[Cause]:
    added = ", ".join(f'"{finalizer}"' for finalizer in sorted(set(new) - set(old)))
    if not added:
        return []
    problem = "no new finalizers can be added if the object is being deleted, found new finalizers []string{"
    return [forbidden_value("metadata.finalizers", f"{problem}{added}}}")]


def _finalizer_name_causes(kind: Kind, metadata: Object) -> list[Cause]:
    if kind.custom or kind in _ANY_FINALIZER or kind in _NOT_CHECKED:
        return []
    problem = "name is neither a standard finalizer name nor is it fully qualified"
    return [
        invalid(f"metadata.finalizers[{index}]", finalizer, problem)
        for index, finalizer in enumerate(metadata.get("finalizers") or [])
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS
    ]
