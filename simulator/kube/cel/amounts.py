"""Kubernetes' functions of quantities and of semantic versions."""

import re
from fractions import Fraction

from simulator.kube.builtin.quantities import QuantityError, parse_quantity
from simulator.kube.cel.function import INT64, QUANTITY, SEMVER, CelError, Function, accepted_by, function
from simulator.kube.go_text import go_quoted

_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
_SHORT = 3
"""A version has so many numbers."""
_MOST_DIGITS = 19
"""A number with more may be beyond 64 bits."""


def _quantity(text: str) -> str:
    try:
        return str(parse_quantity(text).amount)
    except QuantityError as error:
        raise CelError(str(error)) from error


def _compared(one: Fraction | tuple[object, ...], other: Fraction | tuple[object, ...]) -> int:
    return (one > other) - (one < other)  # type: ignore[operator]


def _compare_quantities(one: str, other: str) -> int:
    return _compared(Fraction(one), Fraction(other))


def _is_integer(amount: str) -> bool:
    value = Fraction(amount)
    return value.denominator == 1 and int(value) in INT64


def _as_integer(amount: str) -> int:
    if not _is_integer(amount):
        raise CelError("cannot convert value to integer")
    return int(Fraction(amount))


def _version(text: str, normalize: bool = False) -> str:
    """The version without what is of no account when versions are compared."""
    match = _VERSION.fullmatch(_complete(text) if normalize else text)
    if match is None:
        raise CelError("No Major.Minor.Patch elements found")
    numbers, preview = match.groups()[:_SHORT], match[4] or ""
    for part in (*numbers, *preview.split(".")):
        if part.isdecimal() and (len(part) > _MOST_DIGITS or int(part) not in INT64):
            raise CelError(f"strconv.ParseUint: parsing {go_quoted(part)}: value out of range")
    return ".".join(numbers) + (f"-{preview}" if preview else "")


def _complete(text: str) -> str:
    """The version with what may be left out: no `v`, no zeros in front, three numbers."""
    parts = text.removeprefix("v").split(".", _SHORT - 1)
    parts = [re.sub(r"^0+(?=\d)", "", part) for part in parts]
    return ".".join([*parts, *["0"] * (_SHORT - len(parts))])


def _number(version: str, place: int) -> int:
    return int(version.partition("-")[0].split(".")[place])


def _precedence(version: str) -> tuple[object, ...]:
    """What versions are ordered by: a final one comes after its previews, numbers before words."""
    numbers, _, preview = version.partition("-")
    parts = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in preview.split(".") if part]
    return (*map(int, numbers.split(".")), not preview, parts)


def _compare_versions(one: str, other: str) -> int:
    return _compared(_precedence(one), _precedence(other))


FUNCTIONS = (
    function("quantity", ("string",), QUANTITY, _quantity),
    function("isQuantity", ("string",), "bool", accepted_by(_quantity)),
    function("sign", (QUANTITY,), "int", lambda one: _compare_quantities(one, "0")),
    Function("isInteger", (QUANTITY,), "bool", _is_integer),
    Function("asInteger", (QUANTITY,), "int", _as_integer),
    Function("asApproximateFloat", (QUANTITY,), "double", lambda amount: float(Fraction(amount))),
    Function("isGreaterThan", (QUANTITY, QUANTITY), "bool", lambda one, other: _compare_quantities(one, other) > 0),
    Function("isLessThan", (QUANTITY, QUANTITY), "bool", lambda one, other: _compare_quantities(one, other) < 0),
    Function("compareTo", (QUANTITY, QUANTITY), "int", _compare_quantities),
    Function("add", (QUANTITY, QUANTITY), QUANTITY, lambda one, other: str(Fraction(one) + Fraction(other))),
    Function("add", (QUANTITY, "int"), QUANTITY, lambda one, other: str(Fraction(one) + other)),
    Function("sub", (QUANTITY, QUANTITY), QUANTITY, lambda one, other: str(Fraction(one) - Fraction(other))),
    Function("sub", (QUANTITY, "int"), QUANTITY, lambda one, other: str(Fraction(one) - other)),
    function("semver", ("string",), SEMVER, _version),
    function("semver", ("string", "bool"), SEMVER, _version),
    function("isSemver", ("string",), "bool", accepted_by(_version)),
    function("isSemver", ("string", "bool"), "bool", accepted_by(_version)),
    Function("major", (SEMVER,), "int", lambda version: _number(version, 0)),
    Function("minor", (SEMVER,), "int", lambda version: _number(version, 1)),
    Function("patch", (SEMVER,), "int", lambda version: _number(version, 2)),
    Function("isGreaterThan", (SEMVER, SEMVER), "bool", lambda one, other: _compare_versions(one, other) > 0),
    Function("isLessThan", (SEMVER, SEMVER), "bool", lambda one, other: _compare_versions(one, other) < 0),
    Function("compareTo", (SEMVER, SEMVER), "int", _compare_versions),
)
