"""Kubernetes quantities of memory, as far as a unit's `/dev/shm` needs them: read, halve, write."""

import re
from decimal import Decimal

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    suffix: Decimal(10) ** exponent
    for suffix, exponent in zip(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), range(-9, 21, 3), strict=True)
}
_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))([KMGTPE]i|[numkMGTPE]?|[eE][+-]?\d{1,2})")


class QuantityError(ValueError):
    """Text that is no quantity; the message shows the form."""


def parse_bytes(text: str) -> int:
    """Return a quantity in bytes, rounded up as Kubernetes does.

    Raises:
        QuantityError: the text is no quantity.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if not match:
        raise QuantityError(f"{text!r} is not a quantity: write a number and a unit, such as 512Mi or 8Gi")
    number, suffix = match.groups()
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix != "Ei":
        return _ceil(Decimal(number + suffix))
    return _ceil(Decimal(number) * (_BINARY[suffix] if suffix in _BINARY else _DECIMAL[suffix]))


def format_bytes(count: int) -> str:
    """Write bytes in the largest binary unit that divides them."""
    fitting = [suffix for suffix, size in _BINARY.items() if count and count % size == 0]
    return f"{count // _BINARY[fitting[-1]]}{fitting[-1]}" if fitting else str(count)


def _ceil(number: Decimal) -> int:
    return int(number.to_integral_value(rounding="ROUND_CEILING"))
