"""What a stored message says about an invocation, read from its subject and headers alone (contract 2.1, 2.4). Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct

from sidecar.messages import Event
from sidecar.stored import RUNS_HEADER, dispatch_number, number_in
from sidecar.tracing import NO_HEADERS

_STARTED: Final = re.compile(rf"metric-(?P<id>.+)-{Event.STARTED}(?:-[\d.]+)?")
_REGISTERED: Final = re.compile(rf"metric-(?P<worker>.+)-{Event.REGISTERED}-\d+")
_BURIED: Final = re.compile(r"dlq-.+-(?P<sequence>\d{1,15})(?:-\d{16,})?")
"""A sequence at the end, or before the nanoseconds of an id that names no invocation: those have 19 digits."""


class Queued(Struct, frozen=True):
    """The API queued it."""

    invocation_id: str
    pool: str
    sequence: int


class Dispatched(Struct, frozen=True):
    """It was given to a worker, whose name is as in the subject. `runs` is how often it may have run before."""

    invocation_id: str
    pool: str
    sequence: int
    worker: str
    attempt: int = 1
    runs: int = 0


class Started(Struct, frozen=True):
    """Its worker began."""

    invocation_id: str


class Registered(Struct, frozen=True):
    """A worker's sidecar is new and takes work from now on."""

    pool: str
    worker: str
    sequence: int


class Ended(Struct, frozen=True):
    """It has its result, at this sequence."""

    invocation_id: str
    pool: str
    sequence: int


class Buried(Struct, frozen=True):
    """The message at this sequence was dead-lettered."""

    sequence: int


class Nameless(Struct, frozen=True):
    """A message that matters, but whose id is not the contract's: its body has to be read."""

    family: str
    pool: str
    sequence: int
    worker: str = ""


Entry = Queued | Dispatched | Started | Registered | Ended | Buried | Nameless


class Place(Struct, frozen=True):
    """What a subject says: family, pool, and of a dispatch the worker. One without a family matters to nobody."""

    family: str = ""
    pool: str = ""
    worker: str = ""


@lru_cache(maxsize=4096)
def place_of(subject: str) -> Place:
    """Read a subject, without its prefix."""
    match subject.split("."):
        case ["invoke" | "result" | "metrics" as family, pool]:
            return Place(family, pool)
        case ["dispatch", pool, worker]:
            return Place("dispatch", pool, worker)
        case ["dlq", _, pool]:
            return Place("dlq", pool)
    return Place()


def read_entry(
    place: Place, sequence: int, message_id: str, extra_headers: Mapping[str, str] = NO_HEADERS
) -> Entry | None:
    """Read a message's headers; None where it changes nothing. Only a dispatch has more of them than its id."""
    family, pool = place.family, place.pool
    if family == "metrics":
        return _event(pool, sequence, message_id)
    if family == "invoke":
        return Queued(message_id, pool, sequence) if message_id else Nameless("invoke", pool, sequence)
    if family == "dispatch":
        return _dispatched(pool, place.worker, sequence, message_id, extra_headers)
    if family == "result":
        invocation_id = _between("result-", message_id, "")
        return Ended(invocation_id, pool, sequence) if invocation_id else Nameless("result", pool, sequence)
    buried = _BURIED.fullmatch(message_id) if family == "dlq" else None
    return Buried(int(buried["sequence"])) if buried else None


def _event(pool: str, sequence: int, message_id: str) -> Entry | None:
    if Event.STARTED in message_id:  # most are of another type: that costs no match
        started = _STARTED.fullmatch(message_id)
        if started:
            return Started(started["id"])
    if Event.REGISTERED in message_id:
        registered = _REGISTERED.fullmatch(message_id)
        if registered:
            return Registered(pool, registered["worker"], sequence)
    return None


def _dispatched(pool: str, worker: str, sequence: int, message_id: str, headers: Mapping[str, str]) -> Entry:
    attempt = dispatch_number(headers) if headers else 1
    suffix = f"-{worker}" if attempt < 2 else f"-{worker}-{attempt}"
    invocation_id = _between("dispatch-", message_id, suffix)
    if not invocation_id:
        return Nameless("dispatch", pool, sequence, worker)
    return Dispatched(
        invocation_id, pool, sequence, worker, attempt, number_in(headers, RUNS_HEADER, 0) if headers else 0
    )


def _between(prefix: str, text: str, suffix: str) -> str:
    """What stands between the two; empty when nothing does, or they are not there."""
    if text.startswith(prefix) and text.endswith(suffix):
        return text[len(prefix) : len(text) - len(suffix)]
    return ""
