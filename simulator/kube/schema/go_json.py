"""JSON as the real server reads it: repeated names, whole numbers told from others, and its words for what is wrong."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

INT64 = range(-(2**63), 2**63)
_INT64_LENGTH = 20
"""Of the longest text of one."""
_EXPECTED = {b"t": b"true", b"f": b"false", b"n": b"null"}
_BLANK = b" \t\r\n"
_HEX = b"0123456789abcdefABCDEF"
_DIGITS = b"0123456789"
_MAX_EXACT = 1e21
"""From here on the real server writes numbers with an exponent."""
_END = "unexpected end of JSON input"
_SURROGATES = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""Escapes of halves of a character; those that have no other half are the group."""
MAX_DEPTH = 200
"""Objects and lists within each other; the real server reads 10,000."""
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]')
_WITHIN_TOKEN = ("in literal", "in numeric", "after decimal", "in exponent", "in string escape", "in \\u")
"""Where the end of the text is told like a blank."""


class JsonError(ValueError):
    """The text is not JSON; the message is that of the real server."""


class DecodeError(ValueError):
    """The value cannot be held in its type; the message is that of the real server."""


class Repeated(dict[str, Any]):
    """A JSON object in which a name occurs more than once; as a dict it has the last value of each."""

    pairs: list[tuple[str, Any]]


class Fraction(float):
    """A number that was not written as a whole one; `text` is how it was."""

    text: str


def parse(body: bytes) -> Any:
    """The value of a JSON text; objects are dicts or `Repeated`, numbers ints or `Fraction`.

    Raises:
        JsonError: the text is not JSON, or is nested too deeply.
    """
    text = body.decode(errors="replace")
    if "\\ud" in text or "\\uD" in text:
        text = _SURROGATES.sub(lambda match: "\\ufffd" if match[1] else match[0], text)
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(body)
    try:
        return _DECODER.decode(text)
    except ValueError as error:
        raise JsonError(_problem(body)) from error


def plain(value: Any) -> Any:
    """The value of ordinary dicts, lists and numbers, for what is stored.

    Raises:
        DecodeError: a number is larger than any that can be stored.
    """
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return plain_number(value) if isinstance(value, float) else value


def plain_number(number: float) -> float:
    """The number as it is read back: `1.0` is stored as `1`.

    Raises:
        DecodeError: it is larger than any that can be stored.
    """
    if math.isinf(number):
        raise DecodeError(f"json: cannot unmarshal number {number_text(number)} into Go value of type float64")
    return int(number) if float(number).is_integer() and abs(number) < _MAX_EXACT else float(number)


def duplicates(value: Any, path: str = "") -> Iterator[str]:
    """The paths of the names that occur again in their object, in the order of the text."""
    if isinstance(value, dict):
        seen: set[str] = set()
        for name, item in value.pairs if isinstance(value, Repeated) else value.items():
            inner = f"{path}.{name}" if path else name
            if name in seen:
                yield inner
            seen.add(name)
            yield from duplicates(item, inner)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from duplicates(item, f"{path}[{index}]")


def kind_of(value: Any) -> str:
    """What the real server calls a JSON value."""
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "array"
    if isinstance(value, str):
        return "string"
    return "bool" if isinstance(value, bool) else "number"


def number_text(number: float) -> str:
    """The number as it was written."""
    return number.text if isinstance(number, Fraction) else str(number)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    repeated.pairs = pairs
    return repeated


def _integer(text: str) -> float:
    if len(text) > _INT64_LENGTH:
        return _fraction(text)
    number = int(text)
    return number if number in INT64 else _fraction(text)


def _fraction(text: str) -> Fraction:
    number = Fraction(text)
    number.text = text
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_no_constant
)


def _problem(body: bytes) -> str:
    """Why a text is not JSON."""
    try:
        end = _Scanner(body).value(_skipped(body, 0))
        end = _skipped(body, end)
        if end < len(body):
            raise _unexpected(body, end, "after top-level value")
    except JsonError as error:
        return str(error)
    return _END


def _check_depth(body: bytes) -> None:
    depth = 0
    for token in _NESTING.finditer(body):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise JsonError(f"invalid character '{token[0].decode()}' exceeded max depth")


def _skipped(body: bytes, at: int) -> int:
    while at < len(body) and body[at] in _BLANK:
        at += 1
    return at


def _unexpected(body: bytes, at: int, where: str) -> JsonError:
    if at >= len(body) and not where.startswith(_WITHIN_TOKEN):
        return JsonError(_END)
    character = chr(body[at]) if at < len(body) else " "
    shown = {"'": "\\'", '"': '"'}.get(character) or json.dumps(character, ensure_ascii=False)[1:-1]
    if not character.isprintable() and shown.startswith("\\u00"):
        shown = f"\\x{body[at]:02x}"
    return JsonError(f"invalid character '{shown}' {where}")


class _Scanner:
    """Walks over a JSON text; each method takes where something starts and returns where it ends, or raises."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def value(self, at: int) -> int:
        first = self._body[at : at + 1]
        if first == b"{":
            return self._object(at + 1)
        if first == b"[":
            return self._array(at + 1)
        if first == b'"':
            return self._string(at + 1)
        if first in _EXPECTED and first:
            return self._literal(at, _EXPECTED[first])
        if first and first in b"-0123456789":
            return self._number(at)
        raise _unexpected(self._body, at, "looking for beginning of value")

    def _object(self, at: int) -> int:
        at = _skipped(self._body, at)
        if self._body[at : at + 1] == b"}":
            return at + 1
        while True:
            at = _skipped(self._body, at)
            if self._body[at : at + 1] != b'"':
                raise _unexpected(self._body, at, "looking for beginning of object key string")
            at = self._separator(self._string(at + 1), b":", "after object key") + 1
            at = self._separator(self.value(_skipped(self._body, at)), b",}", "after object key:value pair") + 1
            if self._body[at - 1 : at] == b"}":
                return at

    def _array(self, at: int) -> int:
        at = _skipped(self._body, at)
        if self._body[at : at + 1] == b"]":
            return at + 1
        while True:
            at = self._separator(self.value(_skipped(self._body, at)), b",]", "after array element") + 1
            if self._body[at - 1 : at] == b"]":
                return at

    def _separator(self, at: int, allowed: bytes, where: str) -> int:
        at = _skipped(self._body, at)
        if at >= len(self._body) or self._body[at] not in allowed:
            raise _unexpected(self._body, at, where)
        return at

    def _string(self, at: int) -> int:
        while self._body[at : at + 1] != b'"':
            if at >= len(self._body) or self._body[at] < ord(" "):
                raise _unexpected(self._body, at, "in string literal")
            at = self._escape(at + 1) if self._body[at : at + 1] == b"\\" else at + 1
        return at + 1

    def _escape(self, at: int) -> int:
        if self._body[at : at + 1] != b"u":
            if at >= len(self._body) or self._body[at] not in b'bfnrt\\/"':
                raise _unexpected(self._body, at, "in string escape code")
            return at + 1
        for digit in range(at + 1, at + 5):
            if digit >= len(self._body) or self._body[digit] not in _HEX:
                raise _unexpected(self._body, digit, "in \\u hexadecimal character escape")
        return at + 5

    def _literal(self, at: int, expected: bytes) -> int:
        for offset, character in enumerate(expected):
            if self._body[at + offset : at + offset + 1] != bytes([character]):
                where = f"in literal {expected.decode()} (expecting '{chr(character)}')"
                raise _unexpected(self._body, at + offset, where)
        return at + len(expected)

    def _number(self, at: int) -> int:
        if self._body[at : at + 1] == b"-":
            at += 1
        at = at + 1 if self._body[at : at + 1] == b"0" else self._digits(at, "in numeric literal")
        if self._body[at : at + 1] == b".":
            at = self._digits(at + 1, "after decimal point in numeric literal")
        if self._body[at : at + 1] in (b"e", b"E"):
            at += 1
            at = self._digits(at + (self._body[at : at + 1] in (b"+", b"-")), "in exponent of numeric literal")
        return at

    def _digits(self, at: int, where: str) -> int:
        if at >= len(self._body) or self._body[at] not in _DIGITS:
            raise _unexpected(self._body, at, where)
        while at < len(self._body) and self._body[at] in _DIGITS:
            at += 1
        return at
