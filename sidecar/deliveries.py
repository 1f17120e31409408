"""Pull consumers and what they deliver (contract 2.5 and 2.6), on top of nats-py's connection."""

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sidecar.nats_client import LeanClient, parse_headers
from sidecar.queue_errors import QueueError, QueueRefusedError, QueueUnavailableError, translated
from sidecar.requests import Requests
from sidecar.stored import MESSAGE_ID_HEADER
from sidecar.tracing import NO_HEADERS

ACK_TIMEOUT_S: Final = 5.0
"""How long a confirmed ack may take; the message is delivered again when it is lost."""
PULL_EXPIRES_S: Final = 10.0
"""How long the server keeps a pull request; then it says so."""
PULL_GRACE_S: Final = 2.0
"""A pull request that the server did not end this long after its time was lost."""
CLOSE_TIMEOUT_S: Final = 1.0

_ID_FIRST: Final = f"NATS/1.0\r\n{MESSAGE_ID_HEADER}: ".encode()
"""How the headers of nearly all messages begin; then nothing else follows."""
_ID_AT: Final = len(_ID_FIRST)
_SIZE_HEADER: Final = "Nats-Msg-Size"
"""What the server adds where it leaves bodies out."""
_SIZE_NEXT: Final = f"\r\n{_SIZE_HEADER}: ".encode()
_PENDING_HEADER: Final = "Nats-Pending-Messages"
_ENDED = frozenset({"404", "408"})
"""No messages, or not as many as asked for: the normal end of a pull request."""


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """A durable pull consumer with explicit acks (contract 2.5).

    A server-side `backoff` would replace the ack wait (Q1, Q2), and a server-side `max_deliver` would end deliveries
    without a word (Q4): neither is set.
    """

    durable: str
    filter_subject: str
    ack_wait_s: float
    max_ack_pending: int = 1000
    start_sequence: int = 0
    """Where in the stream a new consumer begins; 0: at the first message."""


class Delivery:
    """One delivered message. Exactly one of `ack`, `nak` and `term` ends it."""

    __slots__ = (
        "_client",
        "_headers",
        "_reply",
        "_requests",
        "_subject",
        "attempt",
        "consumer_sequence",
        "data",
        "sequence",
    )

    def __init__(
        self, client: LeanClient, requests: Requests, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        self._client = client
        self._requests = requests
        self._subject = subject
        self._reply = reply
        self._headers = headers
        self.data = data
        """Body, untouched."""
        # $JS.ACK.[domain.account.]stream.consumer.delivered.sequence.consumer_sequence.time.pending[.random]
        fields = reply.split(b".")
        first = 4 if len(fields) == 9 else 6
        self.attempt = int(fields[first])
        """How often the message was delivered, this time included."""
        self.sequence = int(fields[first + 1])
        """Position in the stream."""
        self.consumer_sequence = int(fields[first + 2])
        """Position among the consumer's deliveries."""

    @property
    def subject(self) -> str:
        """Subject that the message was published to."""
        return self._subject.decode()

    @property
    def stored_at(self) -> float:
        """When the message was stored, by the server's clock: seconds since 1970."""
        fields = self._reply.split(b".")
        return int(fields[7 if len(fields) == 9 else 9]) / 1e9

    @property
    def message_id(self) -> str:
        """The id under which it was published, "" if there was none."""
        raw = self._headers
        if raw.startswith(_ID_FIRST):
            return raw[_ID_AT : raw.find(b"\r\n", _ID_AT)].decode(errors="replace").strip()
        return parse_headers(raw).get(MESSAGE_ID_HEADER, "")

    @property
    def extra_headers(self) -> Mapping[str, str]:
        """NATS headers, if there are others than the message id."""
        raw = self._headers
        if raw.startswith(_ID_FIRST):
            end, last = raw.find(b"\r\n", _ID_AT), len(raw) - 4
            if end == last or (raw.startswith(_SIZE_NEXT, end) and raw.find(b"\r\n", end + 2) == last):
                return NO_HEADERS
        headers = parse_headers(raw)
        headers.pop(_SIZE_HEADER, None)
        return headers

    async def ack(self, timeout_s: float = ACK_TIMEOUT_S) -> None:
        """Mark the message as done and wait until the server says so (S5).

        Raises:
            QueueUnavailableError: no confirmation in time; the message may be delivered again.
        """
        await self._requests.start(self._reply.decode(), b"+ACK", timeout_s)

    def ack_unconfirmed(self) -> None:
        """Mark the message as done; should that be lost, it is delivered again: for those whom that does not harm."""
        self._client.write(self._reply.decode(), b"+ACK")

    async def nak(self, delay_s: float = 0) -> None:
        """Give the message back, to be delivered again after `delay_s` seconds."""
        answer = b'-NAK {"delay": %d}' % round(delay_s * 1e9) if delay_s else b"-NAK"
        self._client.write(self._reply.decode(), answer)

    async def term(self, reason: str) -> None:
        """Never deliver the message again; `reason` goes into the server's advisory."""
        self._client.write(self._reply.decode(), b"+TERM " + reason.encode())

    async def in_progress(self) -> None:
        """Restart the message's ack wait: its handler still runs."""
        self._client.write(self._reply.decode(), b"+WPI")


class Consumer:
    """Receives the deliveries of one consumer, always with a pull request at the server (S4)."""

    def __init__(self, client: LeanClient, requests: Requests, stream: str, name: str, ack_wait_s: float) -> None:
        self.name = name
        self.ack_wait_s = ack_wait_s
        """How long the server waits for an ack, in seconds; 0 where none is needed."""
        self.interruptions = 0
        """How often the connection was lost: what was on its way then is lost, where nothing is acknowledged."""
        self._client = client
        self._requests = requests
        self._pull_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"
        self._inbox = client.new_inbox()
        self._subscription: int | None = None
        self._received: deque[Delivery] = deque()
        self._wanted = 0
        self._wanted_until = 0.0
        self._error: QueueError | None = None
        self._news = asyncio.Event()

    @property
    def held(self) -> list[Delivery]:
        """What was received and not fetched yet."""
        return list(self._received)

    async def open(self) -> None:
        """Listen for deliveries.

        Raises:
            QueueError: the server refuses.
        """
        with translated(f"consumer {self.name}"):
            self._subscription = await self._client.hear(self._inbox, self._receive)

    async def fetch(self, batch: int = 1, wait_s: float = 2.0) -> list[Delivery]:
        """Return up to `batch` deliveries, as soon as there are any; an empty list after `wait_s` seconds.

        What the server sends later, of what was asked for, is there for the next fetch.

        Raises:
            QueueUnavailableError: nobody serves the consumer now.
            QueueRefusedError: the consumer was deleted.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while not self._received:
            self._news.clear()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            now = loop.time()
            if now >= until:
                return []
            self._top_up(batch, now)
            wait_until = min(until, self._wanted_until) if self._wanted else until
            timer = loop.call_at(wait_until, self._news.set)
            try:
                await self._news.wait()
            finally:
                timer.cancel()
        return [self._received.popleft() for _ in range(min(batch, len(self._received)))]

    def _top_up(self, batch: int, now: float) -> None:
        """Ask for more when half of what is wanted has come, or what was asked for is lost."""
        if self._wanted and now >= self._wanted_until:
            self._wanted = 0
        if self._wanted > batch // 2:
            return
        more = batch - self._wanted
        request = b'{"batch":%d,"expires":%d}' % (more, int(PULL_EXPIRES_S * 1e9))
        self._wanted += more
        self._wanted_until = now + PULL_EXPIRES_S + PULL_GRACE_S
        self._client.write(self._pull_subject, request, self._inbox)

    def restart(self) -> None:
        """Ask anew: the connection that carried the pull requests is gone."""
        self.interruptions += 1
        self._wanted = 0
        self._news.set()

    def _receive(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        if reply:
            if self._wanted:
                self._wanted -= 1
            self._received.append(Delivery(self._client, self._requests, subject, reply, data, headers))
        else:
            self._pull_ended(parse_headers(headers))
        self._news.set()

    def _pull_ended(self, headers: Mapping[str, str]) -> None:
        """The server ended a pull request: it expired, or it cannot be served."""
        status, left = headers.get("Status", ""), headers.get(_PENDING_HEADER, "")
        self._wanted = max(self._wanted - int(left), 0) if left.isdecimal() else 0
        if status in _ENDED:
            return
        text = f"consumer {self.name}: {headers.get('Description') or status}"
        deleted = "deleted" in text.lower()
        self._error = QueueRefusedError(text) if deleted else QueueUnavailableError(text)

    async def close(self) -> None:
        """Stop receiving and give back what was received but not fetched."""
        subscription, self._subscription = self._subscription, None
        if subscription is None:
            return
        with suppress(QueueError), translated(f"close consumer {self.name}"):
            # What the server sent before it heard of this still arrives.
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._client.unhear(subscription)
        if not self.ack_wait_s:
            self._received.clear()
        while self._received:
            with suppress(QueueError):  # the server delivers it again after the ack wait
                await self._received.popleft().nak()
