"""A worker's sidecar from start to stop, in the one order that never deadlocks (contract 7.2, M1, S1, S21).

NATS → framework healthy → consumer → `registered` → heartbeats and dispatches → drain → `deregistered`. The health
endpoints are up before all that, in `sidecar.__main__`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Final, TypeVar

import structlog

from sidecar.access import access_for
from sidecar.backoff import jittered
from sidecar.cancellation import listen_for_cancels
from sidecar.concurrency import max_ack_pending
from sidecar.config import Config
from sidecar.dispatch import DispatchLoop
from sidecar.events import Events, publishing_events
from sidecar.framework_client import FrameworkClient
from sidecar.framework_watch import FrameworkWatch
from sidecar.health import Readiness
from sidecar.invocation import Invocations
from sidecar.messages import Event, WorkerMetricMessage, utc_now
from sidecar.metrics import Meters, exposition
from sidecar.publishing import Publisher
from sidecar.queue import Consumer, ConsumerSettings, Queue, QueueError, StreamSettings, redact_url
from sidecar.queue_errors import ended

FIRST_RETRY_S: Final = 0.02
LONGEST_RETRY_S: Final = 2.0
HEARTBEATS_KEPT: Final = 3
"""The stream forgets a heartbeat after so many intervals (S15): a worker silent for longer is gone."""

_T = TypeVar("_T")

log = structlog.get_logger(__name__)


class Worker:
    """The sidecar of one worker.

    Raises:
        AccessError: a file that the settings name cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._access = access_for(config)
        self._meters = Meters()
        self._queue: Queue | None = None
        self._watch: FrameworkWatch | None = None
        self._loop: DispatchLoop | None = None
        self._has_consumer = False
        self._is_registered = False

    @property
    def alive(self) -> bool:
        """Whether the dispatch loop turns, or was not needed yet (S15)."""
        return self._loop is None or self._loop.alive

    def readiness(self) -> Readiness:
        """What is ready now."""
        return Readiness(
            nats=self._queue is not None and self._queue.connected,
            consumer=self._has_consumer,
            framework=self._watch is not None and self._watch.healthy,
            registered=self._is_registered,
        )

    async def drained(self) -> bool:
        """Start nothing new and wait until no call is under way; False when that takes too long (S14)."""
        return self._loop is None or await self._loop.drained()

    def metrics(self) -> tuple[str, bytes]:
        """Content type and body of a Prometheus scrape; may be called in a thread."""
        config, readiness = self._config, self.readiness()
        info = {"worker": config.worker_name, "namespace": config.worker_namespace, "pool": config.request_id}
        return exposition(self._meters, info, framework_healthy=readiness.framework, ready=readiness.ready)

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
            await ended(serving)
        if not serving.cancelled():
            serving.result()
        log.info("sidecar stopped")

    async def _serve(self, stop: asyncio.Event) -> None:
        config = self._config
        async with AsyncExitStack() as stack:
            self._queue = queue = await _persistently("queue", lambda: stack.enter_async_context(self._connect()))
            queue.on_restored = self._reconnected
            framework = FrameworkClient(
                config.socket_path,
                invoke_path=config.invoke_path,
                health_path=config.health_path,
                # More than a message can carry is a failed result anyway; so much more still says how large it was.
                max_response_bytes=2 * queue.max_payload,
                max_idle=config.concurrency + 1,
            )
            await stack.enter_async_context(framework)
            self._watch = watch = FrameworkWatch(framework.health, problem=lambda: framework.health_problem)
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watch.run())
                await self._work(queue, framework, watch, stop)
                watching.cancel()

    async def _work(self, queue: Queue, framework: FrameworkClient, watch: FrameworkWatch, stop: asyncio.Event) -> None:
        """Register once the framework is healthy; then heartbeats and dispatches until `stop` is set."""
        config, publisher = self._config, Publisher(queue)
        await watch.wait_healthy()
        consumer = await _persistently("consumer", lambda: self._consumer(queue))
        async with publishing_events(queue, self._meters) as events, asyncio.TaskGroup() as tasks:
            invocations = Invocations(config, publisher, events, framework, watch, self._meters)
            cancel_subject = config.subjects.cancel(config.request_id, config.worker_name)
            await _persistently("cancels", lambda: listen_for_cancels(queue, cancel_subject, invocations.cancel))
            await publisher.event_stored(self._event(Event.REGISTERED))
            self._is_registered = True
            log.info("sidecar ready", concurrency=config.concurrency)
            self._loop = DispatchLoop(
                consumer,
                lambda: self._consumer(queue),
                invocations,
                watch,
                drain_timeout_s=config.drain_timeout_s,
                concurrency=config.concurrency,
            )
            watch.on_change = lambda healthy: self._report_health(events, healthy=healthy)
            beating = tasks.create_task(self._beat(events, self._loop))
            await self._loop.run(stop)
            beating.cancel()
            watch.on_change = None
            events.publish(self._event(Event.DEREGISTERED))

    def _connect(self) -> AbstractAsyncContextManager[Queue]:
        config = self._config
        return Queue.connect(
            config.nats_url,
            client_name=f"sidecar {config.worker_name}",
            stream=StreamSettings(name=config.stream_name, subjects=config.subjects),
            timeout_s=None,
            access=self._access,
        )

    async def _consumer(self, queue: Queue) -> Consumer:
        """Bind the consumer; where nobody else made it, make it and the stream that it needs."""
        config = self._config
        self._has_consumer = False
        consumer = await queue.consumer(
            ConsumerSettings(
                durable=config.consumer_name,
                filter_subject=config.subjects.dispatch(config.request_id, config.worker_name),
                ack_wait_s=config.ack_wait_s,
                max_ack_pending=max_ack_pending(config.concurrency),
            )
        )
        self._has_consumer = True
        return consumer

    def _reconnected(self) -> None:
        self._meters.reconnects += 1

    def _report_health(self, events: Events, *, healthy: bool) -> None:
        events.publish(self._event(Event.FRAMEWORK_HEALTHY if healthy else Event.FRAMEWORK_UNHEALTHY))

    async def _beat(self, events: Events, loop: DispatchLoop) -> None:
        """Say that the worker lives, as long as its dispatch loop does (S15)."""
        interval_s = self._config.heartbeat_interval_s
        while True:
            await asyncio.sleep(interval_s)
            if loop.alive:
                events.publish(self._event(Event.HEARTBEAT), ttl_s=HEARTBEATS_KEPT * interval_s)
            else:
                log.error("the dispatch loop is stuck, no heartbeat")

    def _event(self, event_type: str) -> WorkerMetricMessage:
        return WorkerMetricMessage(
            serverless_request_id=self._config.request_id,
            worker_name=self._config.worker_name,
            worker_namespace=self._config.worker_namespace,
            event_type=event_type,
            inflight=self._meters.inflight,
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
