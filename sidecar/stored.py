"""What JetStream answers when it is asked to store a message."""

from collections.abc import Mapping
from typing import Final

import msgspec

from sidecar.queue_errors import (
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    TtlRefusedError,
    WrongSequenceError,
)

MESSAGE_ID_HEADER: Final = "Nats-Msg-Id"
TTL_HEADER: Final = "Nats-TTL"
"""With it the stream forgets a message after a time such as `45s`, if it allows that."""
EXPECTED_HEADER: Final = "Nats-Expected-Last-Subject-Sequence"
"""With it a message is stored only if the last one on its subject has this sequence; 0: if there is none."""
ATTEMPT_HEADER: Final = "Serverless-Attempt"
"""On a dispatch that was moved: the how-manieth of its invocation it is, from 2 on (S13)."""
ONCE_HEADER: Final = "Serverless-Once"
"""On the dispatches of pools whose invocations must not run again: a second delivery is not run (S13)."""
RUNS_HEADER: Final = "Serverless-Runs"
"""On a dispatch that was moved: how often the invocation may have run before."""
_TTL_DISABLED: Final = 10166
"""The server's `err_code` when the stream has no `allow_msg_ttl`."""
_WRONG_SEQUENCE: Final = frozenset({10071, 10164})
"""The server's `err_code`s when `EXPECTED_HEADER` does not hold."""


class Published(msgspec.Struct, frozen=True):
    """Where a message was stored. `duplicate` means: its id was already there, at `sequence`."""

    stream: str
    sequence: int
    duplicate: bool


class _Refusal(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _PublishAnswer(msgspec.Struct, frozen=True):
    """What JetStream says to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Refusal | None = None


_publish_answers = msgspec.json.Decoder(_PublishAnswer)


def dispatch_number(headers: Mapping[str, str]) -> int:
    """The how-manieth dispatch of its invocation a message is, by its headers."""
    return number_in(headers, ATTEMPT_HEADER, 1)


def number_in(headers: Mapping[str, str], name: str, default: int) -> int:
    """A number among the headers; `default` where there is none that makes sense."""
    text = headers.get(name, "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 10 else default


def published(answer: bytes) -> Published:
    """What the server's answer to `Queue.start_publish` says.

    Raises:
        QueueUnavailableError: the server could not store it now.
        QueueRefusedError: the server refused.
        WrongSequenceError: the subject's last message is another one than was expected.
        TtlRefusedError: the stream takes no message with a time to live.
    """
    try:
        said = _publish_answers.decode(answer)
    except msgspec.DecodeError as error:
        raise QueueRefusedError(f"not an answer of JetStream: {error}") from error
    if said.error is not None:
        raise _refused(said.error)
    return Published(said.stream, said.seq, said.duplicate)


def _refused(refusal: _Refusal) -> QueueError:
    if refusal.err_code == _TTL_DISABLED:
        return TtlRefusedError(refusal.description)
    if refusal.err_code in _WRONG_SEQUENCE:
        return WrongSequenceError(refusal.description)
    if refusal.code >= 500:
        return QueueUnavailableError(refusal.description)
    return QueueRefusedError(refusal.description)
