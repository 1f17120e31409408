"""Following a stream: every message once and in order, across lost connections, for ever."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

import structlog

from sidecar.queue import Consumer, Delivery, Queue, QueueError

FETCH_BATCH: Final = 256
RECOVERY_S: Final = 0.2
"""Pause after a failed fetch, before the stream is read on."""

log = structlog.get_logger(__name__)


async def follow(
    queue: Queue, subject: str, start: int, *, stream: str = "", headers_only: bool = False
) -> AsyncGenerator[list[Delivery], None]:
    """Yield what is stored on a subject (wildcards allowed) from a sequence on, then what comes, in batches.

    Whoever waits for other things between the batches has to close it (`aclosing`). An empty batch says that for a
    while nothing came. When the connection was lost, or the deliveries' numbers show a
    gap, the stream is read again from where it was left.
    """
    following = start
    while True:
        try:
            reader = await queue.reader(subject, following, stream=stream, headers_only=headers_only)
            async with aclosing(_in_order(reader)) as batches:
                async for batch in batches:
                    if batch:
                        following = batch[-1].sequence + 1
                    yield batch
        except QueueError as error:
            log.debug("reading the stream again", subject=subject, start=following, error=str(error))
            await asyncio.sleep(RECOVERY_S)


async def _in_order(reader: Consumer) -> AsyncGenerator[list[Delivery], None]:
    """The reader's deliveries until one is, or may be, missing."""
    expected = 1
    try:
        while not reader.interruptions:
            batch = await reader.fetch(FETCH_BATCH)
            for place, delivery in enumerate(batch):
                if delivery.consumer_sequence != expected:
                    if place:
                        yield batch[:place]
                    return
                expected += 1
            yield batch
    finally:
        with suppress(QueueError):
            await reader.close()
