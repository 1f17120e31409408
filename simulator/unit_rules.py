"""What the single values of a unit's spec may be (contract 4.2): asked by the API at the edge and by the reconciler.

Each function returns the normalised value or raises `RuleError`, whose message says what is allowed.
"""

import posixpath
import re
from typing import Final

MAX_PORT_NAME: Final = 15
MAX_SUBDOMAIN: Final = 253

_ENV_NAME = re.compile(r"(?!\.$|\.\.)[-._A-Za-z][-._A-Za-z0-9]*")
_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class RuleError(ValueError):
    """A value that is not allowed; the message quotes it and says what is."""


def env_name(value: str) -> str:
    """The name of an environment variable. Raises RuleError."""
    name = value.strip()
    if not _ENV_NAME.fullmatch(name):
        raise RuleError(f"{name!r} must be letters, digits, '-', '_' and '.', and not start with a digit or '..'")
    return name


def port_name(value: str) -> str:
    """A port's IANA name. Raises RuleError."""
    name = value.strip()
    if len(name) > MAX_PORT_NAME or not _PORT_NAME.fullmatch(name):
        raise RuleError(
            f"{name!r} must be at most {MAX_PORT_NAME} lower-case letters, digits and single inner '-', "
            "with at least one letter"
        )
    return name


def port_number(value: int) -> int:
    """A port's number. Raises RuleError."""
    if not 1 <= value <= 65535:
        raise RuleError(f"{value} must be between 1 and 65535")
    return value


def storage_name(value: str) -> str:
    """The name of a storage, lower-cased: a DNS subdomain. Raises RuleError."""
    name = value.strip().lower()
    if len(name) > MAX_SUBDOMAIN or not _SUBDOMAIN.fullmatch(name):
        raise RuleError(f"{name!r} must be the name of a storage (a DNS name)")
    return name


def mount_path(value: str) -> str:
    """Where a storage is mounted: absolute, cleaned, not the root. Raises RuleError."""
    path = value.strip()
    # POSIX keeps a double leading slash apart; a container's mount does not.
    cleaned = posixpath.normpath("/" + path.lstrip("/"))
    if not path.startswith("/") or cleaned == "/":
        raise RuleError(f"{path!r} must be an absolute path other than /")
    return cleaned
