"""What of an object belongs to the server, and is carried over from write to write whatever a client sends.

Pure functions of JSON values; the rules are those of the real API's registry strategies.
"""

from datetime import datetime
from typing import Any

import msgspec

from simulator.kube.builtin.preparation import counts_as_change
from simulator.kube.kinds import NAMESPACE, Kind, Object
from simulator.kube.timestamps import format_time

_SERVER_OWNED = (
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)
_LEFT_OUT = (*_SERVER_OWNED, "selfLink", "managedFields", "resourceVersion")
_LEFT_OUT_WHEN_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences", "generateName")
_METADATA_ORDER = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
_NAME_LABEL = "kubernetes.io/metadata.name"


def prepare_create(kind: Kind, obj: Object, *, namespace: str | None, name: str, uid: str, now: datetime) -> Object:
    """The object with the metadata that the server gives a new one, and without a status that a client sent."""
    sent = obj.get("metadata") or {}
    owned = {
        "name": name,
        **({"namespace": namespace} if namespace is not None else {}),
        "uid": uid,
        "creationTimestamp": format_time(now),
        **_first_generation(kind, sent),
    }
    new = _assembled(kind, obj, {**_client_owned(sent), **owned})
    if kind == NAMESPACE:
        new["metadata"]["labels"] = {**(sent.get("labels") or {}), _NAME_LABEL: name}
    return _with_status_of(kind, None, new)


def _first_generation(kind: Kind, sent: dict[str, Any]) -> Object:
    """Of a kind that does not count generations, what the client sent stays."""
    generation = 1 if kind.has_generation else sent.get("generation")
    return {"generation": generation} if generation else {}


def prepare_update(kind: Kind, old: Object, obj: Object) -> Object:
    """The object with the old one's status, and with its metadata as far as the server owns it."""
    owned = {name: old["metadata"][name] for name in ("name", *_SERVER_OWNED) if name in old["metadata"]}
    return _with_status_of(kind, old, _assembled(kind, obj, {**_client_owned(obj.get("metadata") or {}), **owned}))


def prepare_status_update(old: Object, obj: Object) -> Object:
    """The object after a write to a custom resource's status: nothing but `status` is taken."""
    new = {name: value for name, value in old.items() if name != "status"}
    status = obj.get("status")
    return new if status is None else {**new, "status": status}


def with_managers(obj: Object, entries: list[Object]) -> Object:
    """The object with these `managedFields`, with none if there are no entries."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": {**metadata, **({"managedFields": entries} if entries else {})}}


def with_generation(kind: Kind, old: Object, new: Object, sent: Object) -> Object:
    """The object with a generation above the old one's if what is wanted of it changed, for a kind that counts them.

    `sent` is the object as the client has it, without defaults.
    """
    if not kind.has_generation:
        return new
    if kind.custom:
        changed = not same(_desired(kind, old), _desired(kind, new))
    else:
        changed = counts_as_change(kind, new, old, sent)
    generation = old["metadata"].get("generation", 1) + changed
    return {**new, "metadata": {**new["metadata"], "generation": generation}}


def metadata_in_order(metadata: Object) -> Object:
    """The fields of an object's metadata as the real server writes them."""
    return {name: metadata[name] for name in _METADATA_ORDER if name in metadata}


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, `true`, `1` and `1.0` are three different values."""
    return bool(one == other) and (
        msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")
    )


def _with_status_of(kind: Kind, old: Object | None, new: Object) -> Object:
    if not kind.has_status:
        return new
    kept = {name: value for name, value in new.items() if name != "status"}
    return {**kept, "status": old["status"]} if old is not None and "status" in old else kept


def _assembled(kind: Kind, obj: Object, metadata: dict[str, Any]) -> Object:
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **rest}


def _client_owned(metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in metadata.items()
        if name not in _LEFT_OUT and value is not None and not (name in _LEFT_OUT_WHEN_EMPTY and not value)
    }


def _desired(kind: Kind, obj: Object) -> Object:
    observed = ("metadata", "status") if kind.has_status else ("metadata",)
    return {name: value for name, value in obj.items() if name not in observed}
