"""How an object that a client sends becomes the object that is stored: what the server owns, what is carried over.

Pure functions of JSON values; the rules are those of the real API's registry strategies.
"""

import copy
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from simulator.kube.kinds import NAMESPACE, SECRET, Kind, Object
from simulator.kube.secret_rules import normalised_secret, secret_causes
from simulator.kube.selectors import NAME_PATTERN, NAME_PROBLEM, label_name_is_valid
from simulator.kube.status import Cause, bad_request, forbidden_value, invalid, invalid_value, required

_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_SUBDOMAIN_PROBLEM = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_VALUE_PROBLEM = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'({NAME_PATTERN})?')"
)
_MAX_NAME = 253
_MAX_LABEL_VALUE = 63

_SERVER_OWNED = (
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)
_DROPPED = ("selfLink", "managedFields")
_LEFT_OUT_WHEN_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences")


class _OwnerReference(msgspec.Struct):
    name: str = ""
    kind: str = ""
    uid: str = ""


class _Metadata(msgspec.Struct, rename="camel"):
    """The types that the rest of this package relies on."""

    name: str | None = None
    generate_name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[_OwnerReference] | None = None


class _Envelope(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


def check_types(kind: Kind, obj: Object) -> None:
    """Check that the metadata's fields have the types they must have.

    Raises:
        ApiFailure: 400; the message names the field.
    """
    try:
        msgspec.convert(obj, _Envelope)
    except msgspec.ValidationError as error:
        raise bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {error}'
        ) from error


def timestamp(moment: datetime) -> str:
    """The moment as the API writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def prepare_create(kind: Kind, obj: Object, *, namespace: str | None, name: str, uid: str, now: datetime) -> Object:
    """The object as it is first stored, but for its resource version.

    Raises:
        ApiFailure: 422; a name, a label or an owner reference is wrong.
    """
    sent = obj.get("metadata") or {}
    owned = {
        "name": name,
        **({"namespace": namespace} if namespace is not None else {}),
        "uid": uid,
        "creationTimestamp": timestamp(now),
        **({"generation": 1} if kind.has_generation else {}),
    }
    new = _assemble(kind, obj, {**_client_owned(sent), **owned})
    if kind.has_status:
        new.pop("status", None)
    if kind == NAMESPACE:
        labels = {"kubernetes.io/metadata.name": name, **(sent.get("labels") or {})}
        new["metadata"]["labels"] = labels
        new = {**new, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    _check(kind, new)
    return new


def prepare_update(kind: Kind, old: Object, obj: Object) -> Object:
    """The object after a write to the main resource: server-owned metadata and the status stay as they are.

    Raises:
        ApiFailure: 422; a label or an owner reference is wrong, or a finalizer was added during deletion.
    """
    owned = {name: old["metadata"][name] for name in ("name", *_SERVER_OWNED) if name in old["metadata"]}
    new = _assemble(kind, obj, {**_client_owned(obj.get("metadata") or {}), **owned})
    if kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if kind.has_generation and not same(_desired(kind, old), _desired(kind, new)):
        new["metadata"]["generation"] = old["metadata"]["generation"] + 1
    _check(kind, new, old)
    return new


def prepare_status_update(old: Object, obj: Object) -> Object:
    """The object after a write to its status subresource: nothing but `status` is taken."""
    new = {name: value for name, value in old.items() if name != "status"}
    status = without_nulls(obj.get("status"))
    return new if status is None else {**new, "status": status}


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386); neither argument is changed, the result may share parts with both."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; unlike in Python, `true`, `1` and `1.0` are three different values."""
    return bool(one == other) and (
        msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")
    )


def without_nulls(value: Any) -> Any:
    """The value without the object fields that are null, which in Kubernetes means "not set"."""
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _assemble(kind: Kind, obj: Object, metadata: dict[str, Any]) -> Object:
    rest = {name: without_nulls(value) for name, value in obj.items() if name != "metadata" and value is not None}
    if kind == SECRET:
        rest = normalised_secret(rest)
    return {**rest, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}


def _client_owned(metadata: dict[str, Any]) -> dict[str, Any]:
    left_out = (*_SERVER_OWNED, *_DROPPED, "resourceVersion")
    return {
        name: copy.copy(value)
        for name, value in metadata.items()
        if name not in left_out and value is not None and not (name in _LEFT_OUT_WHEN_EMPTY and not value)
    }


def _desired(kind: Kind, obj: Object) -> Object:
    observed = ("metadata", "status") if kind.has_status else ("metadata",)
    return {name: value for name, value in obj.items() if name not in observed}


def _check(kind: Kind, new: Object, old: Object | None = None) -> None:
    metadata = new["metadata"]
    causes = [*_name_causes(metadata["name"]), *_label_causes(metadata.get("labels") or {})]
    causes += [
        invalid_value("metadata.ownerReferences.uid", '""', "must not be empty")
        for reference in metadata.get("ownerReferences") or []
        if not reference.get("uid")
    ]
    if kind == SECRET:
        causes += secret_causes(new, old)
    if old is not None and "deletionTimestamp" in old["metadata"]:
        causes += _finalizer_causes(old["metadata"].get("finalizers") or [], metadata.get("finalizers") or [])
    if causes:
        raise invalid(kind, metadata["name"], causes)


def _name_causes(name: str) -> list[Cause]:
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if len(name) > _MAX_NAME:
        return [invalid_value("metadata.name", f'"{name}"', f"must be no more than {_MAX_NAME} characters")]
    if not re.fullmatch(_SUBDOMAIN, name):
        return [invalid_value("metadata.name", f'"{name}"', _SUBDOMAIN_PROBLEM)]
    return []


def _label_causes(labels: dict[str, str]) -> list[Cause]:
    causes = []
    for key, value in labels.items():
        if not label_name_is_valid(key):
            causes.append(invalid_value("metadata.labels", f'"{key}"', NAME_PROBLEM))
        if len(value.encode()) > _MAX_LABEL_VALUE:
            problem = f"must be no more than {_MAX_LABEL_VALUE} bytes"
            causes.append(invalid_value("metadata.labels", f'"{value}"', problem))
        elif value and not re.fullmatch(NAME_PATTERN, value):
            causes.append(invalid_value("metadata.labels", f'"{value}"', _VALUE_PROBLEM))
    return causes


def _finalizer_causes(old: list[str], new: list[str]) -> list[Cause]:
    added = [f'"{finalizer}"' for finalizer in new if finalizer not in old]
    if not added:
        return []
    problem = "no new finalizers can be added if the object is being deleted, found new finalizers []string{"
    return [forbidden_value("metadata.finalizers", f"{problem}{', '.join(added)}}}")]
