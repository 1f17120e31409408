"""A JetStream connection in the words of the platform (contract 2.3 to 2.5); nothing else talks to nats-py.

`Queue` publishes with message ids, opens inboxes and binds consumers. A lost connection is
restored in the background, for ever; what fails meanwhile raises `QueueError`.
"""

import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Self

import nats.errors
import nats.js.errors
import structlog
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from sidecar.deliveries import Consumer, ConsumerSettings, Delivery
from sidecar.nats_client import LeanClient
from sidecar.queue_connection import CONNECT_TIMEOUT_S, Access, Credentials, close, connected_client, redact_url
from sidecar.queue_errors import (
    CancellationKept,
    MessageTooLargeError,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    TtlRefusedError,
    WrongSequenceError,
    translated,
)
from sidecar.requests import Answer, Requests
from sidecar.stored import MESSAGE_ID_HEADER, Published, published
from sidecar.stream import StreamSettings, consumer_config, differs, stream_config
from sidecar.subjects import Subjects

REQUEST_TIMEOUT_S: Final = 5.0
CHANGE_TIMEOUT_S: Final = 2.0
"""For a change of a consumer: where that is not allowed the server does not answer."""
READER_THRESHOLD_S: Final = 60.0
"""The server forgets a reader that asks for nothing for this long."""


__all__ = [
    "Access",
    "Consumer",
    "ConsumerSettings",
    "Credentials",
    "Delivery",
    "Inbox",
    "MessageTooLargeError",
    "Published",
    "Queue",
    "QueueError",
    "QueueRefusedError",
    "QueueUnavailableError",
    "StreamSettings",
    "TtlRefusedError",
    "WrongSequenceError",
    "published",
    "redact_url",
]


log = structlog.get_logger(__name__)


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

    def __init__(self, client: LeanClient, requests: Requests, stream: StreamSettings) -> None:
        self._client = client
        self._requests = requests
        self._jetstream = client.jetstream(timeout=REQUEST_TIMEOUT_S)
        self._consumers: weakref.WeakSet[Consumer] = weakref.WeakSet()
        self.stream = stream
        self.on_restored: Callable[[], None] | None = None
        """Called whenever a lost connection is back."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        client_name: str,
        stream: StreamSettings | None = None,
        timeout_s: float | None = CONNECT_TIMEOUT_S,
        access: Access | None = None,
    ) -> AsyncIterator[Self]:
        """Connect, trying again until `timeout_s` seconds passed (None: for ever); close at the end of the block.

        Raises:
            QueueUnavailableError: no connection in time; the message names the server without credentials.
            QueueRefusedError: the credentials were refused.
        """
        queue: Self | None = None

        def restored() -> None:
            if queue is not None:
                queue._restored()

        client = await connected_client(url, client_name, timeout_s, access or Access(), restored)
        try:
            requests = Requests(client)
            await requests.open()
            queue = cls(client, requests, stream or StreamSettings())
            yield queue
        finally:
            await close(client)

    def _restored(self) -> None:
        """What the lost connection carried is lost too: requests fail, to be repeated; consumers ask anew."""
        self._requests.abandon("the connection was lost meanwhile")
        for consumer in list(self._consumers):
            consumer.restart()
        if self.on_restored is not None:
            self.on_restored()

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
                await self._jetstream.add_stream(stream_config(self.stream))

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Published:
        """Store a message once: a second one with the same id is recognised by the server (contract 2.4).

        Raises:
            MessageTooLargeError: larger than `max_payload`.
            QueueUnavailableError: no answer within `timeout_s` seconds, and it may have been stored; or no stream takes
                the subject now.
            WrongSequenceError: `headers` hold an expectation that is not met.
            QueueRefusedError: the server refused.
        """
        return published(await self._requests.start(subject, data, timeout_s, _with_id(message_id, headers)))

    def start_publish(
        self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None, answer: Answer
    ) -> None:
        """Send a message to be stored; `answer` hears what comes of it, which `published` reads.

        Raises:
            QueueError: it could not be sent.
        """
        self._requests.send(subject, data, REQUEST_TIMEOUT_S, _with_id(message_id, headers), answer)

    async def request(self, subject: str, body: bytes, timeout_s: float = REQUEST_TIMEOUT_S) -> bytes:
        """Ask whoever serves a subject, such as one of the JetStream API, and return the answer's body.

        Raises:
            QueueUnavailableError: no answer within `timeout_s` seconds, or nobody serves the subject now.
        """
        return await self._requests.start(subject, body, timeout_s)

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send on core NATS: whoever listens now gets it, nobody stores it.

        Raises:
            MessageTooLargeError, QueueUnavailableError: as for `publish`.
        """
        self._client.write(subject, data, headers=headers)

    async def hear(self, subject: str, receive: Callable[[str, bytes], None]) -> None:
        """Have `receive` called with subject and body of each message on core NATS, as long as the queue is open.

        Raises:
            QueueError: the server refuses.
        """
        with translated(f"subscribe to {subject}"):
            await self._client.hear(subject, lambda to, _reply, body, _headers: receive(to.decode(), body))
            await self._client.settle()

    def new_inbox(self) -> str:
        """A fresh subject for answers, which this connection may hear."""
        return self._client.new_inbox()

    @asynccontextmanager
    async def listen(self, subject: str) -> AsyncIterator[Inbox]:
        """Receive what is published to `subject` (wildcards allowed) on core NATS, from the block's start on."""
        with translated(f"subscribe to {subject}"):
            subscription = await self._client.subscribe(subject)
            await self._client.settle()
        try:
            yield Inbox(subject, subscription)
        finally:
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

    def inbox(self) -> AbstractAsyncContextManager[Inbox]:
        """Open a private reply subject; the server knows of it when the block starts."""
        return self.listen(self._client.new_inbox())

    async def consumer(self, settings: ConsumerSettings) -> Consumer:
        """Bind to the durable consumer; where it is missing, make it and the stream that it needs.

        A worker's own identity may only bind: its consumer is made by whoever made the identity (S23). A consumer
        that differs is changed where that is allowed, else taken as it is, unless it delivers other messages.

        Raises:
            QueueError: the server refuses, or does not answer.
        """
        wanted = consumer_config(settings)
        with translated(f"consumer {settings.durable}"):
            try:
                found = (await self._jetstream.consumer_info(self.stream.name, settings.durable)).config
            except nats.js.errors.NotFoundError:
                await self.ensure_stream()
                found = (await self._jetstream.add_consumer(self.stream.name, wanted)).config
        if differs(found, wanted):
            found = await self._changed(found, wanted)
        return await self._opened(settings.durable, found.ack_wait or settings.ack_wait_s)

    async def _changed(self, found: ConsumerConfig, wanted: ConsumerConfig) -> ConsumerConfig:
        name = wanted.durable_name
        try:
            with translated(f"change consumer {name}"):
                changed = await self._jetstream.add_consumer(self.stream.name, wanted, timeout=CHANGE_TIMEOUT_S)
                return changed.config
        except QueueError as error:
            if found.filter_subject != wanted.filter_subject:
                raise
            log.warning("consumer taken as it is", consumer=name, ackWait=found.ack_wait, error=str(error))
            return found

    async def delete_consumer(self, durable: str) -> None:
        """Delete a durable consumer; it is no error if there is none.

        Raises:
            QueueError: the server refuses, or does not answer.
        """
        with translated(f"delete consumer {durable}"), suppress(nats.js.errors.NotFoundError):
            await self._jetstream.delete_consumer(self.stream.name, durable)

    async def reader(
        self, subject: str, start_sequence: int, *, stream: str = "", headers_only: bool = False
    ) -> Consumer:
        """Look on at what is stored: a temporary consumer from a stream sequence on, whose deliveries need no ack.

        `stream` is another stream than the platform's; `headers_only` leaves the bodies out.

        Raises:
            QueueError: the server refuses, or does not answer.
        """
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=max(start_sequence, 1),
            ack_policy=AckPolicy.NONE,
            filter_subject=subject,
            inactive_threshold=READER_THRESHOLD_S,
            mem_storage=True,
            headers_only=headers_only,
        )
        stream = stream or self.stream.name
        with translated(f"reader of {subject}"):
            made = await self._jetstream.add_consumer(stream, config)
        return await self._opened(made.name, 0, stream)

    async def _opened(self, name: str, ack_wait_s: float, stream: str = "") -> Consumer:
        consumer = Consumer(self._client, self._requests, stream or self.stream.name, name, ack_wait_s)
        await consumer.open()
        self._consumers.add(consumer)
        return consumer


def _with_id(message_id: str, headers: Mapping[str, str] | None) -> dict[str, str]:
    named = {MESSAGE_ID_HEADER: message_id} if message_id else {}
    return {**named, **headers} if headers else named
