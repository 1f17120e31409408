"""Continue tokens: where a list that came in pages goes on. Pure functions of texts."""

import base64
import posixpath
import string
from dataclasses import dataclass
from typing import Any

import msgspec

from simulator.kube.schema.go_json import JsonError, kind_of, parse, plain
from simulator.kube.status import ApiFailure, bad_request

_VERSION = "meta.k8s.io/v1"
_ALPHABET = string.ascii_letters + string.digits + "-_"
_INVALID = "continue key is not valid"
_LATEST = -1
_FIELD_TYPES = {"v": (str, "string"), "rv": (int, "int64"), "start": (str, "string")}


@dataclass(frozen=True, slots=True)
class Continuation:
    """Go on with the first key that is not less than `start`, in the state of `version`, None for that of now."""

    start: str
    version: int | None


def encode_continue(start: str, version: int | None) -> str:
    """The token of the page whose first key is not less than `start`, in the state of `version`, None for now."""
    token = {"v": _VERSION, "rv": _LATEST if version is None else version, "start": f"/{start}"}
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def decode_continue(token: str) -> Continuation:
    """Read a token.

    Raises:
        ApiFailure: 400; the token is none of ours.
    """
    fields = _fields(_base64_decoded(token))
    if fields["v"] != _VERSION:
        raise _invalid(f"{_INVALID}: server does not recognize this encoded version {fields['v']}")
    if fields["rv"] == 0:
        raise _invalid(f"{_INVALID}: incorrect encoded start resourceVersion (version {_VERSION})")
    start = fields["start"]
    if not start:
        raise _invalid(f"{_INVALID}: encoded start key empty (version {_VERSION})")
    key = start if start.startswith("/") else f"/{start}"
    if key.startswith("//") or posixpath.normpath(key) != key:
        raise _invalid(f"{_INVALID}: {start}")
    return Continuation(key[1:], fields["rv"] if fields["rv"] > 0 else None)


def _base64_decoded(token: str) -> bytes:
    wrong = next((at for at, letter in enumerate(token) if letter not in _ALPHABET), None)
    if wrong is None and len(token) % 4 == 1:
        wrong = len(token) - 1
    if wrong is not None:
        raise _invalid(f"{_INVALID}: illegal base64 data at input byte {len(token[:wrong].encode())}")
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _fields(text: bytes) -> dict[str, Any]:
    try:
        sent = plain(parse(text))
    except JsonError as error:
        raise _invalid(f"{_INVALID}: {error}") from error
    if sent is None:
        sent = {}
    if not isinstance(sent, dict):
        raise _wrong_type(sent, "value of type storage.continueToken")
    found = {"v": "", "rv": 0, "start": ""}
    for name, (wanted, go_type) in _FIELD_TYPES.items():
        value = sent.get(name)
        if value is not None and type(value) is not wanted:
            raise _wrong_type(value, f"struct field continueToken.{name} of type {go_type}")
        if value is not None:
            found[name] = value
    return found


def _wrong_type(value: Any, target: str) -> ApiFailure:
    return _invalid(f"{_INVALID}: json: cannot unmarshal {kind_of(value)} into Go {target}")


def _invalid(problem: str) -> ApiFailure:
    return bad_request(f"invalid continue token: {problem}")
