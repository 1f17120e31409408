"""Whether the schema of a CustomResourceDefinition is structural: every value says of which type it is."""

from collections.abc import Iterator

from simulator.kube.builtin.causes import unsupported
from simulator.kube.go_text import go_quoted
from simulator.kube.schema.list_forms import list_form_causes
from simulator.kube.schema.load import Raw, schema_of_crd
from simulator.kube.schema.model import has_rules
from simulator.kube.schema.nesting import combined, nesting_causes
from simulator.kube.schema.rule_forms import rule_form_causes
from simulator.kube.schema.validation import value_causes
from simulator.kube.status import Cause, forbidden_value, invalid_value, required

_TYPES = ("array", "boolean", "integer", "number", "object", "string")


def structure_causes(schema: Raw, path: str) -> list[Cause]:
    """What is wrong with an `openAPIV3Schema`, which stands at `path`."""
    structural = sorted(_causes(schema, path, "root"), key=lambda cause: f"{cause.field}: {cause.message}")
    defaults = [] if structural else list(_default_causes(schema, path))
    others = list(_type_causes(schema, path))
    rules = [] if structural or defaults else _expression_causes(schema, path, others)
    return [*structural, *defaults, *others, *rules]


def _expression_causes(schema: Raw, path: str, found: list[Cause]) -> list[Cause]:
    """What is wrong with the rules, and with defaults that break them."""
    if not has_rules(schema_of_crd(schema)):
        return []
    from simulator.kube.cel.rule_definitions import default_causes, expression_causes  # the library is loaded here

    return list(expression_causes(schema, path, [cause.field for cause in found])) or list(default_causes(schema, path))


_NOT_INT_OR_STRING = "must be false if x-kubernetes-int-or-string is true"
_PLACES = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def _causes(schema: Raw, path: str, place: str) -> Iterator[Cause]:
    yield from _own_causes(schema, path, place)
    yield from _extension_causes(schema, path)
    yield from nesting_causes(schema, path)
    additional = schema.get("additionalProperties")
    if additional is not None and place == "root":
        yield forbidden_value(f"{path}.additionalProperties", "must not be used at the root")
    metadata = (schema.get("properties") or {}).get("metadata")
    if metadata is not None and place == "root":
        yield from _metadata_causes(metadata, f"{path}.properties[metadata]")
    for inner, where in _parts(schema, path):
        yield from _causes(inner, where, "item" if inner is schema.get("items") else "field")


def _own_causes(schema: Raw, path: str, place: str) -> Iterator[Cause]:
    """What is wrong with the type of a value."""
    type_name = schema.get("type") or ""
    open_type = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if schema.get("x-kubernetes-embedded-resource") and type_name != "object":
        problem = "must be object if x-kubernetes-embedded-resource is true"
        value = invalid_value(f"{path}.type", go_quoted(type_name), problem)
        yield value if type_name else required(f"{path}.type", problem)
    elif not type_name and not open_type:
        yield required(f"{path}.type", _PLACES[place])
    if place == "root" and type_name not in ("", "object"):
        yield invalid_value(f"{path}.type", go_quoted(type_name), "must be object at the root")
    if type_name == "array" and schema.get("items") is None:
        yield required(f"{path}.items", "must be specified")


def _extension_causes(schema: Raw, path: str) -> Iterator[Cause]:
    if schema.get("x-kubernetes-int-or-string") and schema.get("x-kubernetes-preserve-unknown-fields"):
        yield invalid_value(f"{path}.x-kubernetes-preserve-unknown-fields", "true", _NOT_INT_OR_STRING)
    if schema.get("x-kubernetes-int-or-string") and schema.get("x-kubernetes-embedded-resource"):
        yield invalid_value(f"{path}.x-kubernetes-embedded-resource", "true", _NOT_INT_OR_STRING)
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("properties")
    if schema.get("x-kubernetes-embedded-resource") and not open_ended:
        problem = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        yield required(f"{path}.properties", problem)


def _metadata_causes(schema: Raw, path: str) -> Iterator[Cause]:
    properties = set(schema.get("properties") or ())
    others = set(schema) - {"type", "properties", "description", "default"}
    if schema.get("type") != "object":
        yield invalid_value(f"{path}.type", go_quoted(schema.get("type") or ""), "must be object")
    if others or not properties <= {"name", "generateName"}:
        problem = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield forbidden_value(path, problem)


def _default_causes(schema: Raw, path: str) -> Iterator[Cause]:
    if schema.get("default") is not None:
        yield from value_causes(schema_of_crd(schema), schema["default"], f"{path}.default")
    for inner, where in _parts(schema, path):
        yield from _default_causes(inner, where)


def _type_causes(schema: Raw, path: str) -> Iterator[Cause]:
    type_name = schema.get("type") or ""
    if type_name and type_name not in _TYPES:
        yield unsupported(f"{path}.type", type_name, _TYPES)
    if schema.get("properties") and schema.get("additionalProperties") is not None:
        problem = "additionalProperties and properties are mutual exclusive"
        yield forbidden_value(f"{path}.additionalProperties", problem)
    yield from list_form_causes(schema, path)
    yield from rule_form_causes(schema, path)
    for inner, where in (*_parts(schema, path), *combined(schema, path)):
        yield from _type_causes(inner, where)


def _parts(schema: Raw, path: str) -> Iterator[tuple[Raw, str]]:
    """The schemas of what a value contains, each with its path."""
    for name, value in (schema.get("properties") or {}).items():
        yield value, f"{path}.properties[{name}]"
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield schema[name], f"{path}.{name}"
