"""Reads a JSON value into the types of a built-in kind, as the real server's decoder does, and in its words.

That decoder goes through the text once: it drops fields that it does not know, and remembers them for strict
validation; the first value of a wrong type fails the whole, but one that its type itself refuses (a quantity, a time)
ends the reading at once.
"""

import binascii
from collections.abc import Iterable
from typing import Any

from simulator.kube.builtin.quantities import QuantityError, parse_quantity
from simulator.kube.builtin.times import MICROSECONDS, SECONDS, TimeError, canonical_time
from simulator.kube.schema.go_base64 import Base64Error, check_base64
from simulator.kube.schema.go_json import DecodeError, Repeated, kind_of, number_text, plain, plain_number
from simulator.kube.schema.model import GoField, Schema

_BITS = {"int32": 32, "int64": 64, "int": 64, "uint8": 8}
_UNTYPED = GoField("interface {}")


def read_typed(schema: Schema, value: Any) -> tuple[Any, list[str]]:
    """Read a value of `go_json.parse`.

    Returns:
        The value without what the schema does not have, and what strict validation has against it, such as
        `unknown field "spec.colour"`.

    Raises:
        DecodeError: the value, or one within it, is of a wrong type.
    """
    reader = _Reader()
    read = reader.read(schema, value, schema.go or GoField(f"v1.{_struct_name(schema)}"))
    if reader.problem:
        raise DecodeError(reader.problem)
    return read, list(reader.strict)


def _struct_name(schema: Schema) -> str:
    return schema.title.rpartition(".")[2]


class _Reader:
    """One reading. `strict` are the findings of strict validation, `problem` is the first wrong type."""

    def __init__(self) -> None:
        self.strict: dict[str, None] = {}
        self.problem = ""
        self._path: list[str] = []  # with list indexes and the names of map entries, as strict findings show it
        self._fields: list[str] = []  # of structs only, as wrong types show it
        self._struct = ""

    def read(self, schema: Schema, value: Any, go: GoField) -> Any:
        if value is None:
            return None
        if schema.format or schema.preserve_unknown or schema.int_or_string:
            return self._read_special(schema, value, go)
        if schema.properties:
            return self._read_struct(schema, value, go)
        if schema.additional is not None:
            return self._read_map(schema.additional, value, go)
        if schema.type == "array":
            return self._read_list(schema, value, go)
        return self._read_scalar(schema, value, go)

    def _read_struct(self, schema: Schema, value: Any, go: GoField) -> Any:
        if not isinstance(value, dict):
            return self._wrong(value, go)
        outer = self._struct
        result: dict[str, Any] = {}
        for name, item in _pairs(value):
            field = schema.properties.get(name)
            if field is None:
                self._find("unknown", name)
                continue
            if name in result:
                self._find("duplicate", name)
            read = self._read_field(schema, field, name, item)
            result[name] = _merged(result.get(name), read) if name in result else read
            self._struct = outer
        return result

    def _read_field(self, schema: Schema, field: Schema, name: str, value: Any) -> Any:
        go = field.go or _UNTYPED
        self._struct = _struct_name(schema)
        through = (*go.embedded, name)
        self._fields.extend(through)
        self._path.append(f".{name}" if self._path else name)
        read = self.read(field, value, go)
        self._path.pop()
        del self._fields[-len(through) :]
        return read

    def _read_map(self, schema: Schema, value: Any, go: GoField) -> Any:
        if not isinstance(value, dict):
            return self._wrong(value, go)
        element = schema.go or _UNTYPED
        result: dict[str, Any] = {}
        for name, item in _pairs(value):
            if name in result:
                self._find("duplicate", name)
            self._path.append(f".{name}" if self._path else name)
            result[name] = _empty(schema) if item is None else self.read(schema, item, element)
            self._path.pop()
        return result

    def _read_list(self, schema: Schema, value: Any, go: GoField) -> Any:
        if not isinstance(value, list):
            return self._wrong(value, go)
        if schema.items is None:
            return plain(value)
        items, element = schema.items, schema.items.go or _UNTYPED
        result = []
        for index, item in enumerate(value):
            self._path.append(f"[{index}]")
            result.append(_empty(items) if item is None else self.read(items, item, element))
            self._path.pop()
        return result

    def _read_scalar(self, schema: Schema, value: Any, go: GoField) -> Any:
        if schema.type == "string":
            return value if isinstance(value, str) else self._wrong(value, go)
        if schema.type == "boolean":
            return value if isinstance(value, bool) else self._wrong(value, go)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._wrong(value, go)
        return plain_number(value) if schema.type == "number" else self._read_integer(value, go)

    def _read_integer(self, value: float, go: GoField) -> Any:
        bound = 1 << (_BITS.get(go.type, 64) - 1)
        if isinstance(value, float) or not -bound <= value < bound:
            return self._wrong(value, go, exact=True)
        return value

    def _read_special(self, schema: Schema, value: Any, go: GoField) -> Any:
        if schema.preserve_unknown:
            return plain(value)
        try:
            match schema.format:
                case "quantity":
                    text = value if isinstance(value, str) else _literal(value)
                    parse_quantity(text)
                    return text
                case "date-time":
                    return self._read_time(value, MICROSECONDS if go.type == "v1.MicroTime" else SECONDS)
                case "byte" if go.type == "[]uint8":
                    return self._read_bytes(value, go)
        except (QuantityError, TimeError) as error:
            raise DecodeError(str(error)) from error
        if schema.int_or_string:
            return self._read_int_or_string(value)
        return self._read_scalar(schema, value, go)

    def _read_time(self, value: Any, layout: Any) -> str:
        if not isinstance(value, str):
            raise DecodeError(self._type_problem(value, "string"))
        canonical_time(value, layout)
        return value

    def _read_int_or_string(self, value: Any) -> Any:
        if isinstance(value, str) or (type(value) is int and -(2**31) <= value < 2**31):
            return value
        raise DecodeError(self._type_problem(value, "int32", exact=isinstance(value, int | float)))

    def _read_bytes(self, value: Any, go: GoField) -> Any:
        if not isinstance(value, str):
            return self._wrong(value, go)
        try:
            check_base64(value)
        except Base64Error as error:
            self.problem = self.problem or str(error)
            return value
        return binascii.b2a_base64(binascii.a2b_base64(value), newline=False).decode()

    def _wrong(self, value: Any, go: GoField, *, exact: bool = False) -> Any:
        """Remember that the value is of a wrong type; the reading goes on without it."""
        self.problem = self.problem or self._type_problem(value, go.type, exact=exact)
        return None

    def _type_problem(self, value: Any, type_name: str, *, exact: bool = False) -> str:
        found = kind_of(value)
        if found == "number" and exact:
            found = f"number {number_text(value)}"
        where = f"struct field {self._struct}.{'.'.join(self._fields)}" if self._struct else "value"
        return f"json: cannot unmarshal {found} into Go {where} of type {type_name}"

    def _find(self, what: str, name: str) -> None:
        path = f"{''.join(self._path)}.{name}" if self._path else name
        self.strict[f'{what} field "{path}"'] = None


def _empty(schema: Schema) -> Any:
    """What a null in a list or a map is read as: Go has no null for structs and texts there."""
    if schema.properties:
        return {}
    return "" if schema.type == "string" and not schema.format else None


def _pairs(value: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    return value.pairs if isinstance(value, Repeated) else value.items()


def _merged(first: Any, second: Any) -> Any:
    """What becomes of a field that is written twice: the second time is read into what the first left."""
    if isinstance(first, dict) and isinstance(second, dict):
        return {**first, **{name: _merged(first.get(name), item) for name, item in second.items()}}
    return second


def _literal(value: Any) -> str:
    """A JSON value that is no text, as far as it could be a quantity."""
    return number_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else kind_of(value)
