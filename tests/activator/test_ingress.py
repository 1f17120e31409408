"""Invocations on their way from the stream into an activator's hands, on a real server (A2, A3, A10, Q3)."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from sidecar.messages import DeadLetterMessage, FailureClass, WorkerDispatchMessage, decode, encode
from sidecar.queue import Queue
from sidecar.stored import EXPECTED_HEADER
from sidecar.subjects import ACTIVATOR_CONSUMER
from simulator.activator import ingress as ingress_module
from simulator.activator.settings import ActivatorSettings
from simulator.jetstream.bucket import ACTIVATOR, BucketSettings, ensure_bucket
from simulator.ledger.events import Dispatched, Ended, Entry, Queued
from simulator.nats_server import NatsServer
from tests.activator.parts import WAIT_S, invocation, unit, until
from tests.activator.station import Station, Stream, station
from tests.proof.nats_proxy import NatsProxy
from tests.proof.steps import Trap

pytestmark = pytest.mark.e2e

FLOOD = 3000
FEW = 60
"""Dispatches that a pool with one worker, which answers at once, gets in the time in which one dispatch is made."""


@pytest.fixture
async def stream(nats_server: NatsServer) -> AsyncIterator[Stream]:
    async with Queue.connect(nats_server.url, client_name="test") as queue:
        await queue.ensure_stream()
        await ensure_bucket(queue, BucketSettings(ACTIVATOR))
        yield Stream(queue)


async def all_settled(stream: Stream, *stations: Station) -> None:
    """Wait until nothing is held and everything acknowledged."""
    await until(lambda: not any(each.held.count for each in stations))
    async with asyncio.timeout(WAIT_S):
        while await stream.unsettled():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    for each in stations:
        assert (each.held.count, each.held.size, each.held.all(), each.held.pools()) == (0, 0, [], [])


async def test_what_arrives_is_held_until_a_worker_is_there(stream: Stream, nats_server: NatsServer) -> None:
    async with station(nats_server.url) as activator:
        activator.units.show(unit("w"))
        for number in range(5):
            await stream.invoke(f"i{number}", payload=b"%d" % number)
        await until(lambda: activator.held.count == 5)
        assert await stream.unsettled() == 5
        activator.worker("w")
        for number in range(5):
            await activator.follower.caught_up(2 * number + 6, WAIT_S)
            await stream.result(f"i{number}")
        await all_settled(stream, activator)
    dispatches = await stream.stored(stream.subjects.dispatch("p", "w"))
    assert [decode(each.data, WorkerDispatchMessage).invocation_id for each in dispatches] == [
        f"i{number}" for number in range(5)
    ]


async def test_a2_a_flood_in_one_pool_does_not_delay_another(stream: Stream, nats_server: NatsServer) -> None:
    """A2: of all that waits in the flooded pool, hardly anything is dispatched before the other pool's first."""
    async with station(nats_server.url) as activator, asyncio.TaskGroup() as tasks:
        activator.units.show(unit("a", "flooded"))
        activator.worker("b", "calm")
        for start in range(0, FLOOD, 100):
            await asyncio.gather(*(stream.invoke(f"flood-{number}", "flooded") for number in range(start, start + 100)))
        await until(lambda: activator.held.count == FLOOD)
        serving = tasks.create_task(stream.serve())
        activator.worker("a", "flooded")
        await until(lambda: activator.held.count < FLOOD - 100)
        await stream.invoke("first", "calm")
        assert await activator.follower.wait_ended("first", WAIT_S) is not None
        await all_settled(stream, activator)
        serving.cancel()
    entries = await stream.entries()
    asked = next(place for place, each in enumerate(entries) if isinstance(each, Queued) and each.pool == "calm")
    given = next(place for place, each in enumerate(entries) if isinstance(each, Dispatched) and each.pool == "calm")
    between = [each for each in entries[asked:given] if isinstance(each, Dispatched)]
    assert len(between) <= FEW
    flooded = [each.invocation_id for each in entries if isinstance(each, Dispatched) and each.pool == "flooded"]
    assert len(set(flooded)) == len(flooded) == FLOOD
    assert flooded == [each.invocation_id for each in entries if isinstance(each, Queued) and each.pool == "flooded"]


async def test_q3_what_is_no_invocation_is_dead_lettered_and_answered(stream: Stream, nats_server: NatsServer) -> None:
    """Q3: and what comes after it is handled as ever."""
    bodies = {
        b"\xff\x00": "",
        b"[]": "",
        b'{"invocationID":"no-pool"}': "",
        b'{"invocationID":"typed","serverlessRequestID":"P","headers":7,"replySubject":"_INBOX.typed"}': "typed",
        b'{"invocationID":"dotted","serverlessRequestID":"a.b"}': "",
        b'{"invocationID":"","serverlessRequestID":"p"}': "",
        b'{"invocationID":"with space","serverlessRequestID":"p"}': "",
    }
    async with station(nats_server.url) as activator, stream.queue.listen("_INBOX.typed") as inbox:
        activator.worker("w")
        sequences = [(await stream.queue.publish(stream.subjects.invoke("p"), body)).sequence for body in bodies]
        await stream.invoke("good")
        reply = await inbox.receive(WAIT_S)
        await all_settled(stream, activator)
    letters = await stream.stored(f"{stream.subjects.prefix}.dlq.>")
    buried = [decode(each.data, DeadLetterMessage) for each in letters]
    assert sorted(each.stream_sequence for each in buried) == sequences
    assert {each.failure_class for each in buried} == {FailureClass.MALFORMED_MESSAGE}
    results = [(each.invocation_id, each.failure_class, each.status_code) for each in await stream.results()]
    assert results == [("typed", FailureClass.MALFORMED_MESSAGE, 502)]
    assert b'"typed"' in reply
    dispatches = [each for each in await stream.entries() if isinstance(each, Dispatched)]
    assert [each.invocation_id for each in dispatches] == ["good"]


@pytest.mark.parametrize("by", ["count", "bytes"])
async def test_an_activator_holds_no_more_than_it_may(
    stream: Stream, nats_server: NatsServer, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it cannot hold of one pool stays in the stream, for others, until there is room."""
    monkeypatch.setattr(ingress_module, "OVERFLOW_DELAY_S", 0.05)
    size = len(encode(invocation("i-000")))
    settings = ActivatorSettings(max_held=10) if by == "count" else ActivatorSettings(max_held_bytes=10 * size)
    async with station(nats_server.url, settings) as activator:
        activator.units.show(unit("w"))
        ids = [f"i-{number:03}" for number in range(200)]
        for invocation_id in ids:
            await stream.invoke(invocation_id)
        await until(lambda: activator.held.count == 5)
        async with station(nats_server.url) as other, asyncio.TaskGroup() as tasks:
            other.units.show(unit("w"))
            await until(lambda: other.held.count == 195)  # not after an ack wait, but soon
            assert activator.held.count == 5
            serving = tasks.create_task(stream.serve())
            activator.worker("w")
            other.alone = activator.alone = False
            other.worker("w")
            for invocation_id in ids:
                assert await activator.follower.wait_ended(invocation_id, WAIT_S) is not None
            await all_settled(stream, activator, other)
            serving.cancel()
    assert_once(await stream.entries(), set(ids))


async def test_a2_one_pools_flood_leaves_room_for_another(stream: Stream, nats_server: NatsServer) -> None:
    async with station(nats_server.url, ActivatorSettings(max_held=10)) as activator:
        activator.units.show(unit("w"))
        for number in range(100):
            await stream.invoke(f"flood-{number:03}")
        await until(lambda: activator.held.count == 5)
        await stream.invoke("quiet", pool="q")
        await until(lambda: activator.held.get("quiet") is not None)
        assert activator.held.of_pool("p")[0] == 5


def assert_once(entries: list[Entry], ids: set[str], capacity: int = 1) -> None:
    """Each invocation is dispatched once and has one result; nobody ever has more than it may."""
    outstanding: dict[str, set[str]] = {}
    workers: dict[str, str] = {}
    ended: list[str] = []
    for entry in entries:
        if isinstance(entry, Dispatched):
            assert entry.invocation_id not in workers, "A10: dispatched twice"
            workers[entry.invocation_id] = entry.worker
            mine = outstanding.setdefault(entry.worker, set())
            mine.add(entry.invocation_id)
            assert len(mine) <= capacity, f"{entry.worker} has {mine}"
        elif isinstance(entry, Ended):
            ended.append(entry.invocation_id)
            outstanding[workers[entry.invocation_id]].discard(entry.invocation_id)
    assert set(workers) == ids
    assert sorted(ended) == sorted(ids)


@pytest.mark.parametrize("capacity", [1, 3])
async def test_a18_two_activators_fill_no_place_twice(stream: Stream, nats_server: NatsServer, capacity: int) -> None:
    """A1, A10, A18: at no place in the stream has anybody more than it may, and nothing is dispatched twice."""
    settings = ActivatorSettings(capacity=capacity)
    ids = {f"i{number}" for number in range(300)}
    async with (
        station(nats_server.url, settings) as one,
        station(nats_server.url, settings) as two,
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(stream.serve())
        for activator in (one, two):
            activator.alone = False
            for name in ("a", "b", "c"):
                activator.worker(name)
        await asyncio.gather(*(stream.invoke(each) for each in sorted(ids)))
        for each in sorted(ids):
            assert await one.follower.wait_ended(each, WAIT_S) is not None
        await all_settled(stream, one, two)
        serving.cancel()
    entries = await stream.entries()
    assert_once(entries, ids, capacity)
    dispatches = await stream.stored(f"{stream.subjects.prefix}.dispatch.*.*")
    assert all(EXPECTED_HEADER in each.extra_headers for each in dispatches)


async def test_a18_with_others_all_places_of_a_worker_are_used(stream: Stream, nats_server: NatsServer) -> None:
    """One dispatch follows the other without anything having to end."""
    async with station(nats_server.url, ActivatorSettings(capacity=4)) as activator:
        activator.alone = False
        activator.worker("w")
        for number in range(6):
            await stream.invoke(f"i{number}")
        await until(lambda: len(activator.ledger.outstanding("p", "w")) == 4)
        await until(lambda: activator.held.count == 2)


async def test_a10_what_was_dispatched_before_is_acknowledged_and_not_dispatched_again(
    stream: Stream, nats_server: NatsServer
) -> None:
    """It was dispatched, or answered, by an activator that died before it acknowledged it."""
    settings = ActivatorSettings(ack_wait_s=1.0)
    consumer = await stream.queue.consumer(settings.consumer(stream.subjects))
    for each in ("dispatched", "answered", "neither"):
        await stream.invoke(each)
    got: list[object] = []
    while len(got) < 3:
        got += await consumer.fetch(3)
    await consumer.close()  # what was fetched stays in nobody's hands
    message = WorkerDispatchMessage(
        invocation_id="dispatched", serverless_request_id="p", worker_name="x", worker_namespace="n"
    )
    await stream.queue.publish(stream.subjects.dispatch("p", "x"), encode(message), message_id="dispatch-dispatched-x")
    await stream.result("answered")
    async with station(nats_server.url, settings) as activator:
        activator.worker("w")
        await all_settled(stream, activator)
    dispatches = [each for each in await stream.entries() if isinstance(each, Dispatched)]
    assert [(each.invocation_id, each.worker) for each in dispatches] == [("dispatched", "x"), ("neither", "w")]
    assert [each.invocation_id for each in await stream.results()] == ["answered"]


async def test_a3_what_is_held_is_not_delivered_again(stream: Stream, nats_server: NatsServer) -> None:
    """A3: for several ack waits nobody else gets it."""
    settings = ActivatorSettings(ack_wait_s=1.0)
    async with station(nats_server.url, settings) as activator:
        activator.units.show(unit("w"))
        await stream.invoke("a")
        await until(lambda: activator.held.count)
        [held] = activator.held.all()
        first = held.claim
        refreshes: list[float] = []
        while len(refreshes) < 7:
            if held.refreshed_at not in refreshes:
                refreshes.append(held.refreshed_at)
            await asyncio.sleep(0.01)
        assert activator.held.all() == [held]
        assert held.claim is first
        assert getattr(first, "attempt", 0) == 1
        activator.worker("w")
        await all_settled(stream, activator)


async def test_a10_what_comes_again_to_its_holder_is_his_again(stream: Stream, nats_server: NatsServer) -> None:
    """After it could not be refreshed in time, the queue delivers it to whoever is there."""
    settings = ActivatorSettings(ack_wait_s=1.0)
    async with station(nats_server.url, settings) as activator:
        activator.units.show(unit("w"))
        await stream.invoke("a")
        await until(lambda: activator.held.count)
        [held] = activator.held.all()
        first = held.claim
        activator.skew = 1.0
        assert not activator.held.is_fresh(held)
        await until(lambda: held.claim is not first)
        assert activator.held.is_fresh(held)
        assert activator.held.all() == [held]
        activator.worker("w")
        await all_settled(stream, activator)
    dispatches = [each for each in await stream.entries() if isinstance(each, Dispatched)]
    assert [(each.invocation_id, each.worker) for each in dispatches] == [("a", "w")]


async def test_nothing_is_lost_or_dispatched_twice_while_the_connection_breaks(
    stream: Stream, nats_server: NatsServer
) -> None:
    """A9, A10: dispatches under way when the connection breaks are found, or made again."""
    settings = ActivatorSettings(ack_wait_s=3.0, capacity=8)
    proxy = NatsProxy(urlsplit(nats_server.url).port or 0, Trap())
    ids = {f"i{number}" for number in range(200)}
    async with (
        proxy.serving(),
        station(f"nats://127.0.0.1:{proxy.port}", settings) as activator,
        asyncio.TaskGroup() as tasks,
    ):
        serving = tasks.create_task(stream.serve())
        activator.worker("a")
        activator.worker("b")
        for number, each in enumerate(sorted(ids)):
            await stream.invoke(each)
            if number % 50 == 25:
                await until(lambda: activator.queue.connected)
                await proxy.drop()
                await until(lambda: not activator.queue.connected)
        for each in sorted(ids):
            assert await activator.follower.wait_ended(each, WAIT_S) is not None
        await all_settled(stream, activator)
        serving.cancel()
    assert_once(await stream.entries(), ids, capacity=8)


async def test_the_same_id_twice_is_one_invocation(stream: Stream, nats_server: NatsServer) -> None:
    """A10: a publisher without message ids may queue a call twice."""
    settings = ActivatorSettings(ack_wait_s=1.0)
    async with station(nats_server.url, settings) as activator:
        activator.units.show(unit("w"))
        for pool in ("p", "p", "q"):
            await stream.queue.publish(stream.subjects.invoke(pool), encode(invocation("same", pool)))
        await until(lambda: activator.held.count == 1)
        activator.worker("w")
        await until(lambda: activator.ledger.outstanding("p", "w"))
        await stream.result("same")
        await all_settled(stream, activator)
    dispatches = [each for each in await stream.entries() if isinstance(each, Dispatched)]
    assert [(each.invocation_id, each.worker) for each in dispatches] == [("same", "w")]


async def test_a_consumer_that_is_deleted_is_made_again(stream: Stream, nats_server: NatsServer) -> None:
    """Whoever deletes it under the activators' hands ends none of them."""
    async with station(nats_server.url) as activator:
        activator.worker("w")
        await stream.invoke("a")
        await until(lambda: activator.ledger.outstanding("p", "w"))
        await stream.result("a")
        await stream.queue.delete_consumer(ACTIVATOR_CONSUMER)
        await stream.invoke("b")
        await until(lambda: "b" in activator.ledger.outstanding("p", "w"))
