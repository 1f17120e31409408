"""The document at `/openapi/v2` in Protocol Buffers, the only form in which kubectl reads it.

kubectl checks a `List` against it before it sends the items. The messages are those of gnostic's `openapi.v2`; there
are no operations in the document, and so none in the bytes.
"""

import struct
from typing import Any, Final

import msgspec

from simulator.kube.kinds import Object

MEDIA_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_VARINT, _DOUBLE, _BYTES = 0, 1, 2
_TEXTS: Final = {"$ref": 1, "format": 2, "title": 3, "description": 4, "pattern": 13}
_NUMBERS: Final = {"maximum": 7, "minimum": 9}
_COUNTS: Final = {
    "maxLength": 11,
    "minLength": 12,
    "maxItems": 14,
    "minItems": 15,
    "maxProperties": 17,
    "minProperties": 18,
}
_EXTENSION: Final = "x-kubernetes-"


def in_protobuf(document: Object) -> bytes:
    """The document's version, information and definitions as a message `Document`."""
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    definitions = _named_schemas(document["definitions"])
    return _text(1, document["swagger"]) + _bytes(2, info) + _bytes(8, b"") + _bytes(9, definitions)


def _schema(schema: Object) -> bytes:
    parts = [_text(number, schema[name]) for name, number in _TEXTS.items() if name in schema]
    parts += [
        _tag(number, _DOUBLE) + struct.pack("<d", schema[name]) for name, number in _NUMBERS.items() if name in schema
    ]
    parts += [_tag(number, _VARINT) + _varint(schema[name]) for name, number in _COUNTS.items() if name in schema]
    if "default" in schema:
        parts.append(_bytes(5, _any(schema["default"])))
    parts += [_text(19, name) for name in schema.get("required", ())]
    parts += [_bytes(20, _any(value)) for value in schema.get("enum", ())]
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        parts.append(_bytes(21, _bytes(1, _schema(additional))))
    elif additional is not None:
        parts.append(_bytes(21, _tag(2, _VARINT) + _varint(additional)))
    if "type" in schema:
        parts.append(_bytes(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_bytes(23, _bytes(1, _schema(schema["items"]))))
    if "properties" in schema:
        parts.append(_bytes(25, _named_schemas(schema["properties"])))
    for name, value in schema.items():
        if name.startswith(_EXTENSION):
            parts.append(_bytes(31, _text(1, name) + _bytes(2, _any(value))))
    return b"".join(parts)


def _named_schemas(schemas: Object) -> bytes:
    return b"".join(_bytes(1, _text(1, name) + _bytes(2, _schema(schema))) for name, schema in schemas.items())


def _any(value: Any) -> bytes:
    """A value as YAML, of which JSON is a part."""
    return _bytes(2, msgspec.json.encode(value) + b"\n")


def _text(number: int, text: str) -> bytes:
    return _bytes(number, text.encode())


def _double(number: int, value: float) -> bytes:
    return _tag(number, _DOUBLE) + struct.pack("<d", value)


def _bytes(number: int, content: bytes) -> bytes:
    return _tag(number, _BYTES) + _varint(len(content)) + content


def _tag(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
