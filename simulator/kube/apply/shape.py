"""How the values of a schema are merged: which of them are one field, and which are looked into.

A value that is looked into is granular, and each part of it has a manager of its own; an atomic value has one manager.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

from simulator.kube.apply.fields import keyed_item, set_item
from simulator.kube.kinds import Kind
from simulator.kube.schema.builtin import definitions
from simulator.kube.schema.model import ANY, NO_DEFAULT, Schema

Form = Literal["map", "list", "scalar"]
Scalar = Literal["numeric", "string", "boolean", "untyped", ""]

_OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_RAW_EXTENSION: Final = "io.k8s.apimachinery.pkg.runtime.RawExtension"
_TEXT: Final = Schema(type="string")
_ZEROS: Final[Mapping[str, Any]] = {"string": "", "integer": 0, "number": 0, "boolean": False}


class Shape:
    """How one value is merged. `structured` says that the real server holds the object as a Go struct.

    A struct always has some of its fields, and never others while they are empty; `members` shows a value so.
    """

    def __init__(self, schema: Schema, *, structured: bool = False, preserve: bool = False) -> None:
        untyped = not schema.type
        opaque = schema.title == _RAW_EXTENSION
        self.scalar: Scalar = _scalar(schema)
        self.is_list = untyped or opaque or schema.type == "array"
        self.is_map = untyped or schema.type == "object"
        self.list_atomic, self.list_keys = _list_relationship(schema)
        self.map_atomic = opaque or schema.map_type == "atomic"
        self._schema = schema
        self._structured = structured
        self._preserve = preserve or schema.preserve_unknown
        self._fields: dict[str, Shape | None] = {}
        self._items: Shape | None = None
        self._always = _always_present(schema) if structured else {}
        self._left_out = _left_out_when_zero(schema) if structured else frozenset[str]()

    def form(self, value: Any) -> Form:
        """As what the value is merged; for null, or where it does not fit, as what the schema says first."""
        match value:
            case dict() if self.is_map:
                return "map"
            case list() if self.is_list:
                return "list"
            case None | dict() | list():
                pass
            case _ if self.scalar:
                return "scalar"
        return "map" if self.is_map else "scalar" if self.scalar else "list"

    def declares(self, name: str) -> bool:
        """Whether the schema names this field, rather than to allow any name."""
        return name in self._schema.properties

    def field(self, name: str) -> "Shape | None":
        """The shape of a field, None if there must not be one of that name."""
        if name not in self._fields:
            schema = self._schema.properties.get(name) or self._other_fields()
            self._fields[name] = None if schema is None else self._below(schema)
        return self._fields[name]

    def items(self) -> "Shape":
        """The shape of a list's items."""
        if self._items is None:
            self._items = self._below(self._schema.items or ANY)
        return self._items

    def below(self, step: str) -> "Shape | None":
        """The shape of what a step of a path leads to."""
        return self.field(step[2:]) if step.startswith("f:") else self.items() if self.is_list else None

    def members(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields that the real server sees in an object."""
        if not self._structured or not (self._always or self._left_out):
            return value
        shown = {name: held for name, held in value.items() if held or name not in self._left_out}
        for name, empty in self._always.items():
            if shown.get(name) is None:
                shown[name] = empty
        return shown

    def item_step(self, item: Any) -> str:
        """The step of a path to an item of a granular list.

        Raises:
            ValueError: The item has no key, or is no value that a set can hold.
        """
        if not self.list_keys:
            return _set_step(item)
        if item is None:
            raise ValueError("associative list with keys may not have a null element")
        if not isinstance(item, dict):
            raise ValueError("associative list with keys may not have non-map elements")
        key = {name: item[name] if name in item else self._key_default(name) for name in self.list_keys}
        key = {name: value for name, value in key.items() if value is not NO_DEFAULT}
        if not key:
            names = " ".join(f'"{name}"' for name in self.list_keys)
            raise ValueError(
                f"associative list with keys has an element that omits all key fields [{names}] "
                "(and doesn't have default values for any key fields)"
            )
        return keyed_item(key)

    def _key_default(self, name: str) -> Any:
        schema = (self._schema.items or ANY).properties.get(name)
        return NO_DEFAULT if schema is None or schema.default is None else schema.default

    def _other_fields(self) -> Schema | None:
        if self._schema.additional is not None:
            return self._schema.additional
        return ANY if self._preserve or not self._schema.properties else None

    def _below(self, schema: Schema) -> "Shape":
        if schema.embedded:
            schema = _as_object(schema)
        return Shape(schema, structured=self._structured, preserve=self._preserve)


def shape_of(kind: Kind, schema: Schema) -> Shape:
    """The shape of a kind's objects, as the real server holds them."""
    return _shape(schema, kind.custom, not kind.custom)


def shape_as_sent(kind: Kind, schema: Schema) -> Shape:
    """The shape of a kind's objects as clients send them: what is there is there, even if it is empty."""
    return _shape(schema, kind.custom, False)


@lru_cache(maxsize=256)
def _shape(schema: Schema, custom: bool, structured: bool) -> Shape:
    return Shape(_as_object(schema) if custom else schema, structured=structured)


def _as_object(schema: Schema) -> Schema:
    """The schema with what every object has, which that of a CustomResourceDefinition leaves open."""
    own = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": definitions().schema(_OBJECT_META)}
    return Schema(
        type="object",
        properties=MappingProxyType({**schema.properties, **own}),
        additional=schema.additional,
        preserve_unknown=schema.preserve_unknown,
        map_type=schema.map_type,
    )


def _scalar(schema: Schema) -> Scalar:
    match schema.type:
        case "object" | "array":
            return ""
        case "integer" | "number":
            return "numeric"
        case "boolean":
            return "boolean"
        case "string" if schema.format in ("", "byte"):
            return "string"
    return "untyped"


def _list_relationship(schema: Schema) -> tuple[bool, tuple[str, ...]]:
    """Whether a list is atomic, and the keys of its items if it is not; a granular list without keys is a set."""
    match schema.list_type:
        case "set":
            return False, ()
        case "map":
            return False, schema.list_map_keys
        case "" if "merge" in schema.patch_strategy:
            return False, (schema.patch_merge_key,) if schema.patch_merge_key else ()
    return True, ()


def _always_present(schema: Schema) -> dict[str, Any]:
    """The fields that a struct has even if nobody set them, and how they look then."""
    present: dict[str, Any] = {}
    for name, held in schema.properties.items():
        if held.go is None:
            continue
        if not held.go.pointer and held.type == "object" and held.properties:
            present[name] = {}
        elif not held.go.omit_empty:
            zero = None if held.go.pointer or held.format == "date-time" else _ZEROS.get(held.type)
            present[name] = zero
    return present


def _left_out_when_zero(schema: Schema) -> frozenset[str]:
    return frozenset(
        name for name, held in schema.properties.items() if held.go and held.go.omit_empty and not held.go.pointer
    )


def _set_step(item: Any) -> str:
    match item:
        case dict():
            raise ValueError("associative list without keys has an element that's a map type")
        case list():
            raise ValueError("not supported: associative list with lists as elements")
        case None:
            raise ValueError("associative list without keys has an element that's an explicit null")
    return set_item(item)
