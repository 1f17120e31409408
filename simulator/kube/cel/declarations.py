"""The types that expressions are checked against, made of schemas.

An object becomes a protobuf message, because that is how the library is told which fields there are.
"""

from typing import TYPE_CHECKING, TypeAlias

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    struct_pb2,
    timestamp_pb2,
)

from simulator.kube.cel.exposure import seen_properties
from simulator.kube.cel.function import OWN_TYPES, CelError
from simulator.kube.schema.model import Schema

if TYPE_CHECKING:
    _FieldType: TypeAlias = descriptor_pb2.FieldDescriptorProto.Type.ValueType

_FIELD = descriptor_pb2.FieldDescriptorProto
_WELL_KNOWN = (duration_pb2, struct_pb2, timestamp_pb2)
_SCALARS = {
    "string": (_FIELD.TYPE_STRING, "string"),
    "boolean": (_FIELD.TYPE_BOOL, "bool"),
    "number": (_FIELD.TYPE_DOUBLE, "double"),
    "integer": (_FIELD.TYPE_INT64, "int"),
}
_TIMESTAMP = "google.protobuf.Timestamp"
_OF_FORMAT: "dict[str, tuple[_FieldType | str, str]]" = {
    "byte": (_FIELD.TYPE_BYTES, "bytes"),
    "date": (_TIMESTAMP, "timestamp"),
    "date-time": (_TIMESTAMP, "timestamp"),
    "duration": ("google.protobuf.Duration", "duration"),
}
_ANYTHING = ("google.protobuf.Value", "dyn")
_LIST, _MAP = "google.protobuf.ListValue", "google.protobuf.Struct"
ROOT = "selfType"
"""The name of the type of `self`, which the real server follows with a number that changes."""


class Declarations:
    """The type of one schema, as it is written in CEL, and all within it.

    `shown` has the real server's names of the messages.

    Raises:
        CelError: an object has more fields than a message can have, which is some thousands.
    """

    def __init__(self, schema: Schema, *, is_resource: bool) -> None:
        self.shown: dict[str, str] = {}
        self._file = descriptor_pb2.FileDescriptorProto(
            name="self.proto", syntax="proto2", dependency=[module.DESCRIPTOR.name for module in _WELL_KNOWN]
        )
        self.type = self._type(schema, ROOT, is_resource=is_resource)
        self.pool = own_types()
        try:
            self.pool.AddSerializedFile(self._file.SerializeToString())
        except TypeError as error:
            raise CelError(str(error)) from error

    def _type(self, schema: Schema, shown: str, *, is_resource: bool) -> str:
        if schema.type == "array" and not schema.int_or_string and schema.items is not None:
            return f"list<{self._type(schema.items, f'{shown}.@idx', is_resource=schema.items.embedded)}>"
        if schema.type != "object" or schema.int_or_string:
            return _scalar(schema)[1]
        if schema.additional is not None:
            of_value = self._type(schema.additional, f"{shown}.@elem", is_resource=schema.additional.embedded)
            return f"map<string, {of_value}>"
        return self._message(schema, shown, is_resource=is_resource)

    def _message(self, schema: Schema, shown: str, *, is_resource: bool) -> str:
        name = f"{ROOT}_{len(self.shown)}"
        self.shown[name] = shown
        message = descriptor_pb2.DescriptorProto(name=name)
        message.options.deprecated_legacy_json_field_conflicts = True  # names need not differ by more than their case
        properties = seen_properties(schema, is_resource=is_resource).items()
        fields = [(field, name, prop) for name, (fields, prop) in properties for field in fields]
        for number, (field, property_name, prop) in enumerate(fields, 1):
            self._add_field(message, field, number, prop, f"{shown}.{property_name}")
        self._file.message_type.append(message)
        return name

    def _add_field(
        self, message: descriptor_pb2.DescriptorProto, name: str, number: int, schema: Schema, shown: str
    ) -> None:
        added = message.field.add(name=name, number=number, json_name=f"f{number}", label=_FIELD.LABEL_OPTIONAL)
        if schema.type == "array" and not schema.int_or_string and schema.items is not None:
            added.label = _FIELD.LABEL_REPEATED
            _set_type(added, self._element(schema.items, f"{shown}.@idx"))
        elif schema.type == "object" and not schema.int_or_string and schema.additional is not None:
            self._set_map_type(message, added, schema.additional, f"{shown}.@elem")
        else:
            _set_type(added, self._element(schema, shown))

    def _set_map_type(
        self,
        message: descriptor_pb2.DescriptorProto,
        field: descriptor_pb2.FieldDescriptorProto,
        schema: Schema,
        shown: str,
    ) -> None:
        entry = "".join(part[:1].upper() + part[1:] for part in field.name.split("_")) + "Entry"
        if any(other.name == entry for other in message.nested_type):
            _set_type(field, _MAP)  # the name is not ours to choose, and `a_b` and `aB` give the same
            return
        pair = message.nested_type.add(name=entry)
        pair.options.map_entry = True
        pair.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
        value = pair.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL)
        _set_type(value, self._element(schema, shown))
        field.label = _FIELD.LABEL_REPEATED
        _set_type(field, f"{message.name}.{entry}")

    def _element(self, schema: Schema, shown: str) -> "_FieldType | str":
        """The protobuf type of one value; of lists and maps within others it cannot say what is in them."""
        if schema.int_or_string or schema.type not in ("array", "object"):
            return _scalar(schema)[0]
        if schema.type == "array" or schema.additional is not None:
            return _LIST if schema.type == "array" else _MAP
        return self._message(schema, shown, is_resource=schema.embedded)


def own_types() -> descriptor_pool.DescriptorPool:
    """The types that Kubernetes' functions work on."""
    pool = descriptor_pool.DescriptorPool()
    for module in _WELL_KNOWN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for own in OWN_TYPES:
        package, _, name = own.rpartition(".")
        file = descriptor_pb2.FileDescriptorProto(name=f"{own}.proto", package=package, syntax="proto3")
        file.message_type.add(name=name)
        pool.AddSerializedFile(file.SerializeToString())
    return pool


def _scalar(schema: Schema) -> "tuple[_FieldType | str, str]":
    if schema.int_or_string:
        return _ANYTHING
    if schema.type == "string":
        return _OF_FORMAT.get(schema.format, _SCALARS["string"])
    return _SCALARS.get(schema.type, _ANYTHING)


def _set_type(field: descriptor_pb2.FieldDescriptorProto, of: "_FieldType | str") -> None:
    if isinstance(of, str):
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{of}"
    else:
        field.type = of
