"""As much of JetStream as the benchmark needs, on `lean_nats`: make, publish in a window, pull, look."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from tests.bench.lean_nats import LeanNats, LeanNatsError

BATCH: Final = 64
WINDOW: Final = 64

Json = dict[str, Any]
Delivered = Callable[[bytes, bytes, bytes], None]
"""Called with a delivery's subject, ack subject and body."""


class ConsumerState(msgspec.Struct):
    """What the server says of a consumer: the part that tells whether it is done, and how often it delivered."""

    num_pending: int
    num_ack_pending: int
    num_redelivered: int
    delivered: dict[str, Any]

    @property
    def deliveries(self) -> int:
        """How often anything was delivered; more than there are messages means that some came again."""
        return int(self.delivered["consumer_seq"])


async def call(nats: LeanNats, subject: str, body: Json | None = None) -> Json:
    """Call JetStream's API.

    Raises:
        LeanNatsError: the server answered with an error.
    """
    answer = await nats.request(f"$JS.API.{subject}".encode(), msgspec.json.encode(body) if body else b"")
    decoded: Json = msgspec.json.decode(answer)
    if "error" in decoded:
        raise LeanNatsError(f"{subject}: {decoded['error']['description']}")
    return decoded


async def consumer_state(nats: LeanNats, stream: str, consumer: str) -> ConsumerState:
    """Ask how far a consumer is; LeanNatsError while it is not there."""
    return msgspec.convert(await call(nats, f"CONSUMER.INFO.{stream}.{consumer}"), ConsumerState)


async def make_consumer(nats: LeanNats, stream: str, name: str, **config: Any) -> None:
    """Create a durable pull consumer, or bind to the same one."""
    settings = {"durable_name": name, "ack_policy": "explicit", "deliver_policy": "all"} | config
    await call(nats, f"CONSUMER.DURABLE.CREATE.{stream}.{name}", {"stream_name": stream, "config": settings})


async def publish_all(nats: LeanNats, messages: Iterable[tuple[bytes, bytes, bytes]], window: int = WINDOW) -> None:
    """Store messages, given as subject, body and message id, with at most `window` of them unconfirmed.

    Raises:
        LeanNatsError: one was refused, or was there before.
    """
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    source = iter(messages)
    under_way = 0

    def send() -> bool:
        nonlocal under_way
        for subject, body, message_id in source:
            under_way += 1
            nats.ask(subject, body, confirmed, message_id)
            return True
        return False

    def confirmed(answer: bytes) -> None:
        nonlocal under_way
        under_way -= 1
        if b'"seq"' not in answer or b'"duplicate"' in answer:
            if not done.done():
                done.set_exception(LeanNatsError(f"not stored: {answer.decode()}"))
        elif not send() and not under_way and not done.done():
            done.set_result(None)

    while under_way < window and send():
        pass
    if under_way:
        await done


class Puller:
    """Pulls from a consumer for as long as the connection lives; asks for more when half a batch is left."""

    def __init__(self, nats: LeanNats, stream: str, consumer: str, on_delivery: Delivered, batch: int = BATCH) -> None:
        self._nats = nats
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}".encode()
        self._inbox = nats.inbox + b"pull." + consumer.encode()
        self._on_delivery = on_delivery
        self._batch = batch
        self._left = 0
        nats.subscribe(self._inbox, self._received)
        self._ask()

    def _ask(self) -> None:
        self._nats.publish(self._next, b"%d" % (self._batch - self._left), reply=self._inbox)
        self._left = self._batch

    def _received(self, subject: bytes, ack: bytes, body: bytes) -> None:
        if not ack:
            raise LeanNatsError("the server ended a pull request")
        self._left -= 1
        if self._left <= self._batch // 2:
            self._ask()
        self._on_delivery(subject, ack, body)


async def pull_and_ack(nats: LeanNats, stream: str, consumer: str, count: int) -> None:
    """Take and acknowledge so many messages."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = count

    def delivered(_subject: bytes, ack: bytes, _body: bytes) -> None:
        nonlocal left
        nats.publish(ack, b"")
        left -= 1
        if not left:
            done.set_result(None)

    Puller(nats, stream, consumer, delivered)
    await done


async def read_stream(nats: LeanNats, stream: str) -> list[tuple[str, bytes]]:
    """Return subject and body of everything that a stream holds."""
    total = int((await call(nats, f"STREAM.INFO.{stream}"))["state"]["messages"])
    entries: list[tuple[str, bytes]] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def delivered(subject: bytes, _ack: bytes, body: bytes) -> None:
        entries.append((subject.decode(), body))
        if len(entries) == total:
            done.set_result(None)

    if total:
        await make_consumer(nats, stream, "bench-reader", ack_policy="none", mem_storage=True)
        Puller(nats, stream, "bench-reader", delivered, batch=1024)
        await done
    return entries
