"""Following: every message once and in order, whatever happens to deliveries, connection and server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sidecar.queue import Queue, QueueUnavailableError
from simulator.jetstream import follow as follow_module
from simulator.jetstream.bucket import Bucket, BucketSettings, ensure_bucket, stream_name, subject
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import delete_message
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes
from tests.proof.nats_proxy import NatsProxy
from tests.proof.steps import Trap

INVOKE = "runtime.serverless.invoke.p"
ALL = "runtime.serverless.>"


@dataclass
class StubDelivery:
    sequence: int
    consumer_sequence: int


@dataclass
class StubReader:
    """Delivers batches in turn; an exception is raised, a function is called before an empty batch."""

    script: list[Any]
    interruptions: int = 0
    closed: bool = False

    async def fetch(self, _batch: int) -> list[StubDelivery]:
        item = self.script.pop(0)
        if isinstance(item, Exception):
            raise item
        if callable(item):
            item(self)
            return []
        return [StubDelivery(*numbers) for numbers in item]

    async def close(self) -> None:
        self.closed = True


@dataclass
class StubQueue:
    readers: list[StubReader]
    opened: list[StubReader] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    async def reader(self, subject: str, start: int, *, stream: str, headers_only: bool) -> StubReader:
        assert (subject, stream, headers_only) == ("s", "", False)
        self.starts.append(start)
        self.opened.append(self.readers.pop(0))
        return self.opened[-1]


def lost(reader: StubReader) -> None:
    reader.interruptions += 1


@pytest.mark.parametrize(
    ("first", "batches", "start"),
    [
        ([[(5, 1), (7, 2)], [], [(8, 3)], QueueUnavailableError("lost")], [[5, 7], [], [8]], 9),
        ([[(5, 1)], [(8, 3)]], [[5]], 6),  # the second delivery was lost
        ([[(6, 2)]], [], 3),  # the first was
        ([[(5, 1), (6, 2), (8, 4), (9, 5)]], [[5, 6]], 7),
        ([[(5, 1)], lost], [[5], []], 6),
        ([QueueUnavailableError("lost")], [], 3),
    ],
)
async def test_a_gap_or_a_loss_makes_it_read_again_from_there(
    first: list[Any], batches: list[list[int]], start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "RECOVERY_S", 0)
    queue = StubQueue([StubReader(first), StubReader([[(100, 1)]])])
    seen = []
    async with aclosing(follow(queue, "s", 3)) as following:  # type: ignore[arg-type]
        async for batch in following:
            seen.append([delivery.sequence for delivery in batch])
            if seen[-1] == [100]:
                break
    assert seen == [*batches, [100]]
    assert queue.starts == [3, start]
    assert [reader.closed for reader in queue.opened] == [True, True]


async def test_the_reader_is_closed_when_the_follower_is_cancelled() -> None:
    waiting = asyncio.Event()

    class Waiting(StubReader):
        async def fetch(self, _batch: int) -> list[StubDelivery]:
            waiting.set()
            await asyncio.Event().wait()
            return []

    async def work() -> None:
        async for _ in follow(queue, "s", 1):  # type: ignore[arg-type]
            pass

    queue = StubQueue([Waiting([])])
    task = asyncio.create_task(work())
    async with asyncio.timeout(10):
        await waiting.wait()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert queue.opened[0].closed


@pytest.fixture
async def queue(nats_server: NatsServer) -> AsyncIterator[Queue]:
    async with Queue.connect(nats_server.url, client_name="publisher") as connected:
        await connected.ensure_stream()
        yield connected


async def fill(queue: Queue, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await queue.publish(INVOKE, str(number).encode(), message_id=str(number))


@dataclass
class Followed:
    """What a follower saw; `until` waits for its sequences to be as wanted."""

    queue: Queue
    sequences: list[int] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, start: int) -> None:
        async for batch in follow(self.queue, ALL, start):
            self.sequences += [delivery.sequence for delivery in batch]
            self.grown.set()

    async def until(self, wanted: Callable[[list[int]], bool]) -> None:
        async with asyncio.timeout(30):
            while not wanted(self.sequences):
                self.grown.clear()
                await self.grown.wait()


@asynccontextmanager
async def following(url: str, start: int = 1) -> AsyncIterator[Followed]:
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue.connect(url, client_name="follower"))
        followed = Followed(queue)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        reading = tasks.create_task(followed.run(start))
        yield followed
        reading.cancel()


@pytest.mark.e2e
async def test_it_begins_anywhere_passes_what_is_deleted_and_goes_on(queue: Queue) -> None:
    await fill(queue, 1, 5)
    await delete_message(queue, 4)
    seen: list[tuple[int, str, bytes]] = []
    async with asyncio.timeout(30), aclosing(follow(queue, ALL, 3)) as batches:
        async for batch in batches:
            seen += [(delivery.sequence, delivery.subject, delivery.data) for delivery in batch]
            if len(seen) == 2:
                await fill(queue, 6, 6)
            if len(seen) == 3:
                break
    assert seen == [(3, INVOKE, b"3"), (5, INVOKE, b"5"), (6, INVOKE, b"6")]


@pytest.mark.e2e
async def test_headers_only_leaves_the_bodies_out_also_of_another_stream(queue: Queue) -> None:
    await fill(queue, 1, 1)
    await ensure_bucket(queue, BucketSettings("B"))
    await Bucket(queue, "B").put("k", b"value")
    seen = []
    for pattern, stream in ((ALL, ""), (subject("B", ">"), stream_name("B"))):
        async with asyncio.timeout(30):
            async with aclosing(follow(queue, pattern, 1, stream=stream, headers_only=True)) as batches:
                [delivery] = await anext(batches)
        seen.append((delivery.subject, delivery.data, delivery.message_id))
    assert seen == [(INVOKE, b"", "1"), ("$KV.B.k", b"", "")]


@pytest.mark.e2e
async def test_a_cut_connection_neither_loses_nor_repeats_a_message(queue: Queue, nats_server: NatsServer) -> None:
    proxy = NatsProxy(int(nats_server.url.rpartition(":")[2]), Trap())
    async with proxy.serving(), following(f"nats://127.0.0.1:{proxy.port}") as followed:
        for done in (100, 200, 300):
            publishing = asyncio.create_task(fill(queue, done - 99, done))
            await followed.until(lambda seen, some=done - 60: len(seen) >= some)  # type: ignore[misc]
            await proxy.drop()
            await publishing
        await followed.until(lambda seen: len(seen) >= 300)
        assert followed.sequences == list(range(1, 301))


@pytest.mark.e2e
async def test_a_restarted_server_neither_loses_nor_repeats_a_message(processes: Processes, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(NatsServer(processes, tmp_path / "nats"))
        queue = await stack.enter_async_context(Queue.connect(server.url, client_name="publisher"))
        await queue.ensure_stream()
        await fill(queue, 1, 20)
        followed = await stack.enter_async_context(following(server.url))
        await followed.until(lambda seen: len(seen) == 20)
        await server.process.kill()
        port = int(server.url.rpartition(":")[2])
        await stack.enter_async_context(NatsServer(processes, tmp_path / "nats", port))
        async with Queue.connect(server.url, client_name="new") as new:
            await fill(new, 21, 40)
        await followed.until(lambda seen: len(seen) >= 40)
        assert followed.sequences == list(range(1, 41))
