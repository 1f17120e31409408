"""A worker's sidecar from start to stop, in the one order that never deadlocks (contract 7.2, M1, S1, S21).

NATS → stream → framework healthy → consumer → `registered` → heartbeats and dispatches → drain. The health endpoints
are up before all that, in `sidecar.__main__`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final, TypeVar

import structlog

from sidecar.backoff import jittered
from sidecar.config import Config
from sidecar.dispatch import DispatchLoop
from sidecar.events import Events, publishing_events
from sidecar.framework_client import FrameworkClient
from sidecar.framework_watch import FrameworkWatch
from sidecar.health import Readiness
from sidecar.invocation import Invocations
from sidecar.messages import Event, WorkerMetricMessage, utc_now
from sidecar.publishing import Publisher
from sidecar.queue import Consumer, ConsumerSettings, Queue, QueueError, StreamSettings, redact_url

FIRST_RETRY_S: Final = 0.02
LONGEST_RETRY_S: Final = 2.0
CANCEL_TIMEOUT_S: Final = 2.0

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class Worker:
    """The sidecar of one worker."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._queue: Queue | None = None
        self._watch: FrameworkWatch | None = None
        self._has_consumer = False
        self._is_registered = False

    def readiness(self) -> Readiness:
        """What is ready now."""
        return Readiness(
            nats=self._queue is not None and self._queue.connected,
            consumer=self._has_consumer,
            framework=self._watch is not None and self._watch.healthy,
            registered=self._is_registered,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Start, serve dispatches, and drain once `stop` is set; before that it never gives up."""
        config = self._config
        if stop.is_set():
            return
        log.info("sidecar starts", server=redact_url(config.nats_url), consumer=config.consumer_name)
        serving = asyncio.create_task(self._serve(stop))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if self._is_registered:
                await serving
        finally:
            stopping.cancel()
            await _cancelled(serving)
        if not serving.cancelled():
            serving.result()
        log.info("sidecar stopped")

    async def _serve(self, stop: asyncio.Event) -> None:
        config = self._config
        async with (
            AsyncExitStack() as open_queue,
            FrameworkClient(
                config.socket_path,
                invoke_path=config.invoke_path,
                health_path=config.health_path,
                max_idle=config.concurrency + 1,
            ) as framework,
        ):
            self._queue = queue = await _persistently("queue", lambda: open_queue.enter_async_context(self._connect()))
            await _persistently("stream", queue.ensure_stream)
            self._watch = FrameworkWatch(framework.health)
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch.run())
                await self._work(queue, framework, self._watch, stop)
                watching.cancel()

    async def _work(self, queue: Queue, framework: FrameworkClient, watch: FrameworkWatch, stop: asyncio.Event) -> None:
        """Register once the framework is healthy; then heartbeats and dispatches until `stop` is set."""
        config, publisher = self._config, Publisher(queue)
        await watch.wait_healthy()
        consumer = await _persistently("consumer", lambda: self._consumer(queue))
        await publisher.event_stored(self._event(Event.REGISTERED, 0))
        self._is_registered = True
        log.info("sidecar ready", concurrency=config.concurrency)
        async with publishing_events(queue) as events, asyncio.TaskGroup() as tasks:
            invocations = Invocations(config, publisher, events, framework, watch)
            beating = tasks.create_task(self._beat(events, invocations))
            loop = DispatchLoop(
                consumer,
                lambda: self._consumer(queue),
                invocations,
                watch,
                ack_wait_s=config.ack_wait_s,
                drain_timeout_s=config.drain_timeout_s,
                concurrency=config.concurrency,
            )
            await loop.run(stop)
            beating.cancel()

    def _connect(self) -> AbstractAsyncContextManager[Queue]:
        config = self._config
        return Queue.connect(
            config.nats_url,
            client_name=f"sidecar {config.worker_name}",
            stream=StreamSettings(name=config.stream_name, subjects=config.subjects),
            timeout_s=None,
        )

    async def _consumer(self, queue: Queue) -> Consumer:
        """Bind the consumer, and whatever it needs that is gone (again)."""
        config = self._config
        self._has_consumer = False
        await queue.ensure_stream()
        consumer = await queue.consumer(
            ConsumerSettings(
                durable=config.consumer_name,
                filter_subject=config.subjects.dispatch(config.request_id, config.worker_name),
                ack_wait_s=config.ack_wait_s,
            )
        )
        self._has_consumer = True
        return consumer

    async def _beat(self, events: Events, invocations: Invocations) -> None:
        while True:
            await asyncio.sleep(self._config.heartbeat_interval_s)
            events.publish(self._event(Event.HEARTBEAT, invocations.inflight))

    def _event(self, event_type: str, inflight: int) -> WorkerMetricMessage:
        return WorkerMetricMessage(
            serverless_request_id=self._config.request_id,
            worker_name=self._config.worker_name,
            worker_namespace=self._config.worker_namespace,
            event_type=event_type,
            inflight=inflight,
            reported_at=utc_now(),
        )


async def _persistently(what: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
    waits = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
    while True:
        try:
            return await attempt()
        except QueueError as error:
            log.warning("not ready yet", what=what, error=str(error))
            await asyncio.sleep(next(waits))


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: Python 3.11's `wait_for`, below nats-py's connect, can swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_TIMEOUT_S)
