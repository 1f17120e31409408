"""Dead letters in a real stream: found among other messages, however many there are."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from sidecar.messages import DeadLetterMessage, encode, utc_now
from sidecar.queue import Queue
from simulator.dead_letters import FETCH_BATCH, DeadLetterNotFoundError, DeadLetters
from simulator.jetstream.stored import stored_message

if TYPE_CHECKING:
    from simulator.nats_server import NatsServer

pytestmark = pytest.mark.e2e


@pytest.fixture
async def queue(nats_server: "NatsServer") -> AsyncIterator[Queue]:
    async with Queue.connect(nats_server.url, client_name="dead-letters") as queue:
        await queue.ensure_stream()
        yield queue


async def bury(queue: Queue, number: int, source: str = "dispatch", pool: str = "tts") -> int:
    letter = DeadLetterMessage(source=source, invocation_id=f"i-{number}", error="bad", failed_at=utc_now())
    subject = queue.subjects.dead_letter(source, pool)
    return (await queue.publish(subject, encode(letter), message_id=f"dlq-{number}")).sequence


async def test_the_newest_of_more_than_are_fetched_at_once(queue: Queue) -> None:
    sequences = [await bury(queue, number) for number in range(FETCH_BATCH + 40)]
    await queue.publish(queue.subjects.result("tts"), b"{}", message_id="later")
    letters = DeadLetters(queue)
    assert [letter.sequence for letter in await letters.newest(3)] == sequences[:-4:-1]
    assert [letter.sequence for letter in await letters.newest(1000)] == sequences[::-1]


async def test_the_newest_of_a_source_and_of_a_pool(queue: Queue) -> None:
    letters = DeadLetters(queue)
    assert await letters.newest(10) == []
    await queue.publish(queue.subjects.invoke("tts"), b"{}", message_id="earlier")
    dispatch = await bury(queue, 1)
    result = await bury(queue, 2, "result")
    nameless = await bury(queue, 3, "metric", "")
    assert [letter.sequence for letter in await letters.newest(10)] == [nameless, result, dispatch]
    assert [letter.sequence for letter in await letters.newest(10, source="result")] == [result]
    assert [letter.sequence for letter in await letters.newest(10, pool="tts")] == [result, dispatch]
    assert [letter.sequence for letter in await letters.newest(10, pool="unknown")] == [nameless]
    assert await letters.newest(10, source="metric", pool="tts") == []


async def test_only_dead_letters_are_dropped(queue: Queue) -> None:
    letters = DeadLetters(queue)
    other = (await queue.publish(queue.subjects.invoke("dlq"), b"{}", message_id="other")).sequence
    sequence = await bury(queue, 1)
    for absent in (other, sequence + 1, 2**63 - 1, 9_999_999_999_999_999_999):
        with pytest.raises(DeadLetterNotFoundError):
            await letters.drop(absent)
    await letters.drop(sequence)
    with pytest.raises(DeadLetterNotFoundError):
        await letters.drop(sequence)
    assert await stored_message(queue, sequence=other) is not None
    assert await letters.newest(10) == []
