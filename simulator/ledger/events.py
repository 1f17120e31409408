"""What a stored message says about an invocation, read from its subject and headers alone (contract 2.1, 2.4). Pure."""

import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from sidecar.messages import Event
from sidecar.stored import MESSAGE_ID_HEADER, RUNS_HEADER, dispatch_number, number_in

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


def read_entry(tokens: list[str], sequence: int, headers: Mapping[str, str]) -> Entry | None:
    """Read a message's headers; None where it changes nothing. `tokens` is its subject below the prefix, split."""
    message_id = headers.get(MESSAGE_ID_HEADER, "")
    match tokens:
        case ["invoke", pool]:
            return Queued(message_id, pool, sequence) if message_id else Nameless("invoke", pool, sequence)
        case ["result", pool]:
            invocation_id = _between("result-", message_id, "")
            return Ended(invocation_id, pool, sequence) if invocation_id else Nameless("result", pool, sequence)
        case ["dispatch", pool, worker]:
            return _dispatched(pool, worker, sequence, headers)
        case ["metrics", pool]:
            return _event(pool, sequence, message_id)
        case ["dlq", _, _]:
            buried = _BURIED.fullmatch(message_id)
            return Buried(int(buried["sequence"])) if buried else None
    return None


def _event(pool: str, sequence: int, message_id: str) -> Entry | None:
    if started := _STARTED.fullmatch(message_id):
        return Started(started["id"])
    if registered := _REGISTERED.fullmatch(message_id):
        return Registered(pool, registered["worker"], sequence)
    return None


def _dispatched(pool: str, worker: str, sequence: int, headers: Mapping[str, str]) -> Entry:
    message_id, attempt = headers.get(MESSAGE_ID_HEADER, ""), dispatch_number(headers)
    suffix = f"-{worker}" if attempt < 2 else f"-{worker}-{attempt}"
    invocation_id = _between("dispatch-", message_id, suffix)
    if not invocation_id:
        return Nameless("dispatch", pool, sequence, worker)
    return Dispatched(invocation_id, pool, sequence, worker, attempt, number_in(headers, RUNS_HEADER, 0))


def _between(prefix: str, text: str, suffix: str) -> str:
    """What stands between the two; empty when nothing does, or they are not there."""
    if text.startswith(prefix) and text.endswith(suffix):
        return text[len(prefix) : len(text) - len(suffix)]
    return ""
