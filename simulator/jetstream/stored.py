"""Single messages of a stream: read by sequence or subject, delete."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from sidecar.nats_client import parse_headers
from sidecar.queue import Queue, QueueError
from simulator.jetstream.requests import NotThereError, ask


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as the stream has it; `time` is when it was stored."""

    subject: str
    sequence: int
    data: bytes
    headers: Mapping[str, str]
    time: datetime


class _Message(msgspec.Struct, frozen=True):
    subject: str
    seq: int
    time: datetime
    hdrs: str = ""
    data: str = ""


class _GetAnswer(msgspec.Struct, frozen=True):
    message: _Message


class _State(msgspec.Struct, frozen=True):
    first_seq: int
    last_seq: int


class _InfoAnswer(msgspec.Struct, frozen=True):
    state: _State


class _DeleteAnswer(msgspec.Struct, frozen=True):
    success: bool = False


async def stored_message(
    queue: Queue, *, sequence: int = 0, last_by_subject: str = "", next_by_subject: str = "", stream: str = ""
) -> StoredMessage | None:
    """Read one message; None when there is none.

    Name it by `sequence`, or take the last of a subject, or the next of a subject from `sequence` on; subjects may have
    wildcards. `stream` is another stream than the platform's.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    wanted: dict[str, int | str] = {"seq": sequence} if sequence else {}
    if last_by_subject:
        wanted["last_by_subj"] = last_by_subject
    if next_by_subject:
        wanted["next_by_subj"] = next_by_subject
    try:
        answer = await ask(queue, f"STREAM.MSG.GET.{stream or queue.stream.name}", wanted, _GetAnswer)
    except NotThereError:
        return None
    found = answer.message
    headers = parse_headers(base64.b64decode(found.hdrs))
    return StoredMessage(found.subject, found.seq, base64.b64decode(found.data), headers, found.time)


async def delete_message(queue: Queue, sequence: int) -> bool:
    """Delete a message of the platform's stream; False when it is not there.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    try:
        answer = await ask(queue, f"STREAM.MSG.DELETE.{queue.stream.name}", {"seq": sequence}, _DeleteAnswer)
    except QueueError:  # the server calls a missing message an error of its own
        if await stored_message(queue, sequence=sequence) is not None:
            raise
        return False
    return answer.success


async def last_sequence(queue: Queue, stream: str = "") -> int:
    """The sequence of a stream's newest message, 0 when it never had one.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    return (await ask(queue, f"STREAM.INFO.{stream or queue.stream.name}", None, _InfoAnswer)).state.last_seq


async def first_sequence(queue: Queue) -> int:
    """The sequence of the oldest message that the platform's stream holds; beyond the newest where it holds none.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    return (await ask(queue, f"STREAM.INFO.{queue.stream.name}", None, _InfoAnswer)).state.first_seq
