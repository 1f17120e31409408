"""What a CustomResourceDefinition must be like, in the words of the real server.

Not checked, and taken as they are: webhook conversion and selectable fields.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from simulator.kube.builtin.causes import unsupported
from simulator.kube.crds import is_established
from simulator.kube.go_text import go_quoted
from simulator.kube.kinds import Object
from simulator.kube.schema.structure import structure_causes
from simulator.kube.status import Cause, invalid_value, required

_LABEL = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_PROBLEM = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    f"and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_SUBDOMAIN_PROBLEM = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_MAX_LABEL = 63
_SCOPES = ("Cluster", "Namespaced")
_CONVERSIONS = ("None", "Webhook")
_NOT_TO_BE_PRESERVED = (
    "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
)
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("binary", "byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_IMMUTABLE = "field is immutable"


def crd_causes(crd: Object, old: Object | None = None) -> list[Cause]:
    """What is wrong with a definition that has its defaults and stored versions; `old` is what an update replaces.

    The name's own form is checked elsewhere, like that of every object.
    """
    spec = crd.get("spec") or {}
    causes = [*_spec_causes(spec), *_stored_version_causes(crd)]
    if old is None:
        name = crd["metadata"].get("name") or ""
        expected = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
        if name != expected:
            problem = 'must be spec.names.plural+"."+spec.group'
            causes.insert(0, invalid_value("metadata.name", go_quoted(name), problem))
        return causes
    return [*causes, *_change_causes(spec, old)]


def _spec_causes(spec: Object) -> Iterator[Cause]:
    yield from _group_causes(spec.get("group") or "")
    yield from _choice_causes("spec.scope", spec.get("scope") or "", _SCOPES)
    yield from _choice_causes("spec.conversion.strategy", spec["conversion"].get("strategy") or "", _CONVERSIONS)
    if spec.get("preserveUnknownFields"):
        yield invalid_value("spec.preserveUnknownFields", "true", _NOT_TO_BE_PRESERVED)
    versions = spec.get("versions") or []
    for index, version in enumerate(versions):
        if (version.get("schema") or {}).get("openAPIV3Schema") is None:
            yield required(f"spec.versions[{index}].schema.openAPIV3Schema", "")
    first = versions[0] if versions else {}
    common = [field for field in _IN_COMMON if all(version.get(field) == first.get(field) for version in versions)]
    for index, version in enumerate(versions):
        yield from _version_causes(version, f"spec.versions[{index}]")
        for field in _IN_COMMON:
            if field not in common:
                yield from _IN_COMMON[field](version.get(field), f"spec.versions[{index}].{field}")
    yield from _version_list_causes(versions)
    yield from _name_causes(spec.get("names") or {})
    for field in common:
        path = "spec.validation" if field == "schema" else f"spec.{field}"
        yield from _IN_COMMON[field](first.get(field), path)


def _version_list_causes(versions: list[Object]) -> Iterator[Cause]:
    listed = json.dumps([_internal(version) for version in versions], separators=(",", ":"))
    if len({version.get("name") for version in versions}) < len(versions):
        yield invalid_value("spec.versions", listed, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid_value("spec.versions", listed, "must have exactly one version marked as storage version")
    if versions:
        yield from _label_causes("spec.version", versions[0].get("name") or "")


def _group_causes(group: str) -> Iterator[Cause]:
    if not group:
        yield required("spec.group", "")
    elif not re.fullmatch(_SUBDOMAIN, group):
        yield invalid_value("spec.group", go_quoted(group), _SUBDOMAIN_PROBLEM)
    elif "." not in group:
        yield invalid_value("spec.group", go_quoted(group), "should be a domain with at least one dot")


def _choice_causes(field: str, value: str, accepted: Iterable[str]) -> Iterator[Cause]:
    if not value:
        yield required(field, "")
    elif value not in accepted:
        yield unsupported(field, value, accepted)


def _version_causes(version: Object, path: str) -> Iterator[Cause]:
    yield from _label_causes(f"{path}.name", version.get("name") or "")
    warning = version.get("deprecationWarning")
    if warning is not None and not version.get("deprecated"):
        problem = "can only be set for deprecated versions"
        yield invalid_value(f"{path}.deprecationWarning", go_quoted(warning), problem)


def _validation_causes(validation: Object | None, path: str) -> Iterator[Cause]:
    schema = (validation or {}).get("openAPIV3Schema")
    if schema is not None:
        yield from structure_causes(schema, f"{path}.openAPIV3Schema")


def _subresource_causes(subresources: Object | None, path: str) -> Iterator[Cause]:
    scale = (subresources or {}).get("scale")
    if scale is not None:
        yield from _scale_causes(scale, f"{path}.scale")


def _columns_causes(columns: list[Object] | None, path: str) -> Iterator[Cause]:
    for index, column in enumerate(columns or ()):
        yield from _column_causes(column, f"{path}[{index}]")


_IN_COMMON: dict[str, Callable[[Any, str], Iterator[Cause]]] = {
    "schema": _validation_causes,
    "subresources": _subresource_causes,
    "additionalPrinterColumns": _columns_causes,
}
"""Parts of a version. What all versions have in common the real server speaks of as a part of the whole."""


def _internal(version: Object) -> Object:
    """A version as the real server writes it in messages, without the parts that all may have in common."""
    return {
        "Name": version.get("name") or "",
        **{name.capitalize(): bool(version.get(name)) for name in ("served", "storage", "deprecated")},
        "DeprecationWarning": version.get("deprecationWarning"),
        **dict.fromkeys(("Schema", "Subresources", "AdditionalPrinterColumns", "SelectableFields")),
    }


def label_problems(value: str) -> list[str]:
    """What is wrong with a value that has to be a DNS label of the older kind (RFC 1035)."""
    problems = [f"must be no more than {_MAX_LABEL} characters"] if len(value) > _MAX_LABEL else []
    return problems if re.fullmatch(_LABEL, value) else [*problems, _LABEL_PROBLEM]


def _label_causes(field: str, value: str, prefix: str = "") -> Iterator[Cause]:
    problems = label_problems(value.lower() if prefix else value)
    if problems:
        yield invalid_value(field, go_quoted(value), prefix + ",".join(problems))


def _name_causes(names: Object) -> Iterator[Cause]:
    for field in ("plural", "singular", "kind", "listKind"):
        if not names.get(field):
            yield required(f"spec.names.{field}", "")
    for field in ("plural", "singular"):
        if names.get(field):
            yield from _label_causes(f"spec.names.{field}", names[field])
    for field in ("kind", "listKind"):
        if names.get(field):
            prefix = "may have mixed case, but should otherwise match: "
            yield from _label_causes(f"spec.names.{field}", names[field], prefix)
    for index, name in enumerate(names.get("shortNames") or ()):
        yield from _label_causes(f"spec.names.shortNames[{index}]", name)
    if names.get("kind") and names["kind"] == names.get("listKind"):
        yield invalid_value(
            "spec.names.listKind", go_quoted(names["listKind"]), "kind and listKind may not be the same"
        )
    for index, name in enumerate(names.get("categories") or ()):
        yield from _label_causes(f"spec.names.categories[{index}]", name)


def _scale_causes(scale: Object, path: str) -> Iterator[Cause]:
    for field, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        value = scale.get(field) or ""
        if not value:
            yield required(f"{path}.{field}", "")
        elif not value.startswith("."):
            yield invalid_value(f"{path}.{field}", go_quoted(value), "must be a simple json path starting with .")
        elif not value.startswith(root):
            yield invalid_value(f"{path}.{field}", go_quoted(value), f"should be a json path under {root.rstrip('.')}")
    selector = scale.get("labelSelectorPath") or ""
    if selector and not selector.startswith((".spec.", ".status.")):
        problem = "should be a json path under either .spec or .status"
        yield invalid_value(f"{path}.labelSelectorPath", go_quoted(selector), problem)


def _column_causes(column: Object, path: str) -> Iterator[Cause]:
    if not column.get("name"):
        yield required(f"{path}.name", "")
    types = f"must be one of {','.join(_COLUMN_TYPES)}"
    if not column.get("type"):
        yield required(f"{path}.type", types)
    elif column["type"] not in _COLUMN_TYPES:
        yield invalid_value(f"{path}.type", go_quoted(column["type"]), types)
    if column.get("format") and column["format"] not in _COLUMN_FORMATS:
        problem = f"must be one of {','.join(_COLUMN_FORMATS)}"
        yield invalid_value(f"{path}.format", go_quoted(column["format"]), problem)
    value = column.get("jsonPath") or ""
    if not value:
        yield required(f"{path}.JSONPath", "")
    elif not value.startswith("."):
        yield invalid_value(f"{path}.JSONPath", go_quoted(value), "must be a simple json path starting with .")


def _stored_version_causes(crd: Object) -> Iterator[Cause]:
    stored = (crd.get("status") or {}).get("storedVersions") or []
    remaining = set(stored)
    if not stored:
        yield invalid_value("status.storedVersions", "null", "must have at least one stored version")
    for version in (crd.get("spec") or {}).get("versions") or ():
        name = version.get("name")
        if version.get("storage") and stored and name not in remaining:
            listed = json.dumps(stored, separators=(",", ":"))
            yield invalid_value("status.storedVersions", listed, f"must have the storage version {name}")
        remaining.discard(name)
    for index, name in enumerate(stored):
        if name in remaining:
            problem = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            yield invalid_value(f"status.storedVersions[{index}]", go_quoted(name), problem)


def _change_causes(spec: Object, old: Object) -> Iterator[Cause]:
    former = old["spec"]
    checked: list[tuple[str, Any, Any]] = []
    if is_established(old):
        checked.append(("spec.scope", spec.get("scope"), former["scope"]))
        checked.append(("spec.names.kind", spec["names"].get("kind"), former["names"]["kind"]))
    checked.append(("spec.group", spec.get("group"), former["group"]))
    checked.append(("spec.names.plural", spec["names"].get("plural"), former["names"]["plural"]))
    for field, new_value, old_value in checked:
        if new_value != old_value:
            yield invalid_value(field, go_quoted(new_value or ""), _IMMUTABLE)
