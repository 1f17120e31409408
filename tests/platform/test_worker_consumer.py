"""A worker's consumer as the platform makes it (contract 2.5; S13)."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from sidecar.concurrency import max_ack_pending
from sidecar.queue import ConsumerSettings, Queue
from sidecar.subjects import sidecar_consumer
from simulator.jetstream.consumers import consumer_names, consumer_state
from simulator.jetstream.stored import delete_message
from simulator.nats_server import NatsServer
from simulator.worker_consumer import DISPATCH_ACK_WAIT_S, make_worker_consumer

pytestmark = pytest.mark.e2e


@pytest.fixture
async def queue(nats_server: NatsServer) -> AsyncIterator[Queue]:
    async with Queue.connect(nats_server.url, client_name="owner") as connected:
        await connected.ensure_stream()
        yield connected


async def dispatch(queue: Queue, text: str, worker: str = "Unit.A") -> int:
    stored = await queue.publish(queue.subjects.dispatch("p", worker), text.encode(), message_id=text)
    return stored.sequence


async def delivered(queue: Queue, worker: str = "Unit.A") -> list[bytes]:
    """What a sidecar that binds to its consumer gets."""
    settings = ConsumerSettings(sidecar_consumer(worker), queue.subjects.dispatch("p", worker), DISPATCH_ACK_WAIT_S)
    async with asyncio.timeout(20):
        consumer = await queue.consumer(settings)
        await dispatch(queue, "last", worker)
        bodies: list[bytes] = []
        while b"last" not in bodies:
            for each in await consumer.fetch(10):
                bodies.append(each.data)
                await each.ack()
        await consumer.close()
    return bodies


async def test_it_is_the_contracts_consumer(queue: Queue) -> None:
    await make_worker_consumer(queue, "p", "Unit.A", 3)
    assert await consumer_names(queue) == ["serverless-sidecar-unit-a"]
    info = msgspec.json.decode(
        await queue.request(f"$JS.API.CONSUMER.INFO.{queue.stream.name}.serverless-sidecar-unit-a", b"")
    )
    expected = {
        "durable_name": "serverless-sidecar-unit-a",
        "filter_subject": "runtime.serverless.dispatch.p.unit-a",
        "ack_policy": "explicit",
        "ack_wait": int(DISPATCH_ACK_WAIT_S * 1e9),
        "max_ack_pending": max_ack_pending(3),
    }
    assert {name: info["config"].get(name) for name in expected} == expected


async def test_the_first_of_its_name_gets_everything_that_follows(queue: Queue) -> None:
    assert await make_worker_consumer(queue, "p", "Unit.A", 1) == 1
    await dispatch(queue, "a")
    assert await delivered(queue) == [b"a", b"last"]


async def test_what_was_dispatched_before_is_not_for_it(queue: Queue) -> None:
    last = [await dispatch(queue, text) for text in ("a", "b")][-1]
    assert await make_worker_consumer(queue, "p", "Unit.A", 1) > last
    await dispatch(queue, "c")
    assert await delivered(queue) == [b"c", b"last"]


async def test_it_begins_behind_what_was_deleted_since(queue: Queue) -> None:
    last = await dispatch(queue, "a")
    await delete_message(queue, last)
    assert await make_worker_consumer(queue, "p", "Unit.A", 1) > last


async def test_one_that_is_there_is_kept_and_its_beginning_told(queue: Queue) -> None:
    await dispatch(queue, "a")
    start = await make_worker_consumer(queue, "p", "Unit.A", 1)
    await dispatch(queue, "b")
    before = await consumer_state(queue, sidecar_consumer("Unit.A"))
    assert await make_worker_consumer(queue, "p", "Unit.A", 1) == start
    assert await consumer_state(queue, sidecar_consumer("Unit.A")) == before
    assert await delivered(queue) == [b"b", b"last"]


async def test_workers_get_only_their_own(queue: Queue) -> None:
    for worker in ("a", "b"):
        await make_worker_consumer(queue, "p", worker, 1)
    await dispatch(queue, "for a", "a")
    await dispatch(queue, "for b", "b")
    assert await delivered(queue, "a") == [b"for a", b"last"]
