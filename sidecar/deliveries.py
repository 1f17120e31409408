"""Pull consumers and what they deliver (contract 2.5 and 2.6), on top of nats-py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from sidecar.queue_errors import QueueError, translated

ACK_TIMEOUT_S = 5.0
"""How long a confirmed ack may take; the message is delivered again when it is lost."""


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """A durable pull consumer with explicit acks (contract 2.5); a `backoff` would replace the ack wait (Q1, Q2)."""

    durable: str
    filter_subject: str
    ack_wait_s: float
    max_ack_pending: int = 1000


class Delivery:
    """One delivered message. Exactly one of `ack`, `nak` and `term` ends it."""

    __slots__ = ("_msg",)

    def __init__(self, msg: Msg) -> None:
        self._msg = msg

    @property
    def subject(self) -> str:
        """Subject that the message was published to."""
        return self._msg.subject

    @property
    def data(self) -> bytes:
        """Body, untouched."""
        return self._msg.data

    @property
    def sequence(self) -> int:
        """Position in the stream."""
        return self._msg.metadata.sequence.stream

    @property
    def consumer_sequence(self) -> int:
        """Position among the consumer's deliveries."""
        return self._msg.metadata.sequence.consumer

    @property
    def attempt(self) -> int:
        """How often the message was delivered, this time included."""
        return self._msg.metadata.num_delivered or 1

    async def ack(self, timeout_s: float = ACK_TIMEOUT_S) -> None:
        """Mark the message as done and wait until the server says so (S5).

        Raises:
            QueueUnavailableError: no confirmation in time; the message may be delivered again.
        """
        with translated("ack"):
            await self._msg.ack_sync(timeout=timeout_s)

    async def nak(self, delay_s: float = 0) -> None:
        """Give the message back, to be delivered again after `delay_s` seconds."""
        with translated("nak"):
            await self._msg.nak(delay=delay_s or None)

    async def term(self, reason: str) -> None:
        """Never deliver the message again; `reason` goes into the server's advisory."""
        with translated("term"):
            await self._msg._client.publish(self._msg.reply, b"+TERM " + reason.encode())  # noqa: SLF001 - no public way to give a reason

    async def in_progress(self) -> None:
        """Restart the message's ack wait: its handler still runs."""
        with translated("in-progress ack"):
            await self._msg.in_progress()


class Consumer:
    """Fetches the deliveries of one consumer."""

    def __init__(self, subscription: JetStreamContext.PullSubscription) -> None:
        self._subscription = subscription

    async def fetch(self, batch: int = 1, wait_s: float = 2.0) -> list[Delivery]:
        """Return up to `batch` deliveries; an empty list when `wait_s` seconds passed without one.

        Raises:
            QueueUnavailableError: the connection was lost.
            QueueRefusedError: the consumer was deleted or may not be used.
        """
        with translated("fetch") as cancellation:
            try:
                messages = await self._subscription.fetch(batch, timeout=wait_s)
            except (nats.errors.TimeoutError, TimeoutError):
                return []
            if cancellation.swallowed:
                for message in messages:  # nobody will get them: they are somebody else's at once
                    await message.nak()
        return [Delivery(message) for message in messages]

    async def close(self) -> None:
        """Stop receiving and give back what was received but not fetched."""
        with suppress(nats.errors.Error):
            buffered = self._subscription._sub._pending_queue  # noqa: SLF001 - nats-py offers no way to look at it
            await self._subscription.unsubscribe()
            while not buffered.empty():
                message = buffered.get_nowait()
                if message.reply and not JetStreamContext.is_status_msg(message):
                    await message.nak()


@asynccontextmanager
async def kept_in_progress(delivery: Delivery, ack_wait_s: float) -> AsyncIterator[None]:
    """Send in-progress acks at a third of the ack wait while the block runs (S5)."""

    async def refresh() -> None:
        while True:
            await asyncio.sleep(ack_wait_s / 3)
            with suppress(QueueError):  # the next one may get through
                await delivery.in_progress()

    task = asyncio.create_task(refresh())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
