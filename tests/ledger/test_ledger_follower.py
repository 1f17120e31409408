"""The ledger of a real stream: followed from the cursor on, whatever happens to the connection or the message ids."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from sidecar.messages import (
    Event,
    InvocationMessage,
    InvocationResultMessage,
    WorkerDispatchMessage,
    encode,
    utc_now,
)
from sidecar.queue import Published, Queue
from sidecar.stored import ATTEMPT_HEADER, RUNS_HEADER
from sidecar.subjects import dispatch_message_id, metric_message_id, result_message_id
from simulator.jetstream.bucket import ACTIVATOR, Bucket, BucketSettings, ensure_bucket
from simulator.jetstream.stored import StoredMessage, stored_message
from simulator.ledger import follower as follower_module
from simulator.ledger.events import Ended
from simulator.ledger.follower import CURSOR_KEY, LedgerFollower
from simulator.ledger.ledger import Ledger, Phase
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes
from tests.proof.nats_proxy import NatsProxy
from tests.proof.steps import Trap

pytestmark = pytest.mark.e2e

WAIT_S = 30.0


class Publisher:
    """Stores what API, activator and sidecars store; with `named` false under no message id at all."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.named = True

    async def invoke(self, invocation_id: str) -> int:
        message = InvocationMessage(invocation_id=invocation_id, serverless_request_id="p")
        return await self._store(self.queue.subjects.invoke("p"), encode(message), invocation_id)

    async def dispatch(self, invocation_id: str, worker: str, attempt: int = 1) -> int:
        message = WorkerDispatchMessage(
            invocation_id=invocation_id, serverless_request_id="p", worker_name=worker, worker_namespace="n"
        )
        headers = {ATTEMPT_HEADER: str(attempt), RUNS_HEADER: str(attempt - 1)} if attempt > 1 else {}
        message_id = dispatch_message_id(invocation_id, worker, attempt)
        return await self._store(self.queue.subjects.dispatch("p", worker), encode(message), message_id, headers)

    async def started(self, invocation_id: str) -> int:
        message_id = metric_message_id("w", Event.STARTED, utc_now(), invocation_id)
        return await self._store(self.queue.subjects.metrics("p"), b"{}", message_id)

    async def result(self, invocation_id: str) -> int:
        message = InvocationResultMessage(invocation_id=invocation_id, serverless_request_id="p")
        return await self._store(self.queue.subjects.result("p"), encode(message), result_message_id(invocation_id))

    async def _store(self, subject: str, data: bytes, message_id: str, headers: dict[str, str] | None = None) -> int:
        stored: Published = await self.queue.publish(
            subject, data, message_id=message_id if self.named else "", headers=headers
        )
        assert not stored.duplicate
        return stored.sequence


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Publisher]:
    async with Queue.connect(url, client_name="publisher") as queue:
        await queue.ensure_stream()
        await ensure_bucket(queue, BucketSettings(ACTIVATOR))
        yield Publisher(queue)


@pytest.fixture
async def publisher(nats_server: NatsServer) -> AsyncIterator[Publisher]:
    async with connected(nats_server.url) as publisher:
        yield publisher


@asynccontextmanager
async def following(url: str) -> AsyncIterator[LedgerFollower]:
    async with Queue.connect(url, client_name="follower") as queue, asyncio.TaskGroup() as tasks:
        follower = LedgerFollower(queue)
        reading = tasks.create_task(follower.run())
        yield follower
        reading.cancel()


async def test_it_knows_what_was_stored_before_and_what_comes(publisher: Publisher, nats_server: NatsServer) -> None:
    for invocation_id in ("a", "b", "c"):
        await publisher.invoke(invocation_id)
    await publisher.dispatch("a", "Unit.A")
    done = await publisher.result("b")
    async with following(nats_server.url) as follower:
        await follower.caught_up(done, WAIT_S)
        changed: list[str] = []
        follower.on_change.append(changed.append)
        assert {each.invocation_id: each.phase for each in follower.ledger.all_open()} == {
            "a": Phase.DISPATCHED,
            "c": Phase.QUEUED,
        }
        assert list(follower.ledger.outstanding("p", "unit-a")) == ["a"]
        await publisher.started("a")
        await publisher.dispatch("a", "w2", attempt=2)
        await follower.caught_up(await publisher.result("c"), WAIT_S)
        moved = follower.ledger.open("a")
        assert moved is not None
        assert (moved.worker, moved.phase, moved.attempt, moved.runs) == ("w2", Phase.DISPATCHED, 2, 1)
        assert changed == ["a", "a", "c"]
        assert follower.ledger.cursor == 1


async def test_p5_who_waits_for_an_end_hears_of_it(publisher: Publisher, nats_server: NatsServer) -> None:
    await publisher.invoke("a")
    async with following(nats_server.url) as follower:
        waiting = [asyncio.create_task(follower.wait_ended("a", WAIT_S)) for _ in range(3)]
        assert await follower.wait_ended("a", 0.01) is None
        sequence = await publisher.result("a")
        assert await asyncio.gather(*waiting) == [Ended("a", "p", sequence)] * 3
        assert await follower.wait_ended("a", 0) == Ended("a", "p", sequence)
        assert await follower.wait_ended("never", 0.01) is None
        assert follower._endings == {}


async def test_p5_a_caller_that_goes_away_leaves_the_others_waiting(
    publisher: Publisher, nats_server: NatsServer
) -> None:
    async with following(nats_server.url) as follower:
        leaving, staying = (asyncio.create_task(follower.wait_ended("a", WAIT_S)) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        sequence = await publisher.result("a")
        assert await staying == Ended("a", "p", sequence)


async def test_a_ledger_that_does_not_catch_up_says_so(publisher: Publisher, nats_server: NatsServer) -> None:
    async with following(nats_server.url) as follower:
        with pytest.raises(TimeoutError):
            await follower.caught_up(1, 0.05)


async def test_a19_it_starts_at_the_cursor(publisher: Publisher, nats_server: NatsServer) -> None:
    for invocation_id in ("a", "b"):
        await publisher.invoke(invocation_id)
    await publisher.result("a")
    await Bucket(publisher.queue, ACTIVATOR).put(CURSOR_KEY, b"2")
    async with following(nats_server.url) as follower:
        await follower.caught_up(3, WAIT_S)
        assert [each.invocation_id for each in follower.ledger.all_open()] == ["b"]
        assert follower.ledger.ended("a") is not None
        assert follower.ledger.cursor == 2


async def test_a19_where_nothing_follows_the_cursor_it_has_caught_up(
    publisher: Publisher, nats_server: NatsServer
) -> None:
    await publisher.invoke("a")
    last = await publisher.result("a")
    await Bucket(publisher.queue, ACTIVATOR).put(CURSOR_KEY, str(last + 1).encode())
    async with following(nats_server.url) as follower:
        await follower.caught_up(last, WAIT_S)
        assert (follower.ledger.position, follower.ledger.ended("a")) == (last, None)
        await follower.caught_up(await publisher.invoke("b"), WAIT_S)
        assert follower.ledger.waiting("p") == 1


@pytest.mark.parametrize("cursor", [b"", b"nonsense", b"-1", b"0", b"99"])
async def test_a_cursor_that_cannot_be_of_this_stream_means_from_the_beginning(
    cursor: bytes, publisher: Publisher, nats_server: NatsServer
) -> None:
    """The bucket may be older than the stream: one whose stream was deleted would otherwise hide what is open."""
    await Bucket(publisher.queue, ACTIVATOR).put(CURSOR_KEY, cursor)
    await publisher.invoke("a")
    async with following(nats_server.url) as follower:
        await follower.caught_up(1, WAIT_S)
        await follower.caught_up(await publisher.invoke("b"), WAIT_S)
        assert follower.ledger.waiting("p") == 2


async def test_a19_it_reads_headers_and_no_bodies(publisher: Publisher, nats_server: NatsServer) -> None:
    async with following(nats_server.url) as follower:
        await follower.caught_up(await publisher.invoke("a"), WAIT_S)
        answer = await publisher.queue.request("$JS.API.CONSUMER.LIST.RUNTIME_SERVERLESS", b"")
    [reader] = json.loads(answer)["consumers"]
    assert (reader["config"]["headers_only"], reader["config"]["ack_policy"]) == (True, "none")


async def test_messages_without_ids_are_known_by_their_bodies(publisher: Publisher, nats_server: NatsServer) -> None:
    publisher.named = False
    await publisher.invoke("a")
    await publisher.invoke("b")
    await publisher.dispatch("a", "w")
    await publisher.queue.publish(publisher.queue.subjects.invoke("p"), b"not JSON")
    sequence = await publisher.result("b")
    async with following(nats_server.url) as follower:
        await follower.caught_up(sequence, WAIT_S)
        assert [each.invocation_id for each in follower.ledger.all_open()] == ["a"]
        assert list(follower.ledger.outstanding("p", "w")) == ["a"]
        assert follower.ledger.ended("b") == Ended("b", "p", sequence)


async def test_a_lost_connection_neither_loses_nor_repeats_a_change(
    publisher: Publisher, nats_server: NatsServer
) -> None:
    """Nor does it lose a message whose body has to be read: every other one has no id."""
    proxy = NatsProxy(int(nats_server.url.rpartition(":")[2]), Trap())
    changed: list[str] = []
    async with proxy.serving(), following(f"nats://127.0.0.1:{proxy.port}") as follower:
        follower.on_change.append(changed.append)
        for done in (100, 200, 300):
            publishing = asyncio.create_task(_fill(publisher, done - 99, done))
            await _until(follower, lambda ledger, some=done - 60: ledger.position >= some)  # type: ignore[misc]
            await proxy.drop()
            await follower.caught_up(await publishing, WAIT_S)
        assert changed == [f"i{n}" for n in range(1, 301)]
        assert follower.ledger.waiting("p") == 300


async def test_who_hears_of_batches_hears_of_each_invocation_once_and_before_a_body_is_read(
    publisher: Publisher, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []
    before: list[set[str]] = []

    async def noted(queue: Queue, **wanted: int) -> StoredMessage | None:
        before.append({each for batch in told for each in batch})
        return await stored_message(queue, **wanted)  # type: ignore[arg-type]

    monkeypatch.setattr(follower_module, "stored_message", noted)
    for invocation_id in ("a", "b"):
        await publisher.invoke(invocation_id)
        await publisher.dispatch(invocation_id, "w")
    publisher.named = False
    last = await publisher.result("a")
    async with Queue.connect(nats_server.url, client_name="follower") as queue, asyncio.TaskGroup() as tasks:
        follower = LedgerFollower(queue)
        follower.on_batch.append(lambda changed: told.append([*changed]))
        reading = tasks.create_task(follower.run())
        await follower.caught_up(last, WAIT_S)
        reading.cancel()
    assert before == [{"a", "b"}]
    assert told[-1] == ["a"]
    assert all(len(batch) == len(set(batch)) for batch in told)


async def _fill(publisher: Publisher, first: int, last: int) -> int:
    sequence = 0
    for number in range(first, last + 1):
        publisher.named = number % 2 == 0
        sequence = await publisher.invoke(f"i{number}")
    return sequence


async def _until(follower: LedgerFollower, wanted: Callable[[Ledger], bool]) -> None:
    changed = asyncio.Event()

    def look(_invocation_id: str) -> None:
        if wanted(follower.ledger):
            changed.set()

    follower.on_change.append(look)
    async with asyncio.timeout(WAIT_S):
        await changed.wait()
    follower.on_change.remove(look)


async def test_cancelled_while_it_reads_a_body_it_leaves_no_reader(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(follower_module, "stored_message", never)
    publisher.named = False
    await publisher.invoke("a")
    async with asyncio.timeout(WAIT_S):
        task = asyncio.create_task(LedgerFollower(publisher.queue).run())
        await reading.wait()
        [reader] = publisher.queue._consumers
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert reader._subscription is None


async def test_a_restarted_server_is_followed_on_and_waiters_are_kept(processes: Processes, tmp_path: Path) -> None:
    changed: list[str] = []
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer(processes, tmp_path / "nats"))
        publisher = await stack.enter_async_context(connected(server.url))
        follower = await stack.enter_async_context(following(server.url))
        follower.on_change.append(changed.append)
        await follower.caught_up(await publisher.invoke("a"), WAIT_S)
        waiting = asyncio.create_task(follower.wait_ended("a", WAIT_S))
        await server.process.kill()
        port = int(server.url.rpartition(":")[2])
        await stack.enter_async_context(NatsServer(processes, tmp_path / "nats", port))
        async with connected(server.url) as again:
            await again.dispatch("a", "w")
            sequence = await again.result("a")
        assert await waiting == Ended("a", "p", sequence)
        assert changed == ["a", "a", "a"]
