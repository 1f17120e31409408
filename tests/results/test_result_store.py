"""P5: every result is kept once, in the bucket, where anybody finds it by its invocation."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from sidecar.messages import InvocationResultMessage, encode
from sidecar.queue import (
    MessageTooLargeError,
    Queue,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    StreamSettings,
)
from sidecar.requests import Answer
from sidecar.stored import EXPECTED_HEADER
from simulator.jetstream.bucket import INVOCATIONS, Bucket, BucketSettings, ensure_bucket, stream_name
from simulator.jetstream.consumers import ConsumerState, consumer_state
from simulator.jetstream.stored import last_sequence
from simulator.nats_server import NatsServer
from simulator.results import store
from simulator.results.keys import result_key
from simulator.results.store import FIRST_WINDOW, READ_BATCH, ResultStore, recent_results, store_consumer, stored_result


def result_of(invocation_id: str, pool: str = "p", **changes: str) -> bytes:
    return encode(InvocationResultMessage(invocation_id=invocation_id, serverless_request_id=pool, **changes))  # type: ignore[arg-type]


@dataclass
class StubDelivery:
    """Notes how it ended; with `closed` the connection cannot take that."""

    data: bytes
    subject: str = "runtime.serverless.result.p"
    sequence: int = 1
    closed: bool = False
    ended: list[str] = field(default_factory=list)

    def ack_unconfirmed(self) -> None:
        self._end("ack")

    async def term(self, reason: str) -> None:
        self._end(reason)

    def _end(self, how: str) -> None:
        if self.closed:
            raise QueueUnavailableError("closed")
        self.ended.append(how)


class StubConsumer:
    """Delivers batches; after the last one it says when."""

    def __init__(self, *batches: list[StubDelivery]) -> None:
        self._batches = list(batches)
        self.drained = asyncio.Event()

    async def fetch(self, _batch: int) -> list[StubDelivery]:
        if self._batches:
            return self._batches.pop(0)
        self.drained.set()
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def close(self) -> None: ...


class StubQueue:
    """Publishes fail as told; `consumers` are bound in turn."""

    stream = StreamSettings()
    subjects = stream.subjects

    def __init__(self, *consumers: StubConsumer, error: Exception | None = None) -> None:
        self._consumers = list(consumers)
        self._error = error
        self.published: list[str] = []

    async def consumer(self, _settings: object) -> StubConsumer:
        return self._consumers.pop(0)

    def start_publish(
        self, subject: str, _data: bytes, message_id: str, headers: Mapping[str, str], answer: Answer
    ) -> None:
        assert (message_id, dict(headers)) == ("", {EXPECTED_HEADER: "0"})
        self.published.append(subject)
        if isinstance(self._error, MessageTooLargeError):
            raise self._error
        if isinstance(self._error, QueueError):
            answer.set_exception(self._error)
        else:
            answer.set_result(b'{"stream":"KV","seq":1}')


async def drained(queue: StubQueue, consumer: StubConsumer) -> None:
    """Run a store until it has dealt with all of the consumer's deliveries."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(ResultStore(queue).run())  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await consumer.drained.wait()
        running.cancel()


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (None, ["ack"]),
        (MessageTooLargeError("too large"), ["too_large"]),
        (QueueUnavailableError("no answer"), []),
        (QueueRefusedError("no stream has the subject"), []),  # nor has one whose leader is being elected
    ],
)
async def test_a_result_that_is_not_stored_comes_again_unless_it_never_can_be(
    error: Exception | None, ended: list[str]
) -> None:
    delivery = StubDelivery(result_of("i"))
    consumer = StubConsumer([delivery])
    queue = StubQueue(consumer, error=error)
    await drained(queue, consumer)
    assert queue.published == [f"$KV.{INVOCATIONS}.p.i"]
    assert delivery.ended == ended


@pytest.mark.parametrize("data", [b"", b"not JSON", b"{}", b'{"invocationID":7}', b"\xff"])
async def test_what_is_no_result_is_left_out_and_the_next_one_stored(data: bytes) -> None:
    bad, good = StubDelivery(data), StubDelivery(result_of("i"))
    consumer = StubConsumer([bad], [good])
    queue = StubQueue(consumer)
    await drained(queue, consumer)
    assert (bad.ended, good.ended) == (["malformed_message"], ["ack"])
    assert queue.published == [f"$KV.{INVOCATIONS}.p.i"]


@pytest.mark.parametrize("data", [b"not JSON", result_of("i")])
async def test_a_connection_that_takes_no_ack_does_not_end_the_store(data: bytes) -> None:
    first, second = StubDelivery(data, closed=True), StubDelivery(result_of("j"))
    consumer = StubConsumer([first], [second])
    await drained(StubQueue(consumer), consumer)
    assert second.ended == ["ack"]


async def test_a_lost_consumer_is_bound_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RECOVERY_S", 0)

    class Lost(StubConsumer):
        async def fetch(self, _batch: int) -> list[StubDelivery]:
            raise QueueUnavailableError("lost")

    delivery = StubDelivery(result_of("i"))
    consumer = StubConsumer([delivery])
    await drained(StubQueue(Lost(), Lost(), consumer), consumer)
    assert delivery.ended == ["ack"]


def test_the_consumer_is_the_contracts() -> None:
    settings = store_consumer(StreamSettings().subjects)
    assert (settings.durable, settings.filter_subject) == ("runtime-result-store", "runtime.serverless.result.*")
    assert settings.ack_wait_s == 30


class BucketQueue:
    """The bucket's stream with `count` results of one pool; `whole` is how many a reader gave in each batch."""

    stream = StreamSettings()

    def __init__(self, count: int) -> None:
        self.left = [StubDelivery(str(sequence).encode(), sequence=sequence) for sequence in range(1, count + 1)]
        self.whole: list[int] = []
        self._count = count

    async def request(self, subject: str, _body: bytes, _timeout_s: float = 5) -> bytes:
        message = {"subject": "$KV.B.p.i", "seq": self._count, "time": "2026-03-04T05:06:07Z"}
        state = {"first_seq": 1, "last_seq": self._count}
        return msgspec.json.encode({"state": state} if "STREAM.INFO" in subject else {"message": message})

    async def reader(self, _subject: str, _start: int, *, stream: str) -> "BucketQueue":
        assert stream == stream_name(INVOCATIONS)
        return self

    async def fetch(self, batch: int, _wait_s: float) -> list[StubDelivery]:
        taken, self.left = self.left[:batch], self.left[batch:]
        self.whole.append(len(taken))
        return taken

    async def close(self) -> None: ...


async def test_many_results_are_read_a_few_at_a_time_and_only_their_views_are_kept() -> None:
    queue = BucketQueue(100)
    seen: list[int] = []

    def view(data: bytes) -> int | None:
        assert len(seen) == int(data) - 1 < sum(queue.whole)
        assert sum(queue.whole) - len(seen) <= READ_BATCH  # each batch is looked at before the next one is read
        seen.append(int(data))
        return int(data) if int(data) % 2 else None

    found = await recent_results(queue, "p", 30, view)  # type: ignore[arg-type]
    assert found == list(range(99, 39, -2))
    assert max(queue.whole) == READ_BATCH == 16


@pytest.fixture
async def queue(nats_server: NatsServer) -> AsyncIterator[Queue]:
    async with Queue.connect(nats_server.url, client_name="test") as connected:
        await connected.ensure_stream()
        await ensure_bucket(connected, BucketSettings(INVOCATIONS))
        yield connected


async def publish(queue: Queue, invocation_id: str, data: bytes, pool: str = "p", *, message_id: str = "") -> None:
    subject = queue.subjects.result(pool)
    await queue.publish(subject, data, message_id=message_id or f"result-{invocation_id}")


@asynccontextmanager
async def storing(queue: Queue, stores: int = 1) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(ResultStore(queue).run()) for _ in range(stores)]
        yield
        for task in running:
            task.cancel()


async def consumed(queue: Queue, wanted: Callable[[ConsumerState], bool]) -> ConsumerState:
    """Wait until the store's consumer is as wanted."""
    async with asyncio.timeout(30):
        while True:
            state = await consumer_state(queue, store_consumer(queue.subjects).durable)
            if state is not None and wanted(state):
                return state
            await asyncio.sleep(0.01)  # the server tells nobody of deliveries and acks


async def all_stored(queue: Queue) -> ConsumerState:
    return await consumed(queue, lambda state: state.pending == state.ack_pending == 0)


@pytest.mark.e2e
@pytest.mark.parametrize("invocation_id", ["inv-1", "a.b c/é", "x" * 5_000])
async def test_p5_a_result_is_found_by_its_invocation_byte_for_byte(queue: Queue, invocation_id: str) -> None:
    data = b" " + result_of(invocation_id)
    assert await stored_result(queue, invocation_id) is None
    async with storing(queue):
        await publish(queue, "some-id", data)
        await all_stored(queue)
    assert await stored_result(queue, invocation_id) == data
    assert await stored_result(queue, "other") is None


@pytest.mark.e2e
async def test_p5_of_two_results_of_an_invocation_the_first_stays_whoever_stores_them(queue: Queue) -> None:
    first, second = result_of("i", error="first"), result_of("i", error="second")
    await publish(queue, "i", first)
    async with storing(queue):
        await all_stored(queue)
    await publish(queue, "i", second, message_id="again")
    async with storing(queue, stores=3):
        for number in range(200):
            await publish(queue, f"i{number}", result_of(f"i{number}"))
        await all_stored(queue)
    assert await stored_result(queue, "i") == first
    assert await last_sequence(queue, stream_name(INVOCATIONS)) == 201
    assert len(await recent_results(queue, "p", 500, bytes)) == 201


@pytest.mark.e2e
async def test_a_malformed_result_is_left_out_and_stops_nothing(queue: Queue) -> None:
    async with storing(queue):
        await publish(queue, "bad", b"not JSON")
        await publish(queue, "good", result_of("good"))
        state = await all_stored(queue)
    assert state.ack_floor == 2
    assert await stored_result(queue, "good") == result_of("good")
    assert await last_sequence(queue, stream_name(INVOCATIONS)) == 1


@pytest.mark.e2e
async def test_p5_a_result_that_could_not_be_stored_is_stored_later(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ACK_WAIT_S", 0.2)
    async with Queue.connect(nats_server.url, client_name="test") as queue:
        await queue.ensure_stream()
        async with storing(queue):
            await publish(queue, "i", result_of("i"))
            await consumed(queue, lambda state: state.delivered == 1)
            await ensure_bucket(queue, BucketSettings(INVOCATIONS))
            await all_stored(queue)
        assert await stored_result(queue, "i") == result_of("i")


async def put(queue: Queue, invocation_id: str, pool: str) -> None:
    await Bucket(queue, INVOCATIONS).put(result_key(pool, invocation_id), result_of(invocation_id, pool))


@pytest.mark.e2e
async def test_a_result_of_any_pool_is_found(queue: Queue) -> None:
    for pool in ("p", "q"):
        await put(queue, f"in-{pool}", pool)
    for pool in ("p", "q"):
        assert await stored_result(queue, f"in-{pool}") == result_of(f"in-{pool}", pool)


@pytest.mark.e2e
async def test_the_newest_results_of_a_pool_come_first_however_far_back(queue: Queue) -> None:
    for number in range(3):
        await put(queue, f"old{number}", "quiet")
    for number in range(2 * FIRST_WINDOW):
        await put(queue, f"i{number}", ("p", "q")[number % 2])
    await put(queue, "new", "quiet")

    def expected(pool: str, *invocation_ids: str) -> list[bytes]:
        return [result_of(invocation_id, pool) for invocation_id in invocation_ids]

    assert await recent_results(queue, "quiet", 2, bytes) == expected("quiet", "new", "old2")
    assert await recent_results(queue, "quiet", 9, bytes) == expected("quiet", "new", "old2", "old1", "old0")
    newest = 2 * FIRST_WINDOW - 2
    assert await recent_results(queue, "p", 3, bytes) == expected("p", *(f"i{newest - 2 * n}" for n in range(3)))
    assert len(await recent_results(queue, "p", 10 * FIRST_WINDOW, bytes)) == FIRST_WINDOW
    assert await recent_results(queue, "nobody", 5, bytes) == []


@pytest.mark.e2e
async def test_a_deleted_result_is_not_among_the_newest(queue: Queue) -> None:
    for number in range(3):
        await put(queue, f"i{number}", "p")
    await Bucket(queue, INVOCATIONS).delete("p.i2", 3)
    assert await recent_results(queue, "p", 2, bytes) == [result_of("i1"), result_of("i0")]
