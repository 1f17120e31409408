"""The script of one misbehaving call, read from its attributes, and the bytes that it wants sent. No I/O."""

import re
from typing import Annotated, Final, Literal

import msgspec

from framework.contract import InvocationResponse

REASON: Final = "Scripted"
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)", re.ASCII)
_MAX_BODY_BYTES: Final = 1024**3


class ScriptError(ValueError):
    """Attributes that are no script; the message names the attribute and what it may be."""


class Seconds(float):
    """A duration, written in Go's syntax (`300ms`, `1m30s`) or as a plain number of seconds (`0.3`)."""

    @classmethod
    def parse(cls, text: str) -> "Seconds":
        """Read a duration.

        Raises:
            ValueError: the text is none.
        """
        parts = _PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return cls(sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))
        if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
            return cls(text)
        raise ValueError(f"{text!r} is not a duration: write 300ms, 1m30s or 0.3")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What to do wrong; docs/framework.md has the table. Each field is the attribute of that name."""

    unhealthy: Seconds = Seconds(0)
    delay: Seconds = Seconds(0)
    hang: bool = False
    ignore_cancel: bool = False
    crash: bool = False
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    disconnect: Literal["before", "headers", "body"] | None = None
    slow_headers: Seconds = Seconds(0)
    garbage: Literal["http", "json", "utf8", "envelope"] | None = None
    bad_status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 200
    status_code: int | None = None
    error: str = ""
    huge_body: Annotated[int, msgspec.Meta(ge=2, le=_MAX_BODY_BYTES)] | None = None

    @property
    def breaks_http(self) -> bool:
        """Whether the answer cannot be left to a well-behaved HTTP server."""
        return bool(self.disconnect or self.slow_headers or self.garbage == "http")


def parse_script(attributes: dict[str, str]) -> Script:
    """Read a script; unknown attributes are ignored.

    Raises:
        ScriptError: a known one has a value that it may not have.
    """
    try:
        return msgspec.convert(attributes, Script, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ScriptError(f"wrong attribute: {error}") from error


def body_of(script: Script, answer: InvocationResponse) -> bytes:
    """Return the HTTP body: `answer` with the script's changes, or no envelope at all."""
    match script.garbage:
        case "json":
            return b'{"statusCode":200,"body":'
        case "utf8":
            return b'{"statusCode":200,"body":"\xff\xfe"}'
        case "envelope":
            return b'{"statusCode":"two hundred","body":null}'
        case _:
            return msgspec.json.encode(_changed(script, answer))


def http_bytes(script: Script, body: bytes) -> tuple[bytes, bytes]:
    """Return the answer's head and body as they go over the wire, cut off where the script closes the connection."""
    if script.garbage == "http":
        return b"", b"\x16\x03\x01 this is not HTTP\r\n\r\n"
    head = (
        f"HTTP/1.1 {script.bad_status} {REASON}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    match script.disconnect:
        case "before":
            return b"", b""
        case "headers":
            return head[: len(head) // 2], b""
        case "body":
            return head, body[: len(body) // 2]
        case _:
            return head, body


def _changed(script: Script, answer: InvocationResponse) -> InvocationResponse:
    status = script.status_code if script.status_code is not None else 500 if script.error else answer.status_code
    body = answer.body
    if script.huge_body is not None:
        body = msgspec.Raw(b'"' + b"x" * (script.huge_body - 2) + b'"')
    return msgspec.structs.replace(answer, status_code=status, error=script.error, body=body)


def _decode(kind: type[object], value: object) -> object:
    if kind is Seconds and isinstance(value, str):
        return Seconds.parse(value)
    raise NotImplementedError(f"no value of type {kind.__name__} can be read from {value!r}")
