"""Metric events: in order, none lost while the queue is away, bounded (S15, S28)."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
import pytest

from sidecar import events as events_module
from sidecar.events import Events, publishing_events
from sidecar.messages import Event, WorkerMetricMessage, utc_now
from sidecar.metrics import Meters
from sidecar.queue_errors import QueueError, QueueRefusedError, QueueUnavailableError
from sidecar.requests import Answer
from sidecar.stored import Published
from sidecar.subjects import Subjects

STORED = b'{"stream":"S","seq":1}'
NO_TTL = b'{"error":{"code":400,"err_code":10166,"description":"per-message TTL is disabled"}}'


class ScriptedQueue:
    """Notes what is sent; answers when told to."""

    def __init__(self) -> None:
        self.subjects = Subjects()
        self.max_payload = 1000
        self.sent: list[tuple[str, Mapping[str, str]]] = []
        self.answers: list[Answer] = []
        self.answered = 0
        self.written = asyncio.Event()
        self.errors: list[QueueError] = []

    def start_publish(
        self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None, answer: Answer
    ) -> None:
        if self.errors:
            raise self.errors.pop()
        self.sent.append((msgspec.json.decode(data)["invocationID"], dict(headers or {})))
        self.answers.append(answer)
        self.written.set()

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> Published:
        raise AssertionError("nobody waits for an event")

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        raise AssertionError("events are stored")

    async def until_sent(self, count: int) -> list[str]:
        async with asyncio.timeout(10):
            while len(self.sent) < count:
                self.written.clear()
                await self.written.wait()
        return [invocation_id for invocation_id, _ in self.sent]

    def answer_all(self, data: bytes = STORED) -> None:
        for answer in self.answers[self.answered :]:
            answer.set_result(data)
        self.answered = len(self.answers)


def event(invocation_id: str) -> WorkerMetricMessage:
    return WorkerMetricMessage(
        serverless_request_id="pool",
        worker_name="w1",
        worker_namespace="ns",
        invocation_id=invocation_id,
        event_type=Event.STARTED,
        reported_at=utc_now(),
    )


@asynccontextmanager
async def running(queue: ScriptedQueue, meters: Meters) -> AsyncIterator[Events]:
    async with publishing_events(queue, meters) as events:
        yield events
        queue.answer_all()


async def test_events_are_written_in_order_without_waiting_for_answers() -> None:
    queue, meters = ScriptedQueue(), Meters()
    async with running(queue, meters) as events:
        for name in "abc":
            events.publish(event(name))
        assert await queue.until_sent(3) == ["a", "b", "c"]


async def test_what_got_no_answer_is_sent_again_in_its_order() -> None:
    """S28: a lost connection loses no event, and what came meanwhile stays behind it."""
    queue, meters = ScriptedQueue(), Meters()
    async with running(queue, meters) as events:
        for name in "abc":
            events.publish(event(name))
        await queue.until_sent(3)
        queue.answers[0].set_result(STORED)
        queue.answers[2].set_exception(QueueUnavailableError("the connection was lost"))
        queue.answers[1].set_exception(QueueUnavailableError("the connection was lost"))
        events.publish(event("d"))
        assert await queue.until_sent(6) == ["a", "b", "c", "b", "c", "d"]
    assert (meters.events_dropped, meters.events_failed) == (0, 0)


async def test_what_cannot_be_sent_now_is_sent_later() -> None:
    queue, meters = ScriptedQueue(), Meters()
    queue.errors = [QueueUnavailableError("buffer full")] * 2
    async with running(queue, meters) as events:
        events.publish(event("a"))
        events.publish(event("b"))
        assert await queue.until_sent(2) == ["a", "b"]


async def test_what_is_refused_is_counted_and_keeps_nothing_back() -> None:
    queue, meters = ScriptedQueue(), Meters()
    queue.errors = [QueueRefusedError("too large")]
    async with running(queue, meters) as events:
        for name in "abc":
            events.publish(event(name))
        assert await queue.until_sent(2) == ["b", "c"]
        queue.answers[0].set_result(b'{"error":{"code":400,"err_code":1,"description":"no"}}')
    assert meters.events_failed == 2


async def test_a_time_to_live_is_given_up_where_the_stream_takes_none() -> None:
    """S15: heartbeats expire where they can; the older server gets them all the same."""
    queue, meters = ScriptedQueue(), Meters()
    async with running(queue, meters) as events:
        events.publish(event("a"), ttl_s=45, headers={"x": "y"})
        await queue.until_sent(1)
        queue.answers[0].set_result(NO_TTL)
        await queue.until_sent(2)
    assert [headers for _, headers in queue.sent] == [{"x": "y", "Nats-TTL": "45s"}, {"x": "y"}]
    assert meters.events_failed == 0


async def test_too_many_under_way_drop_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "MAX_UNDER_WAY", 2)
    queue, meters = ScriptedQueue(), Meters()
    async with running(queue, meters) as events:
        for name in "abc":
            events.publish(event(name))
        assert await queue.until_sent(2) == ["a", "b"]
    assert meters.events_dropped == 1


async def test_the_end_waits_for_what_is_under_way() -> None:
    """S14: none is lost at a drain."""
    queue, meters = ScriptedQueue(), Meters()
    ended = asyncio.Event()

    async def life() -> None:
        async with publishing_events(queue, meters) as events:
            events.publish(event("a"))
        ended.set()

    task = asyncio.create_task(life())
    await queue.until_sent(1)
    assert not ended.is_set()
    queue.answer_all()
    await task


async def test_the_end_gives_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "FLUSH_TIMEOUT_S", 0.01)
    queue = ScriptedQueue()
    async with asyncio.timeout(10), publishing_events(queue, Meters()) as events:
        events.publish(event("a"))
    assert len(queue.sent) == 1
