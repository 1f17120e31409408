"""The formats of names, labels, ports and paths; a function returns what is wrong with a value, in the API's words."""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

Format = Callable[[str], list[str]]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_SEARCH_LABEL: Final = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCH_DOMAIN: Final = rf"{_SEARCH_LABEL}(\.{_SEARCH_LABEL})*"
_KEY_NAME: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_HEADER: Final = "[-A-Za-z0-9]+"
_PERCENT: Final = "[0-9]+%"
_ENDS: Final = "and must start and end with an alphanumeric character"

MAX_LABEL: Final = 63
MAX_SUBDOMAIN: Final = 253
_MAX_PORT_NAME: Final = 15
MAX_PORT: Final = 65535
MAX_ID: Final = 2**31 - 1


def _mismatch(text: str, pattern: str, *examples: str) -> str:
    """The message about a pattern that did not match; the blanks are the real API's."""
    if not examples:
        return f"{text} (regex used for validation is '{pattern}')"
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


_LABEL_PROBLEM = _mismatch(
    f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', {_ENDS}",
    *(_LABEL, "my-name", "123-abc"),
)
_SUBDOMAIN_PROBLEM = _mismatch(
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', {_ENDS}",
    *(_SUBDOMAIN, "example.com"),
)
_SEARCH_PROBLEM = _mismatch(
    f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', {_ENDS}",
    *(_SEARCH_DOMAIN, "example.com"),
)
_KEY_PROBLEM = _mismatch(
    f"must consist of alphanumeric characters, '-', '_' or '.', {_ENDS}", _KEY_NAME, "MyName", "my.name", "123-abc"
)
_VALUE_PROBLEM = _mismatch(
    f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', {_ENDS}",
    *(f"({_KEY_NAME})?", "MyValue", "my_value", "12345"),
)
_CONFIG_KEY_PROBLEM = _mismatch(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    *(_CONFIG_KEY, "key.name", "KEY_NAME", "key-name"),
)
_HEADER_PROBLEM = _mismatch(
    "a valid HTTP header must consist of alphanumeric characters or '-'", _HEADER, "X-Header-Name"
)
_PERCENT_PROBLEM = _mismatch(
    "a valid percent string must be a numeric string followed by an ending '%'", _PERCENT, "1%", "93%"
)
_VARIABLE_PROBLEM = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def label(value: str) -> list[str]:
    """A DNS label (RFC 1123)."""
    problems = [f"must be no more than {MAX_LABEL} characters"] if len(value.encode()) > MAX_LABEL else []
    if not re.fullmatch(_LABEL, value):
        dotted = re.fullmatch(_SUBDOMAIN, value)
        problems.append("must not contain dots" if dotted else _LABEL_PROBLEM)
    return problems


def subdomain(value: str) -> list[str]:
    """A DNS subdomain (RFC 1123): labels separated by dots."""
    return _subdomain(value, "characters")


def search_domain(value: str) -> list[str]:
    """A domain of a DNS search list, in which underscores are allowed."""
    problems = [f"must be no more than {MAX_SUBDOMAIN} characters"] if len(value.encode()) > MAX_SUBDOMAIN else []
    return problems if re.fullmatch(_SEARCH_DOMAIN, value) else [*problems, _SEARCH_PROBLEM]


def path_segment(value: str) -> list[str]:
    """Anything that can be a part of a URL path."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return path_prefix(value)


def path_prefix(value: str) -> list[str]:
    """Anything that can begin a part of a URL path."""
    return [f"may not contain '{character}'" for character in "/%" if character in value]


def qualified_name(value: str) -> list[str]:
    """The key of a label: a name, perhaps after a DNS subdomain and a slash."""
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {_KEY_PROBLEM} {optional}"]
    problems = []
    if slash:
        wrong = _subdomain(prefix, "bytes") if prefix else ["must be non-empty"]
        problems += [f"prefix part {problem}" for problem in wrong]
    if not name:
        problems.append("name part must be non-empty")
    elif len(name.encode()) > MAX_LABEL:
        problems.append(f"name part must be no more than {MAX_LABEL} bytes")
    if not re.fullmatch(_KEY_NAME, name):
        problems.append(f"name part {_KEY_PROBLEM}")
    return problems


def label_value(value: str) -> list[str]:
    """The value of a label."""
    problems = [f"must be no more than {MAX_LABEL} bytes"] if len(value.encode()) > MAX_LABEL else []
    return problems if not value or re.fullmatch(_KEY_NAME, value) else [*problems, _VALUE_PROBLEM]


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or a Secret, which may become the name of a file."""
    problems = [f"must be no more than {MAX_SUBDOMAIN} characters"] if len(value.encode()) > MAX_SUBDOMAIN else []
    if not re.fullmatch(_CONFIG_KEY, value):
        problems.append(_CONFIG_KEY_PROBLEM)
    if value in (".", ".."):
        problems.append(f"must not be '{value}'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def variable_name(value: str) -> list[str]:
    """The name of an environment variable."""
    if not value:
        return ["environment variable name must be non-empty"]
    wrong = any(not " " <= character <= "~" or character == "=" for character in value)
    return [_VARIABLE_PROBLEM] if wrong else []


def header_name(value: str) -> list[str]:
    """The name of an HTTP header."""
    return [] if re.fullmatch(_HEADER, value) else [_HEADER_PROBLEM]


def percentage(value: str) -> list[str]:
    """A text such as `25%`."""
    return [] if re.fullmatch(_PERCENT, value) else [_PERCENT_PROBLEM]


def port_number(value: int) -> list[str]:
    """A TCP or UDP port."""
    return in_range(value, 1, MAX_PORT)


def user_id(value: int) -> list[str]:
    """The number of a user or a group."""
    return in_range(value, 0, MAX_ID)


def in_range(value: int, lowest: int, highest: int) -> list[str]:
    """A number between two others, both included."""
    return [] if lowest <= value <= highest else [f"must be between {lowest} and {highest}, inclusive"]


def port_name(value: str) -> list[str]:
    """The name of a port of a container (RFC 6335)."""
    problems = [f"must be no more than {_MAX_PORT_NAME} characters"] if len(value.encode()) > _MAX_PORT_NAME else []
    if not re.fullmatch("[-a-z0-9]+", value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def ip_address(value: str) -> list[str]:
    """An IP address, not necessarily in canonical form."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        if re.fullmatch(r"\d+(\.\d+){3}", value) and all(int(part) < 256 for part in value.split(".")):
            return ["must not have leading 0s"]
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return ["must not be an IPv4-mapped IPv6 address"]
    return []


def relative_path(value: str) -> list[str]:
    """A path that stays below the directory it is relative to."""
    return [*(["must be a relative path"] if value.startswith("/") else []), *no_backsteps(value)]


def no_backsteps(value: str) -> list[str]:
    """A path without `..`."""
    return ["must not contain '..'"] if ".." in value.split("/") else []


def volume_path(value: str) -> list[str]:
    """The path of a file in a volume that holds configuration; names that begin with `..` are reserved."""
    problems = relative_path(value)
    if value.startswith("..") and not value.startswith("../"):
        problems.append("must not start with '..'")
    return problems


def masked_prefix(prefix: str) -> str:
    """A `generateName` as a name to be checked: it may end in a dash, since more is to follow."""
    return f"{prefix[:-2]}a" if len(prefix) > 1 and prefix.endswith("-") else prefix


def _subdomain(value: str, unit: str) -> list[str]:
    problems = [f"must be no more than {MAX_SUBDOMAIN} {unit}"] if len(value.encode()) > MAX_SUBDOMAIN else []
    return problems if re.fullmatch(_SUBDOMAIN, value) else [*problems, _SUBDOMAIN_PROBLEM]
