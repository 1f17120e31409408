"""What all objects made for a unit have in common: metadata, ownership, and whether a live one must be applied."""

import hashlib
from typing import Final

import msgspec

from simulator.errors import ConflictError, KubeError
from simulator.gpuunit import object_labels, owner_reference
from simulator.kube.kinds import GPUUNIT, Kind, Object
from simulator.reconciler.applied_fields import is_as_applied

TEMPLATE_HASH_ANNOTATION: Final = "runtime.lokiwager.io/template-hash"

FIELD_MANAGER: Final = "gpuunit-reconciler"
"""Who owns, in `managedFields`, what the reconciler applies."""


class NameTakenError(KubeError):
    """An object that the unit needs exists, but belongs to somebody else."""


def child_of(unit: Object, kind: Kind, name: str, spec: Object) -> Object:
    """Return an object that the unit controls (contract 6.1), with the hash of what is wanted (C2)."""
    labels = object_labels(unit["metadata"]["name"])
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name,
            "namespace": unit["metadata"]["namespace"],
            "labels": labels,
            "annotations": {TEMPLATE_HASH_ANNOTATION: _content_hash({"labels": labels, "spec": spec})},
            "ownerReferences": [owner_reference(unit)],
        },
        "spec": spec,
    }


def _content_hash(content: Object) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def _controller_of(obj: Object) -> Object | None:
    """Return the owner reference of the object's controller, None if it has none."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((reference for reference in references if reference.get("controller")), None)


def is_controlled_by(obj: Object, unit: Object) -> bool:
    """Whether this very unit, not an earlier one of its name, controls the object."""
    controller = _controller_of(obj)
    return controller is not None and controller["uid"] == unit["metadata"]["uid"]


def check_owner(obj: Object, unit: Object) -> None:
    """Make sure that the object is the unit's own.

    Raises:
        ConflictError: it belonged to an earlier unit of the same name and waits to be collected.
        NameTakenError: it belongs to somebody else.
    """
    if is_controlled_by(obj, unit):
        return
    what, controller = f"{obj['kind']} {obj['metadata']['name']}", _controller_of(obj) or {}
    if (controller.get("kind"), controller.get("name")) == (GPUUNIT.kind, unit["metadata"]["name"]):
        raise ConflictError(f"{what} of an earlier unit of this name is still there")
    raise NameTakenError(f"{what} exists and does not belong to this unit; delete it, or give the unit another name")


def must_write(live: Object, desired: Object) -> bool:
    """Whether the live object must be applied anew (C2).

    The hash tells that something else is wanted than what was applied; the fields' owners tell that somebody changed
    what was applied. What the API server or others added does not count.
    """
    return hash_of(live) != hash_of(desired) or not is_as_applied(live, desired, FIELD_MANAGER)


def hash_of(obj: Object) -> str:
    """The hash of what was wanted when the object was applied; empty for one that nobody applied."""
    return str((obj["metadata"].get("annotations") or {}).get(TEMPLATE_HASH_ANNOTATION, ""))
