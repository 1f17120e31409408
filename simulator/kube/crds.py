"""CustomResourceDefinitions: which resources one makes, and what the server itself adds to its object."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from simulator.kube.kinds import Kind, Object
from simulator.kube.registry import Column, ScalePaths, Served, Subresource
from simulator.kube.resources import READ_AND_WRITE
from simulator.kube.schema.go_json import plain
from simulator.kube.schema.load import schema_of_crd
from simulator.kube.schema.model import ANY, Schema
from simulator.kube.schema.yaml_body import parse_yaml
from simulator.kube.timestamps import format_time

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer of a definition that is being deleted, until all objects of its resource are gone."""
PLATFORM_CRD = Path(__file__).with_name("gpuunit-crd.yaml")
"""The definition of the GPUUnit resource, as a real cluster takes it."""

_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
_VERBS_AT_THE_END = ("delete", "deletecollection", "get", "list", "watch")
_AGE = Column(
    "Age",
    "date",
    ".metadata.creationTimestamp",
    description=(
        "CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
        "guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It "
        "is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More "
        "info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
    ),
)
"""The column of a definition that names none."""


@cache
def platform_crd() -> Object:
    """The definition of the GPUUnit resource; it is shared and must not be changed."""
    definition, _ = parse_yaml(PLATFORM_CRD.read_bytes())
    return with_crd_defaults(plain(definition))


def with_crd_defaults(crd: Object) -> Object:
    """The definition with the names and the conversion that follow from the others; the argument is not changed."""
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    kind = names.get("kind") or ""
    derived = {
        **({} if names.get("singular") or not kind else {"singular": kind.lower()}),
        **({} if names.get("listKind") or not kind else {"listKind": f"{kind}List"}),
    }
    conversion = spec.get("conversion") or {"strategy": "None"}
    complete = {**spec, "names": {**names, **derived}, "conversion": conversion}
    if spec.get("versions"):
        complete["versions"] = [version or {} for version in spec["versions"]]
    status = crd.get("status")
    if status and not status.get("storedVersions") and _storage_version(crd):
        status = {**status, "storedVersions": [_storage_version(crd)]}
    return {**crd, "spec": complete, **({} if status is None else {"status": status})}


def with_stored_version(crd: Object, old: Object | None = None) -> Object:
    """The definition as a client may write it: its status is that of `old`, and names the version that is stored."""
    status = dict((old or {}).get("status") or {})
    stored = list(status.get("storedVersions") or [])
    version = _storage_version(crd)
    if version and version not in stored:
        stored.append(version)
    empty: Object = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}}
    return {**crd, "status": {**empty, **status, "storedVersions": stored}}


def crd_status(crd: Object, others: Iterable[Object], now: str) -> Object:
    """The status after the server looked at the names: accepted, and served from then on, unless others have them.

    `others` are the other definitions, `now` is the time for conditions that change.
    """
    status = crd.get("status") or {}
    spec = crd["spec"]
    names, accepted = spec["names"], dict(status.get("acceptedNames") or {})
    taken = [other for other in others if other["spec"]["group"] == spec["group"] and other is not crd]
    conflict = ("", "")
    for field, reason, problem in _conflicts(names, accepted, taken):
        if problem:
            conflict = (reason, problem)
        else:
            accepted[field] = names.get(field)
    accepted["categories"] = names.get("categories")
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    _set_condition(conditions, now, "NamesAccepted", not conflict[0], *(conflict if conflict[0] else _NO_CONFLICT))
    if not conflict[0]:
        _set_condition(conditions, now, "Established", True, *_ACCEPTED)
    elif "Established" not in conditions:
        _set_condition(conditions, now, "Established", False, "NotAccepted", "not all names are accepted")
    accepted = {field: accepted.get(field) or "" for field in ("plural", "kind")} | {
        field: value for field, value in accepted.items() if value
    }
    return {**status, "conditions": list(conditions.values()), "acceptedNames": accepted}


_NO_CONFLICT = ("NoConflicts", "no conflicts found")
_ACCEPTED = ("InitialNamesAccepted", "the initial names have been accepted")
_RESOURCE_NAMES = ("plural", "singular", "shortNames")
_CHECKED_NAMES = {
    "plural": "PluralConflict",
    "singular": "SingularConflict",
    "shortNames": "ShortNamesConflict",
    "kind": "KindConflict",
    "listKind": "ListKindConflict",
}


def is_established(crd: Object) -> bool:
    """Whether the definition's names were accepted, so that its resources are served."""
    return _holds(crd, "Established")


def with_termination(crd: Object, terminating: bool, reason: str, message: str, now: datetime) -> Object:
    """The definition with the condition that says how far its deletion has come."""
    status = crd.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    _set_condition(conditions, format_time(now), "Terminating", terminating, reason, message)
    return {**crd, "status": {**status, "conditions": list(conditions.values())}}


def is_terminating(crd: Object) -> bool:
    """Whether the definition's objects are being deleted, so that no new one may come."""
    return _holds(crd, "Terminating")


def served_by(crd: Object) -> list[Served]:
    """The resources of a definition: one for each version that is served."""
    stored_as = _kind(crd, _stored(crd))
    by_version = {version["name"]: version for version in crd["spec"]["versions"]}
    return [_served(crd, version, stored_as) for version in by_version.values() if version.get("served")]


def stored_by(crd: Object) -> Served:
    """The resource of a definition in the version in which its objects are stored, which need not be served."""
    version = _stored(crd)
    return _served(crd, version, _kind(crd, version))


def _served(crd: Object, version: Object, storage: Kind) -> Served:
    kind = _kind(crd, version)
    names = _names(crd)
    scale = (version.get("subresources") or {}).get("scale")
    return Served(
        kind=kind,
        storage=storage,
        load=partial(_schema, version),
        singular=names.get("singular") or kind.kind.lower(),
        list_kind=names.get("listKind") or f"{kind.kind}List",
        verbs=_VERBS_AT_THE_END if is_terminating(crd) else _VERBS,
        categories=kind.categories,
        subresources=(
            *((Subresource("status", kind.kind, READ_AND_WRITE),) if kind.has_status else ()),
            *((Subresource("scale", "Scale", READ_AND_WRITE, "autoscaling", "v1"),) if scale else ()),
        ),
        columns=tuple(map(_column, version.get("additionalPrinterColumns") or ())) or (_AGE,),
        scale=_scale_paths(scale) if scale else None,
        deprecation=_deprecation(kind, version),
        published=(version.get("schema") or {}).get("openAPIV3Schema"),
    )


def _kind(crd: Object, version: Object) -> Kind:
    spec = crd["spec"]
    names = _names(crd)
    subresources = version.get("subresources") or {}
    return Kind(
        spec["group"],
        version["name"],
        names["kind"],
        names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        has_status=subresources.get("status") is not None,
        custom=True,
        categories=tuple(names.get("categories") or ()),
        has_scale=bool(subresources.get("scale")),
    )


def _names(crd: Object) -> Object:
    """The names that were accepted; those that are asked for as long as none were."""
    accepted: Object = (crd.get("status") or {}).get("acceptedNames") or {}
    return accepted if accepted.get("kind") else crd["spec"]["names"]


def _schema(version: Object) -> Schema:
    raw = (version.get("schema") or {}).get("openAPIV3Schema")
    return ANY if raw is None else schema_of_crd(raw)


def _column(raw: Object) -> Column:
    return Column(
        name=raw["name"],
        type=raw["type"],
        path=raw["jsonPath"],
        format=raw.get("format") or "",
        description=raw.get("description") or "",
        priority=raw.get("priority") or 0,
    )


def _scale_paths(raw: Object) -> ScalePaths:
    return ScalePaths(raw["specReplicasPath"], raw["statusReplicasPath"], raw.get("labelSelectorPath") or "")


def _deprecation(kind: Kind, version: Object) -> str:
    if not version.get("deprecated"):
        return ""
    return version.get("deprecationWarning") or f"{kind.api_version} {kind.kind} is deprecated"


def _stored(crd: Object) -> Object:
    versions: list[Object] = crd["spec"]["versions"]
    return next((version for version in versions if version.get("storage")), versions[0])


def _storage_version(crd: Object) -> str:
    versions = crd["spec"].get("versions") or ()
    return next((version.get("name") or "" for version in versions if version.get("storage")), "")


def _conflicts(names: Object, accepted: Object, others: list[Object]) -> Iterator[tuple[str, str, str]]:
    """Each checked name, the reason of a conflict about it, and the conflict if there is one."""
    held = [(other.get("status") or {}).get("acceptedNames") or {} for other in others]
    resources = {name for one in held for field in _RESOURCE_NAMES for name in _as_list(one.get(field))}
    kinds = {one.get(field) for one in held for field in ("kind", "listKind")}
    for field, reason in _CHECKED_NAMES.items():
        taken = kinds if field in ("kind", "listKind") else resources
        former = _as_list(accepted.get(field))
        problems = [
            f'"{name}" is already in use' for name in _as_list(names.get(field)) if name not in former and name in taken
        ]
        yield field, reason, problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]" if problems else ""


def _holds(crd: Object, name: str) -> bool:
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == name and condition["status"] == "True" for condition in conditions)


def _as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _set_condition(conditions: dict[str, Object], now: str, name: str, holds: bool, reason: str, message: str) -> None:
    status = "True" if holds else "False"
    former = conditions.get(name) or {}
    changed = former.get("lastTransitionTime") if former.get("status") == status else None
    conditions[name] = {
        "type": name,
        "status": status,
        "lastTransitionTime": changed or now,
        "reason": reason,
        "message": message,
    }
