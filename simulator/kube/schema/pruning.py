"""What is left of an object of a CustomResourceDefinition's kind when what its schema does not have is taken away."""

from functools import cache
from typing import Any

from simulator.kube.builtin.canonical import canonical_value
from simulator.kube.kinds import Object
from simulator.kube.schema.builtin import definitions
from simulator.kube.schema.go_json import plain
from simulator.kube.schema.model import NO_DEFAULT, Schema
from simulator.kube.schema.typed import read_typed

_OF_EVERY_OBJECT = ("apiVersion", "kind", "metadata")


def prune(schema: Schema, obj: Object) -> tuple[Object, list[str]]:
    """Take away the fields that the schema does not have, and nulls where null is no value.

    `apiVersion` and `kind` stay as they are, `metadata` becomes what the API's own type for it can hold. The argument
    is not changed; the result may share parts with it.

    Returns:
        The rest, and what strict validation has against the object, such as `unknown field "spec.colour"`.

    Raises:
        DecodeError: a field of the metadata is of a wrong type.
    """
    unknown: list[str] = []
    kept = {name: obj[name] for name in _OF_EVERY_OBJECT[:2] if name in obj}
    metadata_findings: list[str] = []
    if "metadata" in obj:
        kept["metadata"], metadata_findings = read_metadata(obj["metadata"])
    rest = {name: value for name, value in obj.items() if name not in _OF_EVERY_OBJECT}
    return {**kept, **_pruned(schema, rest, "", unknown)}, [
        *metadata_findings,
        *(f'unknown field "{path}"' for path in sorted(unknown)),
    ]


def read_metadata(metadata: Any) -> tuple[Object, list[str]]:
    """The metadata without what is unknown or empty, and what strict validation has against it.

    Raises:
        DecodeError: a field is of a wrong type.
    """
    schema = _metadata_schema()
    read, findings = read_typed(schema, _in_order(plain(metadata)))
    return canonical_value(schema, read or {}), [finding.replace('"', '"metadata.', 1) for finding in findings]


@cache
def _metadata_schema() -> Schema:
    return definitions().schema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")


def _in_order(value: Any) -> Any:
    """The value with the names of each object in their order, as the real server has it before it reads it again."""
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, list) else value


def _pruned(schema: Schema | None, value: Any, path: str, unknown: list[str]) -> Any:
    if isinstance(value, dict):
        return _pruned_object(schema, value, path, unknown)
    if isinstance(value, list):
        items = schema.items if schema is not None else None
        if items is None and schema is not None and schema.preserve_unknown:
            return value
        return [_pruned(items, item, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def _pruned_object(schema: Schema | None, value: Object, path: str, unknown: list[str]) -> Object:
    result = {}
    for name, item in value.items():
        inner = f"{path}.{name}" if path else name
        field = schema.property(name) if schema is not None else None
        if field is not None:
            if not _is_idle_null(field, item):
                result[name] = _pruned(field, item, inner, unknown)
        elif schema is not None and (schema.preserve_unknown or (schema.embedded and name in _OF_EVERY_OBJECT)):
            result[name] = item
        else:
            unknown.append(inner)
    return result


def _is_idle_null(schema: Schema, value: Any) -> bool:
    """Whether the value is a null that is neither allowed nor stands for a default."""
    return value is None and not schema.nullable and schema.default is NO_DEFAULT
