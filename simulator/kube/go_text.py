"""Values as Go writes them, which is how the messages of the real server show them."""

from decimal import Decimal
from typing import Any

import msgspec

_ESCAPES = {
    '"': r"\"", "\\": r"\\", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
}  # fmt: skip
_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_PACKAGES = {"": "core", "rbac.authorization.k8s.io": "rbac"}
_WITHOUT_EXPONENT = range(-4, 6)


def go_quoted(text: str) -> str:
    """The text between quotes, as Go's `%q` writes it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{"".join(map(_escaped, text))}"'


def go_package(group: str) -> str:
    """The package of the real server in which the types of a group of built-in kinds are."""
    return _PACKAGES.get(group, group.partition(".")[0])


def go_shown(value: Any, *, in_order: bool = False) -> str:
    """A JSON value in a message about a field; `in_order` sorts the names of objects, as where Go holds it in a map."""
    if isinstance(value, str):
        return go_quoted(value)
    if isinstance(value, float):
        return go_number(value)
    return msgspec.json.encode(value, order="sorted" if in_order else None).decode().translate(_HTML)


def go_number(number: float) -> str:
    """A number of Go's type float64: with an exponent from a million on."""
    exact = Decimal(repr(float(number))).normalize()
    if not number or exact.adjusted() in _WITHOUT_EXPONENT:
        return f"{exact:f}"
    mantissa, _, exponent = f"{exact:e}".partition("e")
    return f"{mantissa}e{exponent[0]}{exponent[1:]:0>2}"


def go_type(value: Any) -> str:
    """The Go type of a JSON value."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "bool"
        case int():
            return "int64"
        case float():
            return "float64"
        case str():
            return "string"
        case list():
            return "[]interface {}"
    return "map[string]interface {}"


def go_value(value: Any, *, quoted: bool = False) -> str:
    """A JSON value as Go's `%v` writes it, or with `quoted` as `%#v` does."""
    match value:
        case None:
            return "interface {}(nil)" if quoted else "<nil>"
        case bool():
            return str(value).lower()
        case str():
            return go_quoted(value) if quoted else value
        case dict():
            pairs = [
                f"{go_value(name, quoted=quoted)}:{go_value(held, quoted=quoted)}" for name, held in _sorted(value)
            ]
            return f"{go_type(value)}{{{', '.join(pairs)}}}" if quoted else f"map[{' '.join(pairs)}]"
        case list():
            items = [go_value(item, quoted=quoted) for item in value]
            return f"{go_type(value)}{{{', '.join(items)}}}" if quoted else f"[{' '.join(items)}]"
    return str(value)


def _sorted(value: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(value.items())


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    point = ord(character)
    return f"\\x{point:02x}" if point < 0x80 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
