"""Durable consumers seen from outside: how far they are, and stopping them."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import msgspec

from sidecar.queue import Queue
from simulator.jetstream.requests import NotThereError, ask

FOR_GOOD: Final = "2999-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class ConsumerState:
    """Positions are stream sequences; `pending` was never delivered, `ack_pending` was but is not acknowledged.

    `start` is where it began to deliver, 0: at the first message.
    """

    name: str
    filter_subject: str
    ack_floor: int
    delivered: int
    pending: int
    ack_pending: int
    paused: bool
    start: int = 0


class _Sequences(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _Config(msgspec.Struct, frozen=True):
    filter_subject: str = ""
    opt_start_seq: int = 0


class _InfoAnswer(msgspec.Struct, frozen=True):
    name: str
    config: _Config
    delivered: _Sequences
    ack_floor: _Sequences
    num_pending: int = 0
    num_ack_pending: int = 0
    paused: bool = False


class _PauseAnswer(msgspec.Struct, frozen=True):
    paused: bool = False


class _NamesAnswer(msgspec.Struct, frozen=True):
    total: int = 0
    consumers: list[str] | None = None


async def consumer_state(queue: Queue, durable: str) -> ConsumerState | None:
    """What the server knows of a consumer of the platform's stream; None when there is none.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    try:
        info = await ask(queue, f"CONSUMER.INFO.{queue.stream.name}.{durable}", None, _InfoAnswer)
    except NotThereError:
        return None
    return ConsumerState(
        name=info.name,
        filter_subject=info.config.filter_subject,
        ack_floor=info.ack_floor.stream_seq,
        delivered=info.delivered.stream_seq,
        pending=info.num_pending,
        ack_pending=info.num_ack_pending,
        paused=info.paused,
        start=info.config.opt_start_seq,
    )


async def pause_consumer(queue: Queue, durable: str) -> bool:
    """Let a consumer deliver nothing more; acks of what it delivered still count. False when there is none.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    try:
        await ask(queue, f"CONSUMER.PAUSE.{queue.stream.name}.{durable}", {"pause_until": FOR_GOOD}, _PauseAnswer)
    except NotThereError:
        return False
    return True


async def resume_consumer(queue: Queue, durable: str) -> None:
    """Let a consumer that was paused deliver again.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    with suppress(NotThereError):
        await ask(queue, f"CONSUMER.PAUSE.{queue.stream.name}.{durable}", {}, _PauseAnswer)


async def consumer_names(queue: Queue) -> list[str]:
    """Names of all consumers of the platform's stream.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    names: list[str] = []
    while True:
        page = await ask(queue, f"CONSUMER.NAMES.{queue.stream.name}", {"offset": len(names)}, _NamesAnswer)
        names += page.consumers or ()
        if not page.consumers or len(names) >= page.total:
            return names
