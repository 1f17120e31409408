"""Metric events on their way to the platform (contract 3.9): in order, and never on a call's critical path (S28)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from sidecar.messages import WorkerMetricMessage, encode
from sidecar.ports import QueuePort
from sidecar.queue_errors import QueueError
from sidecar.subjects import metric_message_id

MAX_UNDER_WAY: Final = 4096
FLUSH_TIMEOUT_S: Final = 2.0

log = structlog.get_logger(__name__)


class Events:
    """Publishes metric events for one worker; open it with `publishing_events`."""

    def __init__(self, queue: QueuePort, tasks: asyncio.TaskGroup) -> None:
        self._queue = queue
        self._tasks = tasks
        self._under_way: set[asyncio.Task[None]] = set()

    def publish(self, event: WorkerMetricMessage) -> None:
        """Start to publish an event and return; too many under way drop it.

        Its task is the next to run, so it is written before anything that its caller publishes after another wait:
        the stream has an invocation's events, and its result, in order.
        """
        if len(self._under_way) >= MAX_UNDER_WAY:
            log.warning("metric event dropped", eventType=event.event_type, invocationID=event.invocation_id)
            return
        task = self._tasks.create_task(self._publish(event))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _publish(self, event: WorkerMetricMessage) -> None:
        subject = self._queue.subjects.metrics(event.serverless_request_id)
        try:
            await self._queue.publish(subject, encode(event), message_id=event_id(event))
        except QueueError as error:
            log.warning("metric event not stored", eventType=event.event_type, error=str(error))

    async def flush(self, timeout_s: float) -> None:
        """Wait until all events under way were published or given up; after `timeout_s` seconds give up the rest."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=timeout_s)
        for task in late:
            task.cancel()
        if late:
            log.warning("metric events lost", count=len(late))


@asynccontextmanager
async def publishing_events(queue: QueuePort) -> AsyncIterator[Events]:
    """Publish events while the block runs; at its end the last ones get two seconds."""
    async with asyncio.TaskGroup() as tasks:
        events = Events(queue, tasks)
        yield events
        await events.flush(FLUSH_TIMEOUT_S)


def event_id(event: WorkerMetricMessage) -> str:
    """An event's message id."""
    return metric_message_id(event.worker_name, event.event_type, event.reported_at, event.invocation_id)
