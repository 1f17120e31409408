"""The dispatch loop (contract 7.3): fetch what there is room for, keep it alive, run it, drain at the end.

Deliveries are in one of three stages: waiting (fetched, not started), running (the framework works on it) and
concluding (result, reply and ack are under way). Only running is limited by `concurrency`; as soon as the framework
is free the next one starts.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from sidecar.backoff import jittered
from sidecar.framework_watch import FrameworkWatch
from sidecar.invocation import Invocations
from sidecar.ports import ConsumerPort, DeliveryPort
from sidecar.queue_errors import QueueError

FETCH_WAIT_S: Final = 2.0
"""How long the server holds a fetch open (contract 2.5)."""
FETCH_SETTLE_S: Final = 0.1
"""A fetch that already receives ends within this time; one that only waits is cancelled."""
FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 5.0
MIN_CONCLUDING: Final = 8

log = structlog.get_logger(__name__)


def fetch_batch(concurrency: int, waiting: int, running: int, concluding: int) -> int:
    """How many deliveries to fetch now; 0 is none.

    Ahead of free places at most half as many as run at once: the next ones are there when places become free, and
    little is stranded if the process dies. One at a time therefore fetches nothing ahead. Slow acks stop the fetching.
    """
    if concluding >= max(MIN_CONCLUDING, concurrency):
        return 0
    ahead = concurrency // 2
    wanted = concurrency + ahead - running - waiting
    idle_place = waiting == 0 and running < concurrency
    return wanted if idle_place or wanted > ahead // 2 else 0


class DispatchLoop:
    """Feeds one consumer's deliveries to the framework."""

    def __init__(
        self,
        consumer: ConsumerPort,
        open_consumer: Callable[[], Awaitable[ConsumerPort]],
        invocations: Invocations,
        watch: FrameworkWatch,
        *,
        ack_wait_s: float,
        drain_timeout_s: float,
        concurrency: int = 1,
    ) -> None:
        self._consumer = consumer
        self._open_consumer = open_consumer
        self._invocations = invocations
        self._watch = watch
        self._ack_wait_s = ack_wait_s
        self._drain_timeout_s = drain_timeout_s
        self._concurrency = concurrency
        self._waiting: deque[DeliveryPort] = deque()
        self._tasks: dict[asyncio.Task[None], DeliveryPort] = {}
        self._running = 0
        self._stopping = False
        self._changed = asyncio.Event()
        self._retries = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then let running calls end and give the rest back (S14).

        Nothing that a message holds and no queue error ends the loop (S26).
        """
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._keep_in_progress())
            feeding = tasks.create_task(self._feed(tasks))
            try:
                await stop.wait()
            finally:
                self._stopping = True
            await asyncio.wait([feeding], timeout=FETCH_SETTLE_S)
            feeding.cancel()
            await asyncio.wait([feeding])
            await self._drain()
            keeping.cancel()

    async def _feed(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping:
            await self._watch.wait_healthy()
            self._changed.clear()
            batch = self._wanted()
            if batch <= 0:
                await self._changed.wait()
                continue
            self._waiting.extend(await self._fetch(batch))
            self._start_waiting(tasks)

    def _wanted(self) -> int:
        concluding = len(self._tasks) - self._running
        return fetch_batch(self._concurrency, len(self._waiting), self._running, concluding)

    async def _fetch(self, batch: int) -> Sequence[DeliveryPort]:
        try:
            deliveries = await self._consumer.fetch(batch, FETCH_WAIT_S)
        except QueueError as error:
            log.warning("fetch failed", error=str(error))
            await self._reopen()
            return ()
        self._retries = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
        return deliveries

    async def _reopen(self) -> None:
        """Bind the consumer anew: it may have been deleted, or lost with the server's storage."""
        await asyncio.sleep(next(self._retries))
        with suppress(QueueError):
            fresh = await self._open_consumer()
            stale, self._consumer = self._consumer, fresh
            await stale.close()

    def _start_waiting(self, tasks: asyncio.TaskGroup) -> None:
        while not self._stopping and self._waiting and self._running < self._concurrency:
            delivery = self._waiting.popleft()
            self._running += 1
            task = tasks.create_task(self._process(delivery, tasks))
            self._tasks[task] = delivery
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._changed.set()

    async def _process(self, delivery: DeliveryPort, tasks: asyncio.TaskGroup) -> None:
        """Take one delivery through all stages; only cancellation gets out of here."""
        try:
            try:
                conclusion = await self._invocations.execute(delivery)
            finally:
                self._running -= 1
                self._changed.set()
                self._start_waiting(tasks)
            await self._invocations.conclude(delivery, conclusion)
        except QueueError as error:
            # It comes again and is then answered from memory.
            log.warning("delivery not ended", sequence=delivery.sequence, error=str(error))
        except Exception as error:
            log.exception("dispatch failed", sequence=delivery.sequence)
            with suppress(QueueError):
                await self._invocations.give_up(delivery, f"the sidecar failed: {type(error).__name__}")

    async def _keep_in_progress(self) -> None:
        """Restart the ack wait of everything that is held, at a third of it (S5)."""
        while True:
            await asyncio.sleep(self._ack_wait_s / 3)
            for delivery in [*self._waiting, *self._tasks.values()]:
                with suppress(QueueError):  # the next one may get through
                    await delivery.in_progress()

    async def _drain(self) -> None:
        """Give back what was not started, let the rest end in time, give back what did not."""
        not_started = list(self._waiting)
        self._waiting.clear()
        log.info("draining", running=len(self._tasks), notStarted=len(not_started))
        await self._give_back(not_started)
        with suppress(QueueError):
            await self._consumer.close()
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=self._drain_timeout_s)
        unfinished = [self._tasks[task] for task in late]
        for task in late:
            task.cancel()
        if late:
            log.warning("drain timed out, calls are cut", calls=len(late))
            await asyncio.wait(late)
        await self._give_back(unfinished)

    async def _give_back(self, deliveries: list[DeliveryPort]) -> None:
        for delivery in deliveries:
            with suppress(QueueError):  # the server delivers it again after the ack wait
                await delivery.nak()
