"""What JetStream answers when it is asked to store a message."""

from typing import Final

import msgspec

from sidecar.queue_errors import QueueError, QueueRefusedError, QueueUnavailableError, TtlRefusedError

MESSAGE_ID_HEADER: Final = "Nats-Msg-Id"
TTL_HEADER: Final = "Nats-TTL"
"""With it the stream forgets a message after a time such as `45s`, if it allows that."""
_TTL_DISABLED: Final = 10166
"""The server's `err_code` when the stream has no `allow_msg_ttl`."""


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


def published(answer: bytes) -> Published:
    """What the server's answer to `Queue.start_publish` says.

    Raises:
        QueueUnavailableError: the server could not store it now.
        QueueRefusedError: the server refused.
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
    if refusal.code >= 500:
        return QueueUnavailableError(refusal.description)
    return QueueRefusedError(refusal.description)
