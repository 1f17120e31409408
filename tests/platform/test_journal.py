"""The journal keeps what the stream stored, in order, and wakes whoever waits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from sidecar.messages import Event, InvocationResultMessage, WorkerMetricMessage, encode
from sidecar.queue import QueueUnavailableError, StreamSettings
from simulator.errors import WaitTimeoutError
from simulator.journal import Journal

RESULT = encode(InvocationResultMessage(invocation_id="i", serverless_request_id="p"))
STARTED = encode(
    WorkerMetricMessage(
        serverless_request_id="p", worker_name="w", worker_namespace="n", invocation_id="i", event_type=Event.STARTED
    )
)


@dataclass
class StubDelivery:
    sequence: int
    subject: str
    data: bytes

    async def ack(self) -> None: ...


class StubQueue:
    """Delivers what the test puts in; None stands for a lost connection."""

    def __init__(self) -> None:
        self.stream = StreamSettings()
        self.subjects = self.stream.subjects
        self.waiting: asyncio.Queue[StubDelivery | None] = asyncio.Queue()

    async def consumer(self, _settings: object) -> "StubQueue":
        return self

    async def fetch(self, _batch: int) -> list[StubDelivery]:
        delivery = await self.waiting.get()
        if delivery is None:
            raise QueueUnavailableError("lost")
        return [delivery]

    def put(self, sequence: int, family: str, data: bytes) -> None:
        self.waiting.put_nowait(StubDelivery(sequence, f"runtime.serverless.{family}.p", data))


@asynccontextmanager
async def reading(queue: StubQueue) -> AsyncIterator[Journal]:
    journal = Journal(queue)  # type: ignore[arg-type]
    task = asyncio.create_task(journal.run())
    try:
        yield journal
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_messages_are_decoded_and_found_by_invocation() -> None:
    queue = StubQueue()
    queue.put(1, "metrics", STARTED)
    queue.put(2, "result", RESULT)
    async with reading(queue) as journal:
        [result] = await journal.wait_for(lambda j: j.results("i"), 5, "a result")
        assert result.serverless_request_id == "p"
        assert [event.event_type for event in journal.events("i")] == [Event.STARTED]
        assert journal.results("other") == []


async def test_a_redelivery_is_not_recorded_twice() -> None:
    queue = StubQueue()
    for sequence in (1, 1, 2):
        queue.put(sequence, "result", RESULT)
    async with reading(queue) as journal:
        await journal.wait_for(lambda j: len(j.entries) == 2, 5, "two entries")
        assert [entry.sequence for entry in journal.entries] == [1, 2]


@pytest.mark.parametrize(("family", "data"), [("result", b"\xff"), ("unknown", RESULT), ("metrics", b"{}")])
async def test_what_cannot_be_decoded_is_kept_as_it_is(family: str, data: bytes) -> None:
    queue = StubQueue()
    queue.put(1, family, data)
    async with reading(queue) as journal:
        await journal.wait_for(lambda j: j.entries, 5, "an entry")
        assert (journal.entries[0].data, journal.entries[0].message) == (data, None)


async def test_a_lost_queue_is_read_again() -> None:
    queue = StubQueue()
    queue.waiting.put_nowait(None)
    queue.put(1, "result", RESULT)
    async with reading(queue) as journal:
        assert await journal.wait_for(lambda j: j.results("i"), 5, "a result")


async def test_a_timeout_names_what_was_missing() -> None:
    async with reading(StubQueue()) as journal:
        with pytest.raises(WaitTimeoutError, match=r"a result of x did not appear within 0\.01 s.*0 messages"):
            await journal.wait_for(lambda j: j.results("x"), 0.01, "a result of x")
