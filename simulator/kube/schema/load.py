"""Makes schemas of the `openAPIV3Schema` of a CustomResourceDefinition, and of OpenAPI v3 definitions."""

from collections.abc import Callable, ItemsView, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from simulator.kube.schema.model import GoField, Limits, Rule, Schema

Raw = Mapping[str, Any]
"""A schema as JSON."""

REFERENCE = "#/components/schemas/"

_FORMATS: dict[str, dict[str, Any]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"format": "quantity"},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"format": "int-or-string", "int_or_string": True},
}
"""Definitions whose JSON is not that of their type."""


def schema_of_crd(raw: Raw) -> Schema:
    """The schema of an `openAPIV3Schema`, which refers to nothing."""
    return _made(raw, _no_definitions)


class Definitions:
    """The schemas of OpenAPI definitions that refer to each other, each made when it is first asked for.

    `go` has for each definition its fields, as `go_types.Field` has them; empty ones at the end are left out.
    """

    def __init__(self, raw: Mapping[str, Raw], go: Mapping[str, Mapping[str, list[str]]]) -> None:
        self.raw = raw
        self._go = go
        self._made: dict[str, Schema] = {}

    def schema(self, name: str) -> Schema:
        """The schema of the definition `name`.

        Raises:
            KeyError: there is none of that name.
        """
        if name in self._made:
            return self._made[name]
        raw = self.raw[name]
        go = self._go.get(name, {})
        outline = _made({key: value for key, value in raw.items() if key != "properties"}, self.schema)
        open_ended = outline.type in ("", "object") and not raw.get("properties") and outline.additional is None
        schema = replace(
            outline,
            title=name,
            properties=_FieldsLater(
                lambda: {
                    field: _with_go(_made(value, self.schema), go.get(field))
                    for field, value in raw.get("properties", {}).items()
                }
            ),
            preserve_unknown=open_ended and name not in _FORMATS,
            **_FORMATS.get(name, {}),
        )
        self._made[name] = schema
        return schema


class _FieldsLater(Mapping[str, Schema]):
    """The fields of a definition, made when they are first asked for.

    A definition may contain itself, and hardly any object has all that its kind could have.
    """

    def __init__(self, make: Callable[[], dict[str, Schema]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> dict[str, Schema]:
        return self._make()

    def __getitem__(self, name: str) -> Schema:
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)

    def get(self, name: str, default: Any = None) -> Any:
        """The schema of a field."""
        return self._made.get(name, default)

    def items(self) -> ItemsView[str, Schema]:
        """The fields."""
        return self._made.items()


def _no_definitions(name: str) -> Schema:
    raise KeyError(name)


def _with_go(schema: Schema, entry: list[str] | None) -> Schema:
    if entry is None:
        return schema
    type_name, flags, underlying, embedded = (*entry, *[""] * (4 - len(entry)))
    through = tuple(filter(None, embedded.split(".")))
    return _typed(schema, GoField(type_name, "p" in flags, "o" in flags, through), underlying)


def _typed(schema: Schema, go: GoField, underlying: str = "") -> Schema:
    """The schema of a field of that Go type, with the types of what the field contains."""
    contained = (underlying or go.type).removeprefix("[]")
    if contained.startswith("map["):
        contained = contained[contained.index("]") + 1 :]
    element = GoField(contained.removeprefix("*"), contained.startswith("*"))
    items = _typed(schema.items, element) if schema.items else None
    additional = _typed(schema.additional, element) if schema.additional else None
    return replace(schema, go=go, items=items, additional=additional)


def _made(raw: Raw, definition: Callable[[str], Schema]) -> Schema:
    reference, own = _reference(raw)
    if reference is not None:
        return replace(definition(reference), **_annotations(own))

    def made(value: Any) -> Schema | None:
        return _made(value, definition) if isinstance(value, dict) else None

    def all_made(key: str) -> tuple[Schema, ...]:
        return tuple(_made(value, definition) for value in raw.get(key) or ())

    additional = raw.get("additionalProperties")
    return Schema(
        type=raw.get("type") or "",
        format=raw.get("format") or "",
        properties=MappingProxyType(
            {name: _made(value, definition) for name, value in (raw.get("properties") or {}).items()}
        ),
        additional=Schema(preserve_unknown=True) if additional is True else made(additional),
        items=made(raw.get("items")),
        required=tuple(raw.get("required") or ()),
        nullable=bool(raw.get("nullable")),
        limits=_limits(raw),
        all_of=all_made("allOf"),
        any_of=all_made("anyOf"),
        one_of=all_made("oneOf"),
        not_=made(raw.get("not")),
        preserve_unknown=bool(raw.get("x-kubernetes-preserve-unknown-fields")),
        int_or_string=bool(raw.get("x-kubernetes-int-or-string")),
        embedded=bool(raw.get("x-kubernetes-embedded-resource")),
        rules=tuple(map(_rule, raw.get("x-kubernetes-validations") or ())),
        **_annotations(raw),
    )


def _rule(raw: Raw) -> Rule:
    return Rule(
        rule=raw.get("rule") or "",
        message=raw.get("message") or "",
        message_expression=raw.get("messageExpression") or "",
        reason=raw.get("reason") or "",
        field_path=raw.get("fieldPath") or "",
        optional_old_self=bool(raw.get("optionalOldSelf")),
    )


def _reference(raw: Raw) -> tuple[str | None, Raw]:
    """The definition that a schema takes over, if it does, and what it says of its own."""
    match raw:
        case {"$ref": str(reference)}:
            return reference.removeprefix(REFERENCE), raw
        case {"allOf": [{"$ref": str(reference)}]}:
            return reference.removeprefix(REFERENCE), raw
    return None, raw


def _annotations(raw: Raw) -> dict[str, Any]:
    """What is said of a field rather than of its type, as far as it is said."""
    said = {
        "description": raw.get("description"),
        "list_type": raw.get("x-kubernetes-list-type"),
        "list_map_keys": tuple(raw.get("x-kubernetes-list-map-keys") or ()),
        "map_type": raw.get("x-kubernetes-map-type"),
        "patch_strategy": tuple(filter(None, (raw.get("x-kubernetes-patch-strategy") or "").split(","))),
        "patch_merge_key": raw.get("x-kubernetes-patch-merge-key"),
    }
    annotations = {name: value for name, value in said.items() if value}
    return {**annotations, "default": raw["default"]} if "default" in raw else annotations


_LIMITS = {
    "pattern": "pattern",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "exclusive_minimum",
    "exclusiveMaximum": "exclusive_maximum",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "uniqueItems": "unique_items",
    "minProperties": "min_properties",
    "maxProperties": "max_properties",
}


def _limits(raw: Raw) -> Limits | None:
    said = {name: raw[key] for key, name in _LIMITS.items() if raw.get(key) is not None}
    if raw.get("enum"):
        said["enum"] = tuple(raw["enum"])
    return Limits(**said) if said else None
