"""Quantities of resources, such as `500m` or `1.5Gi`: their values, and the one form in which the API writes each."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Final

_FORM: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)")
_BINARY: Final = {suffix: 1024**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIXES: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_SMALLEST: Final = Fraction(1, 10**9)
_LARGEST: Final = 2**63 - 1
_MOST_CHARACTERS: Final = 1000
"""Of what Python reads as a number at all."""

_MALFORMED: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_UNKNOWN_SUFFIX: Final = "unable to parse quantity's suffix"


class QuantityError(ValueError):
    """The text is not a quantity; the message is the API's own."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact amount. `style` is how it was written: `binary` (Ki), `decimal` (k), or `exponent` (e3)."""

    amount: Fraction
    style: str = "decimal"

    def rounded_up(self, decimals: int) -> "Quantity":
        """The next amount that has no more than so many decimals."""
        scale = 10**decimals
        return self.of(Fraction(ceil(self.amount * scale), scale))

    def of(self, amount: Fraction | int) -> "Quantity":
        """Another amount, written in the same way."""
        return Quantity(Fraction(amount), self.style)

    @property
    def is_whole(self) -> bool:
        """Whether it is an integer, as far as a thousandth can tell."""
        return ceil(self.amount * 1000) % 1000 == 0

    def __str__(self) -> str:
        if not self.amount:
            return "0"
        if self.style == "binary" and abs(self.amount) >= 1024 and self.amount.denominator == 1:
            return _binary_text(self.amount.numerator)
        return _decimal_text(self.amount, exponents=self.style == "exponent")


@lru_cache(maxsize=1024)
def parse_quantity(text: str) -> Quantity:
    """Read a quantity.

    Raises:
        QuantityError: it is none.
    """
    match = _FORM.fullmatch(text)
    if not text or match is None or len(text) > _MOST_CHARACTERS:
        raise QuantityError(_MALFORMED)
    sign, whole, decimals, suffix = match.groups()
    number = Fraction(int(f"{whole}{decimals or ''}" or "0"), 10 ** len(decimals or ""))
    factor, style = _factor(suffix)
    amount = number * factor
    if amount.denominator != 1:
        amount = Fraction(ceil(amount / _SMALLEST), 10**9)
    if style == "binary":
        amount = min(amount, Fraction(_LARGEST))
        style = "decimal" if 0 < amount < 1 else style
    return Quantity(-amount if sign == "-" else amount, style)


def _factor(suffix: str) -> tuple[Fraction, str]:
    if suffix in _BINARY:
        return Fraction(_BINARY[suffix]), "binary"
    if suffix in _DECIMAL:
        return Fraction(10) ** _DECIMAL[suffix], "decimal"
    if re.fullmatch(r"[eE][-+]?[0-9]+", suffix) and abs(int(suffix[1:])) <= 100:
        return Fraction(10) ** int(suffix[1:]), "exponent"
    raise QuantityError(_UNKNOWN_SUFFIX)


def _binary_text(amount: int) -> str:
    suffix = ""
    for larger in _BINARY:
        if amount % 1024:
            break
        amount, suffix = amount // 1024, larger
    return f"{amount}{suffix}"


def _decimal_text(amount: Fraction, *, exponents: bool) -> str:
    exponent = -9
    mantissa = int(amount / _SMALLEST)
    while mantissa % 1000 == 0 and exponent < 18:
        mantissa, exponent = mantissa // 1000, exponent + 3
    if exponents and exponent:
        return f"{mantissa}e{exponent}"
    return f"{mantissa}{_SUFFIXES[exponent]}"
