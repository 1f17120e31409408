"""The journal keeps what the stream stored, in order, and wakes whoever waits."""

import asyncio
from dataclasses import dataclass

import pytest

from sidecar.messages import Event, InvocationResultMessage, WorkerMetricMessage, encode
from sidecar.queue import QueueUnavailableError, StreamSettings
from simulator.errors import WaitTimeoutError
from simulator.journal import journal_of

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
    consumer_sequence: int


class StubQueue:
    """A stream that the test fills; `fail_next` breaks one fetch, `lose_next` loses the next delivery on its way."""

    def __init__(self) -> None:
        self.stream = StreamSettings()
        self.subjects = self.stream.subjects
        self.stored: list[tuple[str, bytes]] = []
        self.grown = asyncio.Event()
        self.readers: list[int] = []
        self.fail_next = False
        self.lose_next = False

    def put(self, family: str, data: bytes) -> None:
        self.stored.append((f"runtime.serverless.{family}.p", data))
        self.grown.set()

    async def request(self, subject: str, body: bytes) -> bytes:
        assert subject == f"$JS.API.STREAM.INFO.{self.stream.name}"
        return b'{"state":{"first_seq":1,"last_seq":%d}}' % len(self.stored)

    async def reader(self, subject: str, start_sequence: int, *, stream: str, headers_only: bool) -> "StubReader":
        assert (subject, stream, headers_only) == ("runtime.serverless.>", "", False)
        self.readers.append(start_sequence)
        return StubReader(self, start_sequence)


class StubReader:
    interruptions = 0

    def __init__(self, queue: StubQueue, start: int) -> None:
        self._queue, self._next, self._delivered = queue, start, 0

    async def fetch(self, _batch: int) -> list[StubDelivery]:
        queue = self._queue
        while self._next > len(queue.stored) and not queue.fail_next:
            queue.grown.clear()
            await queue.grown.wait()
        if queue.fail_next:
            queue.fail_next = False
            raise QueueUnavailableError("lost")
        if queue.lose_next:
            queue.lose_next = False
            self._take()
        return [self._take()] if self._next <= len(queue.stored) else []

    def _take(self) -> StubDelivery:
        subject, data = self._queue.stored[self._next - 1]
        self._delivered += 1
        self._next += 1
        return StubDelivery(self._next - 1, subject, data, self._delivered)

    async def close(self) -> None: ...


async def test_messages_are_decoded_and_found_by_invocation() -> None:
    queue = StubQueue()
    async with journal_of(queue) as journal:  # type: ignore[arg-type]
        queue.put("metrics", STARTED)
        queue.put("result", RESULT)
        [result] = await journal.wait_for(lambda j: j.results("i"), 5, "a result")
        assert result.serverless_request_id == "p"
        assert [event.event_type for event in journal.events("i")] == [Event.STARTED]
        assert journal.results("other") == []


@pytest.mark.parametrize("trouble", ["fail_next", "lose_next"])
async def test_after_trouble_the_stream_is_read_on_without_gap_or_repetition(trouble: str) -> None:
    queue = StubQueue()
    async with journal_of(queue) as journal:  # type: ignore[arg-type]
        queue.put("result", RESULT)
        await journal.wait_for(lambda j: j.entries, 5, "the first")
        setattr(queue, trouble, True)
        queue.grown.set()
        for _ in range(3):
            queue.put("result", RESULT)
        await journal.wait_for(lambda j: len(j.entries) == 4, 5, "all four")
        assert [entry.sequence for entry in journal.entries] == [1, 2, 3, 4]
        assert len(queue.readers) == 2


@pytest.mark.parametrize(("family", "data"), [("result", b"\xff"), ("unknown", RESULT), ("metrics", b"{}")])
async def test_what_cannot_be_decoded_is_kept_as_it_is(family: str, data: bytes) -> None:
    queue = StubQueue()
    async with journal_of(queue) as journal:  # type: ignore[arg-type]
        queue.put(family, data)
        await journal.wait_for(lambda j: j.entries, 5, "an entry")
        assert (journal.entries[0].data, journal.entries[0].message) == (data, None)


async def test_what_was_stored_before_is_not_read() -> None:
    """A platform that others use too has a long stream, and IDs in it that are not ours."""
    queue = StubQueue()
    queue.put("result", RESULT)
    async with journal_of(queue) as journal:  # type: ignore[arg-type]
        queue.put("metrics", STARTED)
        await journal.wait_for(lambda j: j.entries, 5, "an entry")
        assert [entry.sequence for entry in journal.entries] == [2]
        assert (queue.readers, journal.results("i")) == ([2], [])


async def test_a_timeout_names_what_was_missing() -> None:
    async with journal_of(StubQueue()) as journal:  # type: ignore[arg-type]
        with pytest.raises(WaitTimeoutError, match=r"a result of x did not appear within 0\.01 s.*0 messages"):
            await journal.wait_for(lambda j: j.results("x"), 0.01, "a result of x")
