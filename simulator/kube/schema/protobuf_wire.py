"""The fields of a message of Protocol Buffers as they are in its bytes, and the real server's words for broken ones."""

import struct
from collections.abc import Iterable
from typing import Final

from simulator.kube.schema.protobuf_messages import Field, Message

Raw = int | memoryview
"""A number as it is written, or the bytes of a text, of a message or of a fixed number."""

_VARINT, _FIXED64, _BYTES, _START_GROUP, _END_GROUP, _FIXED32 = range(6)
_WIDTHS: Final = {_FIXED64: 8, _FIXED32: 4}
_WIRE_TYPES: Final = {"bool": _VARINT, "int32": _VARINT, "int64": _VARINT, "float64": _FIXED64}
"""Of the scalars; whatever is not here is bytes."""
_LONGEST_VARINT: Final = 10
_BROKEN_OFF: Final = "unexpected EOF"


class ProtobufError(ValueError):
    """The bytes are no such message; the message of the error is the real server's."""


class Budget:
    """How many fields may still be made: a message takes two bytes, but its object takes some hundred."""

    def __init__(self, fields: int) -> None:
        self._left = fields

    def spend(self, fields: int = 1) -> None:
        """Take some off.

        Raises:
            ProtobufError: there are not so many left.
        """
        self._left -= fields
        if self._left < 0:
            raise ProtobufError("the object has too many fields")


def fields_of(message: Message, pieces: Iterable[memoryview], budget: Budget) -> dict[int, list[Raw]]:
    """What a message holds by the numbers of its fields, in the order of the bytes; others are skipped.

    A message that is written in several `pieces` is all that they hold.

    Raises:
        ProtobufError: it is broken, or has more fields than the budget.
    """
    found: dict[int, list[Raw]] = {}
    for data in pieces:
        place = 0
        while place < len(data):
            budget.spend()
            tag, after = _varint(data, place)
            number, wire_type = signed(tag >> 3, 32), tag & 7
            if wire_type == _END_GROUP:
                raise ProtobufError(f"proto: {message.name}: wiretype end group for non-group")
            if number <= 0:
                raise ProtobufError(f"proto: {message.name}: illegal tag {number} (wire type {tag})")
            field = message.by_number.get(number)
            if field is None:
                place = _skipped(data, place)
                continue
            place = _read(field, wire_type, data, after, found.setdefault(number, []))
    return found


def signed(value: int, bits: int) -> int:
    """The lowest bits of a number as a signed one."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def float_of(data: bytes) -> float:
    """The number that eight bytes are."""
    number: float = struct.unpack("<d", data)[0]
    return number


def _read(field: Field, wire_type: int, data: memoryview, place: int, values: list[Raw]) -> int:
    """Add what a field holds at `place` to its values.

    Returns:
        The place after it.
    """
    of_map, of_list = "m" in field.flags, "l" in field.flags
    wanted = _BYTES if of_map else _WIRE_TYPES.get(field.type, _BYTES)
    packed = of_list and wire_type == _BYTES != wanted
    if wire_type != wanted and not packed:
        raise ProtobufError(f"proto: wrong wireType = {wire_type} for field {field.shown}")
    value, place = _value(wire_type, data, place)
    if packed and isinstance(value, memoryview):
        within = 0
        while within < len(value):
            item, within = _value(wanted, value, within)
            values.append(item)
    else:
        values.append(value)
    return place


def _value(wire_type: int, data: memoryview, place: int) -> tuple[Raw, int]:
    if wire_type == _VARINT:
        return _varint(data, place)
    if wire_type == _BYTES:
        length, place = _varint(data, place)
        if signed(length, 64) < 0:
            raise ProtobufError("proto: negative length found during unmarshaling")
    else:
        length = _WIDTHS[wire_type]
    if place + length > len(data):
        raise ProtobufError(_BROKEN_OFF)
    return data[place : place + length], place + length


def _skipped(data: memoryview, place: int) -> int:
    """The place after a field that is not known, which may be a group of fields."""
    groups = 0
    while place < len(data):
        tag, place = _varint(data, place)
        match tag & 7:
            case wire_type if wire_type in (_VARINT, _BYTES, *_WIDTHS):
                _, place = _value(wire_type, data, place)
            case wire_type if wire_type == _START_GROUP:
                groups += 1
            case wire_type if wire_type == _END_GROUP:
                groups -= 1
            case wire_type:
                raise ProtobufError(f"proto: illegal wireType {wire_type}")
        if groups == 0:
            return place
    raise ProtobufError(_BROKEN_OFF)


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[place : place + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + shift + 1
    raise ProtobufError(_BROKEN_OFF if len(data) - place < _LONGEST_VARINT else "proto: integer overflow")
