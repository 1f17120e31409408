"""What all objects made for a unit have in common: metadata, ownership, and whether a live one must be written."""

import hashlib
from typing import Any

import msgspec

from simulator.errors import ConflictError, KubeError
from simulator.gpuunit import object_labels, owner_reference
from simulator.kube.kinds import GPUUNIT, Kind, Object

TEMPLATE_HASH_ANNOTATION = "runtime.lokiwager.io/template-hash"

_REWRITTEN_BY_THE_SERVER = frozenset({"resources", "sizeLimit"})
"""Fields with quantities, which the API writes in its own form (`1024Mi` becomes `1Gi`); the hash watches these."""


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
    """Whether the live object differs from the desired one (C2).

    The hash tells that something else is wanted than what was written; comparing field by field, that somebody
    changed what was written. What the API server added to the live object does not count.
    """
    if _hash_of(live) != _hash_of(desired):
        return True
    labels = desired["metadata"]["labels"]
    return not (_covers(live["metadata"].get("labels"), labels) and _covers(live.get("spec"), desired["spec"]))


def _hash_of(obj: Object) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(TEMPLATE_HASH_ANNOTATION, ""))


def _covers(live: Any, desired: Any) -> bool:
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(
            _covers(live.get(name), value)
            for name, value in desired.items()
            if name not in _REWRITTEN_BY_THE_SERVER and value not in ("", [], {})
        )
    if isinstance(desired, list):
        return isinstance(live, list) and len(live) == len(desired) and all(map(_covers, live, desired))
    return bool(live == desired)


def updated(live: Object, desired: Object) -> Object:
    """Return the live object with everything that is desired, ready to be written over it.

    Kept of the live one: its version, other people's labels and annotations, and spec fields that only the API server
    fills in, such as a Service's cluster IP.
    """
    metadata, wanted = live["metadata"], desired["metadata"]
    return {
        **live,
        "metadata": {
            **metadata,
            "labels": {**(metadata.get("labels") or {}), **wanted["labels"]},
            "annotations": {**(metadata.get("annotations") or {}), **wanted["annotations"]},
        },
        "spec": {**live.get("spec", {}), **desired["spec"]},
    }
