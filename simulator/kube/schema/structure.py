"""Whether the schema of a CustomResourceDefinition is structural: every value says of which type it is."""

from collections.abc import Iterator

from simulator.kube.go_text import go_quoted
from simulator.kube.schema.load import Raw, schema_of_crd
from simulator.kube.schema.validation import value_causes
from simulator.kube.status import Cause, forbidden_value, invalid_value, required

_TYPES = ("array", "boolean", "integer", "number", "object", "string")


def structure_causes(schema: Raw, path: str) -> list[Cause]:
    """What is wrong with an `openAPIV3Schema`, which stands at `path`."""
    structural = sorted(_causes(schema, path, "root"), key=lambda cause: f"{cause.field}: {cause.message}")
    defaults = [] if structural else list(_default_causes(schema, path))
    return [*structural, *defaults, *_type_causes(schema, path)]


_PLACES = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def _causes(schema: Raw, path: str, place: str) -> Iterator[Cause]:
    yield from _own_causes(schema, path, place)
    yield from _extension_causes(schema, path)
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
        problem = "must be false if x-kubernetes-int-or-string is true"
        yield invalid_value(f"{path}.x-kubernetes-preserve-unknown-fields", "true", problem)
    if schema.get("x-kubernetes-list-type") == "map" and not schema.get("x-kubernetes-list-map-keys"):
        problem = "must not be empty if x-kubernetes-list-type is map"
        yield required(f"{path}.x-kubernetes-list-map-keys", problem)
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
        supported = ", ".join(map(go_quoted, _TYPES))
        problem = f"Unsupported value: {go_quoted(type_name)}: supported values: {supported}"
        yield Cause("FieldValueNotSupported", problem, f"{path}.type")
    if schema.get("properties") and schema.get("additionalProperties") is not None:
        problem = "additionalProperties and properties are mutual exclusive"
        yield forbidden_value(f"{path}.additionalProperties", problem)
    for inner, where in _parts(schema, path):
        yield from _type_causes(inner, where)


def _parts(schema: Raw, path: str) -> Iterator[tuple[Raw, str]]:
    """The schemas of what a value contains, each with its path."""
    for name, value in (schema.get("properties") or {}).items():
        yield value, f"{path}.properties[{name}]"
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield schema[name], f"{path}.{name}"
