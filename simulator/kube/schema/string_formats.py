"""The formats of texts in a CustomResourceDefinition's schema that are enforced."""

import ipaddress
import re
from collections.abc import Callable
from datetime import date

from simulator.kube.schema.go_base64 import Base64Error, check_base64

_NUMERIC = frozenset({"int32", "int64", "float", "double"})
_TIME = r"\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)"


def is_known_format(name: str) -> bool:
    """Whether the format means anything; others are left out of account."""
    return name in _NUMERIC or name in _OF_TEXT


def is_of_format(name: str, value: str) -> bool:
    """Whether the text is of a known format; formats of numbers say nothing about it."""
    return name in _NUMERIC or _OF_TEXT[name](value)


def _like(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value) is not None


def _parsed_by(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def accepts(value: str) -> bool:
        try:
            parse(value)
        except (ValueError, Base64Error):
            return False
        return True

    return accepts


def _date(value: str) -> object:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        raise ValueError(value)
    return date.fromisoformat(value)


def _date_time(value: str) -> object:
    day, _, time = value.replace("t", "T").partition("T")
    if not re.fullmatch(_TIME, time):
        raise ValueError(value)
    return _date(day)


def _network(value: str) -> object:
    if "/" not in value:
        raise ValueError(value)
    return ipaddress.ip_network(value, strict=False)


_OF_TEXT: dict[str, Callable[[str], bool]] = {
    "date-time": _parsed_by(_date_time),
    "date": _parsed_by(_date),
    "byte": _parsed_by(check_base64),
    "ipv4": _parsed_by(ipaddress.IPv4Address),
    "ipv6": _parsed_by(ipaddress.IPv6Address),
    "cidr": _parsed_by(_network),
    "mac": _like(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}"),
    "uuid": _like(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"),
}
