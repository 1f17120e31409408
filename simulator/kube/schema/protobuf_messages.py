"""What the messages of Protocol Buffers that clients send consist of, from a data file of ours that `compile` makes."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

DATA = Path(__file__).with_name("protobuf.json")
_DEFINITIONS: Final = "io.k8s."
_JSON_SCHEMA: Final = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"

SCALARS: Final = frozenset({"string", "[]byte", "bool", "int32", "int64", "float64", "json"})
"""Types that are no messages, by their names in Go; `json` is one of our own, for bytes that are JSON."""


class Field(msgspec.Struct, array_like=True, frozen=True):
    """A field of a message.

    `name` is empty where the fields of the message that it holds are fields of the object itself. `type` is one of
    `SCALARS`, the name of one of `SPECIAL_MESSAGES`, or the path of a message of the data. `flags` holds `l` for a list
    of them, `m` for a map from texts, `p` for one that can be nil, `o` where an empty value is left out of the JSON,
    `z` where nothing but null is. `go_name` is how the real server calls it, empty if that is `name` with a capital.
    """

    number: int
    name: str
    type: str
    flags: str = ""
    go_name: str = ""

    @property
    def shown(self) -> str:
        """How the real server calls it in its messages."""
        return self.go_name or self.name[:1].upper() + self.name[1:]

    @property
    def may_be_left_out(self) -> bool:
        """Whether it is not in the JSON where the message does not have it; Go never leaves out a struct."""
        without_struct = self.type in SCALARS or not set(self.flags).isdisjoint("plm")
        return "z" in self.flags or ("o" in self.flags and without_struct)


class Message:
    """The fields of a message, in the order in which JSON has them; `name` is what the real server calls it.

    `order` has the places of the fields by their numbers, `always` the numbers of those that the JSON always has.
    """

    def __init__(self, name: str, fields: list[Field]) -> None:
        self.name = name
        self.fields = fields
        self.by_number: Mapping[int, Field] = {field.number: field for field in fields}
        self.order: Mapping[int, int] = {field.number: place for place, field in enumerate(fields)}
        self.always = frozenset(field.number for field in fields if not field.may_be_left_out)


def _message(name: str, *fields: Field) -> Message:
    return Message(name, list(fields))


_TIMESTAMP: Final = (Field(1, "seconds", "int64", "p"), Field(2, "nanos", "int32", "p"))
_RAW: Final = Field(1, "raw", "json")
SPECIAL_MESSAGES: Final[Mapping[str, Message]] = {
    "ExtraValue": _message("ExtraValue", Field(1, "items", "string", "l")),
    "FieldsV1": _message("FieldsV1", _RAW),
    "IntOrString": _message(
        "IntOrString", Field(1, "type", "int64"), Field(2, "intVal", "int32"), Field(3, "strVal", "string")
    ),
    "JSON": _message("JSON", _RAW),
    "JSONSchemaPropsOrArray": _message(
        "JSONSchemaPropsOrArray",
        Field(1, "schema", _JSON_SCHEMA, "po"),
        Field(2, "jSONSchemas", _JSON_SCHEMA, "lo", "JSONSchemas"),
    ),
    "JSONSchemaPropsOrBool": _message(
        "JSONSchemaPropsOrBool", Field(1, "allows", "bool"), Field(2, "schema", _JSON_SCHEMA, "po")
    ),
    "JSONSchemaPropsOrStringArray": _message(
        "JSONSchemaPropsOrStringArray",
        Field(1, "schema", _JSON_SCHEMA, "po"),
        Field(2, "property", "string", "lo"),
    ),
    "MicroTime": _message("Timestamp", *_TIMESTAMP),
    "Quantity": _message("Quantity", Field(1, "string", "string", "p", "String_")),
    "RawExtension": _message("RawExtension", _RAW),
    "Time": _message("Timestamp", *_TIMESTAMP),
    "TypeMeta": _message(
        "TypeMeta", Field(1, "apiVersion", "string", go_name="APIVersion"), Field(2, "kind", "string")
    ),
    "Unknown": _message("Unknown", Field(1, "typeMeta", "TypeMeta"), Field(2, "raw", "[]byte")),
}
"""Messages whose JSON is not that of their fields, by the names of their structs, and those of the envelope."""


def definition_path(definition: str) -> str:
    """The path by which the data has the message of an OpenAPI definition."""
    return definition.removeprefix(_DEFINITIONS)


def message(name: str) -> Message:
    """A message by its path, or a special one by its name.

    Raises:
        KeyError: there is none.
    """
    return SPECIAL_MESSAGES.get(name) or _of_data(name)


@cache
def _of_data(path: str) -> Message:
    return Message(path.rpartition(".")[2], _data()[path])


@cache
def _data() -> dict[str, list[Field]]:
    return msgspec.json.decode(DATA.read_bytes(), type=dict[str, list[Field]])
