"""Single messages and consumers of a real stream, seen from outside."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from sidecar.queue import Consumer, ConsumerSettings, Delivery, Queue
from simulator.jetstream.bucket import BucketSettings, ensure_bucket, stream_name
from simulator.jetstream.consumers import ConsumerState, consumer_names, consumer_state, pause_consumer
from simulator.jetstream.stored import delete_message, last_sequence, stored_message
from simulator.nats_server import NatsServer

pytestmark = pytest.mark.e2e

INVOKE = "runtime.serverless.invoke.p"
RESULT = "runtime.serverless.result.p"


@pytest.fixture
async def queue(nats_server: NatsServer) -> AsyncIterator[Queue]:
    async with Queue.connect(nats_server.url, client_name="test") as connected:
        await connected.ensure_stream()
        yield connected


async def fill(queue: Queue, count: int, subject: str = INVOKE) -> None:
    for number in range(1, count + 1):
        await queue.publish(subject, str(number).encode(), message_id=f"{subject}-{number}")


async def fetched(consumer: Consumer, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await consumer.fetch(count)
    return found


async def test_a_message_is_read_as_it_was_stored(queue: Queue) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    body = b"\x00\xff\r\n"
    await queue.publish(INVOKE, body, message_id="i", headers={"Serverless-Attempt": "2"})
    found = await stored_message(queue, sequence=1)
    assert found is not None
    assert (found.subject, found.sequence, found.data) == (INVOKE, 1, body)
    assert found.headers == {"Nats-Msg-Id": "i", "Serverless-Attempt": "2"}
    assert before < found.time < datetime.now(UTC) + timedelta(seconds=1)


async def test_a_message_is_found_by_sequence_as_the_last_or_as_the_next(queue: Queue) -> None:
    await fill(queue, 3)
    await fill(queue, 2, RESULT)

    async def at(**which: str | int) -> int | None:
        found = await stored_message(queue, **which)  # type: ignore[arg-type]
        return found.sequence if found else None

    assert [await at(sequence=n) for n in (1, 5, 6)] == [1, 5, None]
    assert await at(last_by_subject=INVOKE) == 3
    assert await at(last_by_subject="runtime.serverless.>") == 5
    assert await at(last_by_subject="runtime.serverless.metrics.*") is None
    assert [await at(next_by_subject=RESULT, sequence=n) for n in (0, 1, 5, 6)] == [4, 4, 5, None]
    assert await at(next_by_subject="runtime.serverless.*.p", sequence=2) == 2


async def test_a_deleted_message_is_gone_once(queue: Queue) -> None:
    await fill(queue, 2)
    assert await delete_message(queue, 1) is True
    assert await delete_message(queue, 1) is False
    assert await delete_message(queue, 99) is False
    assert await stored_message(queue, sequence=1) is None
    assert await stored_message(queue, sequence=2) is not None


async def test_the_last_sequence_counts_what_was_deleted_and_is_each_streams_own(queue: Queue) -> None:
    await ensure_bucket(queue, BucketSettings("B"))
    assert await last_sequence(queue) == 0
    await fill(queue, 2)
    await delete_message(queue, 2)
    assert (await last_sequence(queue), await last_sequence(queue, stream_name("B"))) == (2, 0)


async def test_a_consumers_state_says_how_far_it_is(queue: Queue) -> None:
    await fill(queue, 5)
    assert await consumer_state(queue, "c") is None
    consumer = await queue.consumer(ConsumerSettings("c", INVOKE, ack_wait_s=300))
    assert await consumer_state(queue, "c") == ConsumerState("c", INVOKE, 0, 0, 5, 0, paused=False)
    first, _, third = await fetched(consumer, 3)
    await first.ack()
    await third.ack()
    state = await consumer_state(queue, "c")
    assert state == ConsumerState("c", INVOKE, ack_floor=1, delivered=3, pending=2, ack_pending=1, paused=False)


async def test_s13_a_paused_consumer_delivers_nothing_more_and_still_takes_acks(queue: Queue) -> None:
    await fill(queue, 1)
    consumer = await queue.consumer(ConsumerSettings("c", INVOKE, ack_wait_s=300))
    [running] = await fetched(consumer, 1)
    assert await pause_consumer(queue, "c") is True
    await queue.publish(INVOKE, b"late", message_id="late")
    assert await consumer.fetch(10, wait_s=0.3) == []
    state = await consumer_state(queue, "c")
    assert state == ConsumerState("c", INVOKE, ack_floor=0, delivered=1, pending=1, ack_pending=1, paused=True)
    await running.ack()
    state = await consumer_state(queue, "c")
    assert state is not None
    assert (state.ack_floor, state.ack_pending, state.paused) == (1, 0, True)
    assert await consumer.fetch(10, wait_s=0.1) == []


async def test_there_is_nothing_to_pause(queue: Queue) -> None:
    assert await pause_consumer(queue, "none") is False


async def test_consumers_are_listed_by_name(queue: Queue) -> None:
    assert await consumer_names(queue) == []
    for name in ("a", "b"):
        await queue.consumer(ConsumerSettings(name, INVOKE, ack_wait_s=300))
    assert sorted(await consumer_names(queue)) == ["a", "b"]
