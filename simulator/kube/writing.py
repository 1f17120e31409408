"""How an object that a client sends becomes the object that is stored: defaults, what the server owns, whose the fields
are, what comes from the rest of the cluster, and the rules at the end. Pure functions of objects and `Surroundings`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from simulator.kube.apply.updating import record_update
from simulator.kube.builtin.admission import admitted_pod
from simulator.kube.builtin.canonical import canonical
from simulator.kube.builtin.defaults import with_builtin_defaults
from simulator.kube.builtin.metadata_rules import immutable_metadata_causes
from simulator.kube.builtin.preparation import (
    prepare_builtin_create,
    prepare_builtin_status,
    prepare_builtin_update,
)
from simulator.kube.builtin.rules import builtin_causes, builtin_status_causes
from simulator.kube.builtin.service_addresses import taken_by, with_addresses
from simulator.kube.builtin.warnings import builtin_warnings
from simulator.kube.crd_rules import crd_causes
from simulator.kube.crds import with_crd_defaults, with_stored_version
from simulator.kube.custom_rules import custom_rule_causes
from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CUSTOM_RESOURCE_DEFINITION,
    POD,
    ROLE,
    SERVICE,
    SERVICE_ACCOUNT,
    UNCONDITIONAL_UPDATE_REFUSED,
    Kind,
    Object,
)
from simulator.kube.registry import Served
from simulator.kube.scaling import scale_causes
from simulator.kube.schema.defaulting import with_defaults
from simulator.kube.schema.validation import schema_causes
from simulator.kube.status import ApiFailure, Cause, conflict, invalid, invalid_update, invalid_value, wrong_uid
from simulator.kube.strategy import (
    prepare_create,
    prepare_status_update,
    prepare_update,
    with_generation,
    with_managers,
)

_WITH_RULES = (ROLE, CLUSTER_ROLE)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a write may depend on besides its object.

    `find` gives an object by kind, name and namespace, None if it is not there; `every` those of a kind in a namespace,
    or in all; `suffix` makes five random letters.
    """

    find: Callable[[Kind, str, str | None], Object | None]
    every: Callable[[Kind, str | None], Iterable[Object]]
    suffix: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and when. `tracked` says that `managedFields` are those of the object already, as after an apply.

    `warnings` is filled with what the client is to be told of an object that is stored all the same.
    """

    now: datetime
    manager: str = ""
    tracked: bool = False
    warnings: list[str] = field(default_factory=list)


def created(
    served: Served, obj: Object, *, namespace: str | None, name: str, uid: str, writer: Writer, around: Surroundings
) -> Object:
    """The object as it is first stored, but for its resource version.

    Raises:
        ApiFailure: 403 or 422; the message names each field that breaks a rule.
    """
    kind = served.kind
    _check_kind(kind, obj)
    complete = completed(served, obj)
    entries = _entries(served, None, _as_tracked(kind, obj, complete), writer, "")
    new = with_managers(
        prepare_create(kind, complete, namespace=namespace, name=name, uid=uid, now=writer.now), entries
    )
    if not kind.custom:
        new = prepare_builtin_create(kind, _admitted(kind, new, namespace, around))
    if kind == SERVICE:
        new = with_addresses(new, None, taken_by(around.every(SERVICE, None)))
    if kind == CUSTOM_RESOURCE_DEFINITION:
        new = with_stored_version(new)
    _check(kind, new, _causes(served, new, None, writer))
    writer.warnings.extend(builtin_warnings(kind, new, None))
    return new


def updated(served: Served, old: Object, obj: Object, *, writer: Writer, around: Surroundings) -> Object:
    """The object after a write to the main resource: server-owned metadata and the status stay as they are.

    Raises:
        ApiFailure: 422; the message names each field that breaks a rule.
    """
    kind = served.kind
    _check_kind(kind, obj)
    complete = completed(served, obj)
    entries = _entries(served, old, _as_tracked(kind, obj, complete), writer, "")
    new = with_managers(prepare_update(kind, old, complete), entries)
    if not kind.custom:
        new = prepare_builtin_update(kind, new, old)
    if kind == SERVICE:
        others = (other for other in around.every(SERVICE, None) if other["metadata"]["uid"] != old["metadata"]["uid"])
        new = with_addresses(new, old, taken_by(others))
    if kind == CUSTOM_RESOURCE_DEFINITION:
        new = with_stored_version(new, old)
    new = with_generation(kind, old, new, obj)
    fixed = immutable_metadata_causes(complete.get("metadata") or {}, old["metadata"])
    _check(kind, new, [*fixed, *_causes(served, new, old, writer)])
    writer.warnings.extend(builtin_warnings(kind, new, old))
    return new


def status_updated(served: Served, old: Object, obj: Object, *, writer: Writer) -> Object:
    """The object after a write to its status subresource.

    Raises:
        ApiFailure: 422; the message names each field that breaks a rule.
    """
    kind = served.kind
    complete = completed(served, obj)
    entries = _entries(served, old, complete, writer, "status")
    if kind.custom:
        new = with_managers(prepare_status_update(old, complete), entries)
        causes = schema_causes(served.schema, new, old, status_only=True)
        if served.scale is not None:
            causes += scale_causes(served.scale, new, status_only=True)
        causes += custom_rule_causes(served.schema, new, old, causes, writer.warnings)
    else:
        kept = with_managers(prepare_update(kind, old, complete), entries)
        status = complete.get("status")
        sent = {**kept, "status": status} if status is not None else {k: v for k, v in kept.items() if k != "status"}
        new = prepare_builtin_status(kind, completed(served, sent), old)
        causes = builtin_status_causes(kind, new, old)
    _check(kind, new, causes)
    return new


def check_present(kind: Kind, obj: Object, old: Object) -> None:
    """Check that an update was made from the present state of the object, as far as it says from which.

    Raises:
        ApiFailure: 409 the object changed meanwhile, or is another one of that name; 422 it must say, and does not.
    """
    metadata, present = obj.get("metadata") or {}, old["metadata"]
    name, version, uid = present["name"], metadata.get("resourceVersion") or "0", metadata.get("uid")
    if not version.isdecimal():
        raise ApiFailure(500, f'strconv.ParseUint: parsing "{version}": invalid syntax')
    if int(version) == 0 and (kind.custom or kind in UNCONDITIONAL_UPDATE_REFUSED):
        cause = invalid_value("metadata.resourceVersion", "0", "must be specified for an update")
        raise invalid_update(kind, name, cause)
    if uid and uid != present["uid"]:
        raise wrong_uid(kind, present.get("namespace"), name, uid, present["uid"])
    if int(version) and version != present["resourceVersion"]:
        raise conflict(kind, name)


def as_new(kind: Kind, obj: Object, namespace: str | None) -> Object:
    """The object of an update that is to make it: of which version it was does not matter.

    Raises:
        ApiFailure: 409; it says which object it is to replace, and there is none.
    """
    metadata = obj.get("metadata") or {}
    if metadata.get("uid"):
        raise wrong_uid(kind, namespace, metadata.get("name") or "", metadata["uid"], "")
    return {**obj, "metadata": {name: value for name, value in metadata.items() if name != "resourceVersion"}}


def completed(served: Served, obj: Object) -> Object:
    """The object with the defaults of its kind."""
    if served.kind.custom:
        return with_defaults(served.schema, obj)
    if served.kind == CUSTOM_RESOURCE_DEFINITION:
        return with_crd_defaults(canonical(served.kind, obj))
    return with_builtin_defaults(served.kind, obj)


def _as_tracked(kind: Kind, obj: Object, complete: Object) -> Object:
    """The complete object as its managers have it: no rules at all is still an empty list there where one was sent."""
    return {**complete, "rules": []} if kind in _WITH_RULES and obj.get("rules") == [] else complete


def _entries(served: Served, old: Object | None, new: Object, writer: Writer, subresource: str) -> list[Object]:
    if writer.tracked:
        kept: list[Object] = new["metadata"].get("managedFields") or []
        return kept
    return record_update(
        served.kind, served.schema, old, new, manager=writer.manager, subresource=subresource, now=writer.now
    )


def _admitted(kind: Kind, new: Object, namespace: str | None, around: Surroundings) -> Object:
    if kind != POD:
        return new
    return admitted_pod(new, lambda name: around.find(SERVICE_ACCOUNT, name, namespace), around.suffix)


def _causes(served: Served, new: Object, old: Object | None, writer: Writer) -> list[Cause]:
    causes = builtin_causes(served.kind, new, old)
    if served.kind == CUSTOM_RESOURCE_DEFINITION:
        causes += crd_causes(new, old)
    if served.kind.custom:
        causes += schema_causes(served.schema, new, old)
        if served.scale is not None:
            causes += scale_causes(served.scale, new)
        causes += custom_rule_causes(served.schema, new, old, causes, writer.warnings)
    return causes


def _check_kind(kind: Kind, obj: Object) -> None:
    """Check that a custom resource says the kind that it is of; the path says that of a built-in one."""
    named = obj.get("kind")
    if kind.custom and named and named != kind.kind:
        cause = invalid_value("kind", f'"{named}"', f"must be {kind.kind}")
        raise invalid(kind, str((obj.get("metadata") or {}).get("name") or ""), [cause], kind_name=str(named))


def _check(kind: Kind, new: Object, causes: list[Cause]) -> None:
    if causes:
        raise invalid(kind, new["metadata"]["name"], causes)
