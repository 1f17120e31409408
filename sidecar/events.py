"""Metric events on their way to the platform (contract 3.9): in order, none lost, off a call's critical path (S28).

They are written at once, and nobody waits for their answers. When one fails, all that have no answer yet are sent again
in their order; their message ids make that harmless.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from sidecar.backoff import jittered
from sidecar.messages import WorkerMetricMessage, encode
from sidecar.metrics import Meters
from sidecar.ports import QueuePort
from sidecar.queue_errors import QueueError, QueueUnavailableError, TtlRefusedError
from sidecar.stored import TTL_HEADER, published
from sidecar.subjects import metric_message_id

MAX_UNDER_WAY: Final = 4096
FLUSH_TIMEOUT_S: Final = 5.0
FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 2.0

log = structlog.get_logger(__name__)


class _Sending:
    """One event: what is sent, and the hearing of its answer."""

    __slots__ = ("data", "events", "headers", "message_id", "subject")

    def __init__(
        self, events: "Events", subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None
    ) -> None:
        self.events = events
        self.subject = subject
        self.data = data
        self.message_id = message_id
        self.headers = headers

    def done(self) -> bool:
        return False

    def set_result(self, body: bytes, /) -> None:
        if b'"error"' not in body:
            self.events.stored(self)
            return
        try:
            published(body)
        except QueueError as error:
            self.events.failed(self, error)

    def set_exception(self, error: QueueError, /) -> None:
        self.events.failed(self, error)


class Events:
    """Publishes metric events for one worker; open it with `publishing_events`."""

    def __init__(self, queue: QueuePort, meters: Meters) -> None:
        self._queue = queue
        self._meters = meters
        self._waiting: deque[_Sending] = deque()
        self._unanswered: dict[_Sending, None] = {}
        self._trouble = asyncio.Event()
        self._settled = asyncio.Event()

    def publish(
        self,
        event: WorkerMetricMessage,
        *,
        attempt: int = 1,
        dispatch: int = 1,
        headers: Mapping[str, str] | None = None,
        ttl_s: float = 0,
    ) -> None:
        """Write an event, or keep it until that is possible again; too many under way drop it.

        `attempt` is the delivery count of the invocation's `dispatch`-th dispatch (S12). With `ttl_s` the stream
        forgets the event after that many seconds, if it can (S15).
        """
        if len(self._waiting) + len(self._unanswered) >= MAX_UNDER_WAY:
            self._meters.events_dropped += 1
            log.warning("metric event dropped, too many are under way", messageID=event_id(event, attempt, dispatch))
            return
        if ttl_s:
            headers = {**(headers or {}), TTL_HEADER: f"{max(round(ttl_s), 1)}s"}
        subject = self._queue.subjects.metrics(event.serverless_request_id)
        sending = _Sending(self, subject, encode(event), event_id(event, attempt, dispatch), headers)
        if self._waiting or self._trouble.is_set():
            self._waiting.append(sending)
        else:
            self._write(sending)

    async def run(self) -> None:
        """Send again what failed, until cancelled."""
        waits = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
        while True:
            if not self._unanswered:
                waits = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
            await self._trouble.wait()
            await asyncio.sleep(next(waits))
            self._trouble.clear()
            # What has no answer goes before what was never sent.
            self._waiting.extendleft(reversed(self._unanswered))
            self._unanswered.clear()
            while self._waiting and not self._trouble.is_set():
                self._write(self._waiting.popleft())

    def _write(self, sending: _Sending) -> None:
        try:
            self._queue.start_publish(sending.subject, sending.data, sending.message_id, sending.headers, sending)
        except QueueUnavailableError:
            self._waiting.appendleft(sending)
            self._trouble.set()
        except QueueError as error:
            self._refused(sending, error)
        else:
            self._unanswered[sending] = None

    def stored(self, sending: _Sending) -> None:
        """The stream has an event."""
        self._unanswered.pop(sending, None)
        self._settled.set()

    def failed(self, sending: _Sending, error: QueueError) -> None:
        """An event was not taken, or nobody knows."""
        if sending not in self._unanswered:
            return  # it is under way again
        if isinstance(error, QueueUnavailableError):
            self._trouble.set()
            return
        del self._unanswered[sending]
        if isinstance(error, TtlRefusedError):
            sending.headers = {name: value for name, value in (sending.headers or {}).items() if name != TTL_HEADER}
            self._write(sending)
        else:
            self._refused(sending, error)

    def _refused(self, sending: _Sending, error: QueueError) -> None:
        self._meters.events_failed += 1
        log.warning("metric event refused", messageID=sending.message_id, error=str(error))
        self._settled.set()

    async def flush(self, timeout_s: float) -> None:
        """Wait until all events are stored; after `timeout_s` seconds give up the rest."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._waiting or self._unanswered:
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            log.warning("metric events lost", count=len(self._waiting) + len(self._unanswered))


@asynccontextmanager
async def publishing_events(queue: QueuePort, meters: Meters) -> AsyncIterator[Events]:
    """Publish events while the block runs; at its end the last ones get some seconds."""
    async with asyncio.TaskGroup() as tasks:
        events = Events(queue, meters)
        writing = tasks.create_task(events.run())
        yield events
        await events.flush(FLUSH_TIMEOUT_S)
        writing.cancel()


def event_id(event: WorkerMetricMessage, attempt: int = 1, dispatch: int = 1) -> str:
    """An event's message id."""
    return metric_message_id(
        event.worker_name, event.event_type, event.reported_at, event.invocation_id, attempt, dispatch
    )
