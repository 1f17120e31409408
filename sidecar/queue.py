"""A JetStream connection in the words of the platform (contract 2.3 to 2.5); nothing else talks to nats-py.

`Queue` publishes with message ids, opens inboxes and binds consumers. A lost connection is
restored in the background, for ever; what fails meanwhile raises `QueueError`.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Self

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    Header,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from sidecar.deliveries import Consumer, ConsumerSettings, Delivery
from sidecar.queue_connection import CONNECT_TIMEOUT_S, close, connected_client, redact_url
from sidecar.queue_errors import (
    CancellationKept,
    MessageTooLargeError,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    translated,
)
from sidecar.subjects import DEFAULT_STREAM, Subjects

REQUEST_TIMEOUT_S: Final = 5.0
READER_THRESHOLD_S: Final = 60.0
"""The server forgets a reader that asks for nothing for this long."""

__all__ = [
    "Consumer",
    "ConsumerSettings",
    "Delivery",
    "Inbox",
    "MessageTooLargeError",
    "Published",
    "Queue",
    "QueueError",
    "QueueRefusedError",
    "QueueUnavailableError",
    "StreamSettings",
    "redact_url",
]


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The one stream of the platform (contract 2.3). Times are seconds."""

    name: str = DEFAULT_STREAM
    subjects: Subjects = field(default_factory=Subjects)
    replicas: int = 1
    max_age_s: float = 72 * 3600
    duplicate_window_s: float = 24 * 3600

    def __post_init__(self) -> None:
        if self.duplicate_window_s > self.max_age_s:
            raise ValueError("the stream's duplicate window must not be longer than its max age")


@dataclass(frozen=True, slots=True)
class Published:
    """Where a message was stored. `duplicate` means: its id was already there, at `sequence`."""

    stream: str
    sequence: int
    duplicate: bool


class Inbox:
    """A core NATS subject that is listened to."""

    def __init__(self, subject: str, subscription: Subscription) -> None:
        self.subject = subject
        self._subscription = subscription

    async def receive(self, timeout_s: float) -> bytes:
        """Return the next message.

        Raises:
            TimeoutError: none came within `timeout_s` seconds.
            QueueUnavailableError: the connection was closed.
        """
        with CancellationKept():
            try:
                message = await self._subscription.next_msg(timeout=timeout_s)
            except TimeoutError:
                raise
            except nats.errors.Error as error:
                raise QueueUnavailableError(f"receive on {self.subject}: {error}") from error
        return bytes(message.data)


class Queue:
    """One connection to the platform's stream."""

    def __init__(self, client: Client, stream: StreamSettings) -> None:
        self._client = client
        self._jetstream = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self.stream = stream

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        client_name: str,
        stream: StreamSettings | None = None,
        timeout_s: float | None = CONNECT_TIMEOUT_S,
    ) -> AsyncIterator[Self]:
        """Connect, trying again until `timeout_s` seconds passed (None: for ever); close at the end of the block.

        Raises:
            QueueUnavailableError: no connection in time; the message names the server without credentials.
            QueueRefusedError: the credentials were refused.
        """
        client = await connected_client(url, client_name, timeout_s)
        try:
            yield cls(client, stream or StreamSettings())
        finally:
            await close(client)

    @property
    def subjects(self) -> Subjects:
        """Builder of the stream's subjects."""
        return self.stream.subjects

    @property
    def max_payload(self) -> int:
        """The server's limit for one message, headers included, in bytes."""
        return self._client.max_payload

    @property
    def connected(self) -> bool:
        """Whether the connection is up now."""
        return self._client.is_connected

    async def ensure_stream(self) -> None:
        """Create the stream when it is missing; an existing one is never altered (S21).

        Raises:
            QueueError: JetStream is off, unreachable, or refuses the settings.
        """
        with translated(f"stream {self.stream.name}"):
            try:
                await self._jetstream.stream_info(self.stream.name)
            except nats.js.errors.NotFoundError:
                await self._jetstream.add_stream(_stream_config(self.stream))

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Published:
        """Store a message once: a second one with the same id is recognised by the server (contract 2.4).

        Raises:
            MessageTooLargeError: larger than `max_payload`.
            QueueUnavailableError: no answer within `timeout_s` seconds; it may have been stored.
            QueueRefusedError: no stream takes the subject, or the server refused.
        """
        with translated(f"publish to {subject}"):
            ack = await self._jetstream.publish(subject, data, timeout=timeout_s, headers={Header.MSG_ID: message_id})
        return Published(stream=ack.stream, sequence=ack.seq, duplicate=bool(ack.duplicate))

    async def send(self, subject: str, data: bytes) -> None:
        """Send on core NATS: whoever listens now gets it, nobody stores it.

        Raises:
            MessageTooLargeError, QueueUnavailableError: as for `publish`.
        """
        with translated(f"send to {subject}"):
            await self._client.publish(subject, data)

    @asynccontextmanager
    async def listen(self, subject: str) -> AsyncIterator[Inbox]:
        """Receive what is published to `subject` (wildcards allowed) on core NATS, from the block's start on."""
        with translated(f"subscribe to {subject}"):
            subscription = await self._client.subscribe(subject)
            await self._client.flush(timeout=int(REQUEST_TIMEOUT_S))
        try:
            yield Inbox(subject, subscription)
        finally:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

    def inbox(self) -> AbstractAsyncContextManager[Inbox]:
        """Open a private reply subject; the server knows of it when the block starts."""
        return self.listen(self._client.new_inbox())

    async def consumer(self, settings: ConsumerSettings) -> Consumer:
        """Create the durable consumer, or bind to it when it exists.

        Raises:
            QueueError: the server refuses, or does not answer.
        """
        with translated(f"consumer {settings.durable}"):
            await self._jetstream.add_consumer(
                self.stream.name,
                ConsumerConfig(
                    durable_name=settings.durable,
                    deliver_policy=DeliverPolicy.ALL,
                    ack_policy=AckPolicy.EXPLICIT,
                    ack_wait=settings.ack_wait_s,
                    filter_subject=settings.filter_subject,
                    max_ack_pending=settings.max_ack_pending,
                ),
            )
            subscription = await self._jetstream.pull_subscribe_bind(settings.durable, self.stream.name)
        return Consumer(subscription)

    async def reader(self, subject: str, start_sequence: int) -> Consumer:
        """Look on at what is stored: a temporary consumer from a stream sequence on, whose deliveries need no ack.

        Raises:
            QueueError: the server refuses, or does not answer.
        """
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=start_sequence,
            ack_policy=AckPolicy.NONE,
            filter_subject=subject,
            inactive_threshold=READER_THRESHOLD_S,
            mem_storage=True,
        )
        with translated(f"reader of {subject}"):
            made = await self._jetstream.add_consumer(self.stream.name, config)
            subscription = await self._jetstream.pull_subscribe_bind(made.name, self.stream.name)
        return Consumer(subscription)


def _stream_config(settings: StreamSettings) -> StreamConfig:
    return StreamConfig(
        name=settings.name,
        subjects=settings.subjects.families(),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=max(settings.replicas, 1),
        max_age=settings.max_age_s,
        duplicate_window=settings.duplicate_window_s,
    )
