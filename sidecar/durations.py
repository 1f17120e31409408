"""Durations in Go syntax, as every setting of the platform writes them: `300ms`, `15s`, `1h30m` (contract 2.3)."""

import re
from decimal import Decimal

_UNIT_SECONDS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)


class DurationError(ValueError):
    """Text that is no duration; the message shows the form."""


def parse_duration(text: str) -> float:
    """Return a duration in seconds; negative values parse, as in Go.

    Raises:
        DurationError: the text is empty, has no unit or has anything left over.
    """
    stripped = text.strip()
    sign, digits = (-1, stripped[1:]) if stripped.startswith("-") else (1, stripped.removeprefix("+"))
    if digits == "0":
        return 0.0
    parts = _PART.findall(digits)
    if not parts or "".join(number + unit for number, unit in parts) != digits:
        raise DurationError(f"{text!r} is not a duration: write a number and a unit, such as 300ms, 15s or 1h30m")
    return sign * float(sum(Decimal(number) * _UNIT_SECONDS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """Write seconds as the shortest form that `parse_duration` reads back."""
    milliseconds = round(seconds * 1000)
    if milliseconds % 1000:
        return f"{milliseconds}ms"
    return f"{milliseconds // 1000}s"
