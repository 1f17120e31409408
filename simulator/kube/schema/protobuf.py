"""From bodies in Protocol Buffers, which Go clients such as kubectl send where they know a kind's type, to their JSON.

Pure functions. The JSON is what the same client would have sent instead: Go's for the same struct.
"""

import binascii
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from simulator.kube.kinds import Object
from simulator.kube.schema.go_json import DecodeError, JsonError, parse, plain, plain_number
from simulator.kube.schema.protobuf_messages import SPECIAL_MESSAGES, Field, Message, definition_path, message
from simulator.kube.schema.protobuf_wire import Budget, ProtobufError, Raw, fields_of, float_of, signed

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_MAX_DEPTH: Final = 100
"""Messages within each other; those of a pod are about ten. Reading each takes several frames of the stack."""
MAX_FIELDS: Final = 300_000
"""Of one body, with those that JSON has and the message does not. A ConfigMap of the largest size, with keys and values
of ten letters, has half of them."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A body out of its envelope: what it says it is, which may be empty, and the message itself."""

    api_version: str
    kind: str
    raw: memoryview


def opened(body: bytes) -> Envelope:
    """Take a body out of its envelope.

    Raises:
        ProtobufError: it is in none, or in a broken one.
    """
    if not body:
        raise ProtobufError("empty data")
    if not body.startswith(_MAGIC):
        shown = " ".join(str(byte) for byte in _MAGIC)
        raise ProtobufError(f"provided data does not appear to be a protobuf message, expected prefix [{shown}]")
    if len(body) == len(_MAGIC):
        raise ProtobufError("empty body")
    reader = _Reader()
    found = reader.fields(SPECIAL_MESSAGES["Unknown"], [memoryview(body)[len(_MAGIC) :]])
    type_meta = reader.object("TypeMeta", _pieces(found.get(1, [])))
    raw = _pieces(found.get(2, []))
    return Envelope(type_meta["apiVersion"], type_meta["kind"], raw[-1] if raw else memoryview(b""))


def read_message(definition: str, raw: memoryview) -> Object:
    """The message of an OpenAPI definition as JSON, without `apiVersion` and `kind`, which only the envelope has.

    Raises:
        ProtobufError: it is broken, or nested too deeply, or holds what has no JSON.
        KeyError: clients do not send any of that definition.
    """
    return _Reader().object(definition_path(definition), [raw])


def has_message(definition: str) -> bool:
    """Whether clients may send one of that definition."""
    try:
        message(definition_path(definition))
    except KeyError:
        return False
    return True


class _Reader:
    """One reading of a body, whose fields and whose depth are bounded."""

    def __init__(self) -> None:
        self._budget = Budget(MAX_FIELDS)
        self._depth = 0

    def fields(self, described: Message, pieces: Iterable[memoryview]) -> dict[int, list[Raw]]:
        return fields_of(described, pieces, self._budget)

    def object(self, name: str, pieces: Iterable[memoryview]) -> Object:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ProtobufError("the object is nested too deeply")
        described = message(name)
        self._budget.spend(len(described.always))
        found = self.fields(described, pieces)
        result: Object = {}
        for number in sorted(described.always | found.keys(), key=described.order.__getitem__):
            field = described.by_number[number]
            value = self._field(field, found.get(number, []))
            if not field.name:
                result |= value
            elif not _left_out(field, value):
                result[field.name] = value
        self._depth -= 1
        return result

    def _field(self, field: Field, values: list[Raw]) -> Any:
        if "l" in field.flags:
            return [self._value(field.type, [value]) for value in values] or None
        if "m" in field.flags:
            return dict(self._entry(field.type, piece) for piece in _pieces(values)) or None
        if not values and "p" in field.flags:
            return None
        return self._value(field.type, values)

    def _entry(self, type_name: str, piece: memoryview) -> tuple[str, Any]:
        described = _entry_message(type_name)
        found = self.fields(described, [piece])
        key, value = (self._value(field.type, found.get(field.number, [])) for field in described.fields)
        return key, value

    def _value(self, type_name: str, values: list[Raw]) -> Any:
        """What a field holds that is not there more than once; of a message, all times are pieces of one."""
        if type_name in _SCALARS:
            return _SCALARS[type_name](values[-1]) if values else _zero(type_name)
        fields = self.object(type_name, _pieces(values))
        return _SHAPES[type_name](fields) if type_name in _SHAPES else fields


def _left_out(field: Field, value: Any) -> bool:
    """Whether Go's JSON leaves the field out: what is empty and not a pointer to that."""
    if not field.may_be_left_out:
        return False
    return value is None or ("p" not in field.flags and field.type in _SCALARS and value == _zero(field.type))


@cache
def _entry_message(type_name: str) -> Message:
    return Message("", [Field(1, "key", "string"), Field(2, "value", type_name)])


def _pieces(values: Iterable[Raw]) -> list[memoryview]:
    return [value for value in values if isinstance(value, memoryview)]


def _zero(type_name: str) -> Any:
    return {"string": "", "[]byte": "", "bool": False, "json": None}.get(type_name, 0)


def _bytes(value: Raw) -> bytes:
    return b"" if isinstance(value, int) else bytes(value)


def _number(value: Raw, bits: int) -> int:
    return signed(value, bits) if isinstance(value, int) else 0


def _float(value: Raw) -> float:
    number = float_of(_bytes(value))
    if not math.isfinite(number):
        raise ProtobufError(f"json: unsupported value: {number}")
    return plain_number(number)


def _json(value: Raw) -> Any:
    try:
        return plain(parse(_bytes(value))) if value else None
    except (JsonError, DecodeError) as error:
        raise ProtobufError(str(error)) from error


_SCALARS: Final[Mapping[str, Callable[[Raw], Any]]] = {
    "string": lambda value: _bytes(value).decode(errors="replace"),
    "[]byte": lambda value: binascii.b2a_base64(_bytes(value), newline=False).decode(),
    "bool": bool,
    "int32": lambda value: _number(value, 32),
    "int64": lambda value: _number(value, 64),
    "float64": _float,
    "json": _json,
}


def _time(fields: Object, precision: str = "seconds") -> str | None:
    if fields["seconds"] is None and fields["nanos"] is None:
        return None
    nanos = 0 if precision == "seconds" else fields["nanos"] or 0
    try:
        moment = _EPOCH + timedelta(seconds=fields["seconds"] or 0, microseconds=math.trunc(nanos / 1000))
    except OverflowError as error:
        raise ProtobufError("a time is not of the years 1 to 9999") from error
    return None if moment == _ZERO_TIME else moment.isoformat(timespec=precision).replace("+00:00", "Z")


def _int_or_string(fields: Object) -> Any:
    if fields["type"] not in (0, 1):
        raise ProtobufError("impossible IntOrString.Type")
    return fields["strVal"] if fields["type"] else fields["intVal"]


_SHAPES: Final[Mapping[str, Callable[[Object], Any]]] = {
    **dict.fromkeys(("FieldsV1", "JSON", "RawExtension"), lambda fields: fields["raw"]),
    "ExtraValue": lambda fields: fields["items"],
    "IntOrString": _int_or_string,
    "JSONSchemaPropsOrArray": lambda fields: fields.get("jSONSchemas") or fields.get("schema"),
    "JSONSchemaPropsOrBool": lambda fields: fields.get("schema", fields["allows"]),
    "JSONSchemaPropsOrStringArray": lambda fields: fields.get("property") or fields.get("schema"),
    "MicroTime": lambda fields: _time(fields, "microseconds"),
    "Quantity": lambda fields: "0" if fields["string"] is None else fields["string"],
    "Time": _time,
}
"""What becomes of the fields of those messages whose JSON is another."""
