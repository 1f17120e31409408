"""The dispatch loop (contract 7.3): fetch what there is room for, keep it alive, run it, drain at the end.

The stages of a delivery, and how many may be in each, are those of `sidecar.concurrency`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

import structlog

from sidecar.backoff import jittered
from sidecar.conclusions import Conclusion, Unanswered
from sidecar.concurrency import fetch_batch
from sidecar.framework_watch import FrameworkWatch
from sidecar.invocation import Invocations
from sidecar.ports import ConsumerPort, DeliveryPort
from sidecar.queue_errors import QueueError

TURN_S: Final = 2.0
"""The loop turns at least this often, whatever it waits for; each turn shows that it lives."""
STALLED_S: Final = 30.0
"""A loop that did not turn for so long is stuck (S15): its longest step, binding a consumer anew, takes half of it."""
HOLD_S: Final = 10.0
"""How long nothing new starts after `drained`: by then the stop that it announced has come."""
FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 5.0

log = structlog.get_logger(__name__)


class DispatchLoop:
    """Feeds one consumer's deliveries to the framework."""

    def __init__(
        self,
        consumer: ConsumerPort,
        open_consumer: Callable[[], Awaitable[ConsumerPort]],
        invocations: Invocations,
        watch: FrameworkWatch,
        *,
        drain_timeout_s: float,
        concurrency: int = 1,
    ) -> None:
        self._consumer = consumer
        self._unbound = False
        self._open_consumer = open_consumer
        self._invocations = invocations
        self._watch = watch
        self._drain_timeout_s = drain_timeout_s
        self._concurrency = concurrency
        self._waiting: deque[DeliveryPort] = deque()
        self._tasks: dict[asyncio.Task[None], DeliveryPort] = {}
        self._unanswered: list[tuple[DeliveryPort, Unanswered]] = []
        """Calls that lost their framework when the sidecar was about to end."""
        self._running = 0
        self._stopping = False
        self._held_until = 0.0
        self._changed = asyncio.Event()
        self._retries = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
        self._clock = asyncio.get_running_loop().time
        self._turned_at = self._clock()

    @property
    def alive(self) -> bool:
        """Whether the loop still turns (S15)."""
        return self._clock() - self._turned_at < STALLED_S

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set, then let running calls end and give the rest back (S14).

        Nothing that a message holds and no queue error ends the loop (S26).
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self._keep_in_progress())
                feeding = tasks.create_task(self._feed())
                try:
                    await stop.wait()
                finally:
                    self._stopping = True
                feeding.cancel()
                await asyncio.wait([feeding])
                await self._drain()
                keeping.cancel()
        finally:
            await self._cut(list(self._tasks))

    async def drained(self) -> bool:
        """Start nothing new and wait until no call is under way; False when that takes longer than a drain may (S14).

        The platform asks for it before it stops the framework, which on a cluster ends before the sidecar does. Where
        no stop follows, work goes on after a while.
        """
        log.info("drain asked for", running=len(self._tasks))
        self._held_until = self._clock() + self._drain_timeout_s + HOLD_S
        late: Collection[asyncio.Task[None]] = ()
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks), timeout=self._drain_timeout_s)
        self._held_until = self._clock() + HOLD_S
        return not late

    @property
    def _held(self) -> bool:
        return self._clock() < self._held_until

    async def _feed(self) -> None:
        while not self._stopping:
            self._turned_at = self._clock()
            if self._held:
                await asyncio.sleep(min(TURN_S, self._held_until - self._clock()))
                continue
            while self._unanswered:  # no stop came: they have failed
                self._start(*self._unanswered.pop())
            self._start_waiting()
            if not self._watch.healthy:
                await _at_most(TURN_S, self._watch.wait_healthy())
                continue
            self._changed.clear()
            batch = self._wanted()
            if batch <= 0:
                await _at_most(TURN_S, self._changed.wait())
                continue
            self._waiting.extend(await self._fetch(batch))
            self._start_waiting()

    def _wanted(self) -> int:
        concluding = len(self._tasks) - self._running
        return fetch_batch(self._concurrency, len(self._waiting), self._running, concluding)

    async def _fetch(self, batch: int) -> Sequence[DeliveryPort]:
        try:
            if self._unbound:
                await self._bind_anew()
            deliveries = await self._consumer.fetch(batch, TURN_S)
        except QueueError as error:
            log.warning("fetch failed", error=str(error))
            self._unbound = True
            await asyncio.sleep(next(self._retries))
            return ()
        self._retries = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
        return deliveries

    async def _bind_anew(self) -> None:
        """The consumer may have been deleted, or lost with the server's storage."""
        fresh = await self._open_consumer()
        stale, self._consumer = self._consumer, fresh
        self._unbound = False
        await stale.close()

    def _start_waiting(self) -> None:
        while not (self._stopping or self._held) and self._waiting and self._running < self._concurrency:
            delivery = self._waiting.popleft()
            self._running += 1
            self._start(delivery)

    def _start(self, delivery: DeliveryPort, conclusion: Conclusion | None = None) -> None:
        # Not of a TaskGroup, whose bookkeeping would be twice ours: `_process` lets no error out, `run` no task.
        task = asyncio.create_task(self._process(delivery, conclusion))
        self._tasks[task] = delivery
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._changed.set()

    async def _process(self, delivery: DeliveryPort, conclusion: Conclusion | None) -> None:
        """Take one delivery through the stages that it has not passed; only cancellation gets out of here."""
        try:
            conclusion = conclusion or await self._execute(delivery)
            if isinstance(conclusion, Unanswered) and (self._stopping or self._held):
                log.warning("framework lost, its call is left open", invocationID=conclusion.dispatch.invocation_id)
                self._unanswered.append((delivery, conclusion))
                return
            await self._invocations.conclude(delivery, conclusion)
        except QueueError as error:
            # It comes again and is then answered from memory.
            log.warning("delivery not ended", sequence=delivery.sequence, error=str(error))
        except Exception as error:
            log.exception("dispatch failed", sequence=delivery.sequence)
            with suppress(QueueError):
                await self._invocations.give_up(delivery, f"the sidecar failed: {type(error).__name__}")

    async def _execute(self, delivery: DeliveryPort) -> Conclusion:
        try:
            return await self._invocations.execute(delivery)
        finally:
            self._running -= 1
            self._changed.set()
            self._start_waiting()

    async def _keep_in_progress(self) -> None:
        """Restart the ack wait of everything that is held, at a third of it (S5)."""
        while True:
            await asyncio.sleep(self._consumer.ack_wait_s / 3)
            for delivery in [*self._consumer.held, *self._waiting, *self._tasks.values()]:
                with suppress(QueueError):  # the next one may get through
                    await delivery.in_progress()

    async def _drain(self) -> None:
        """Give back what was not started, let the rest end in time, give back what did not, or lost its framework."""
        not_started = list(self._waiting)
        self._waiting.clear()
        log.info("draining", running=len(self._tasks), notStarted=len(not_started))
        await self._give_back(not_started)
        with suppress(QueueError):
            await self._consumer.close()
        if self._tasks:
            await self._end_running()
        # Only now: this sidecar's own consumer would fetch them again.
        await self._give_back([delivery for delivery, _ in self._unanswered])

    async def _end_running(self) -> None:
        _, late = await asyncio.wait(self._tasks, timeout=self._drain_timeout_s)
        unfinished = [self._tasks[task] for task in late]
        if late:
            log.warning("drain timed out, calls are cut", calls=len(late))
        await self._cut(late)
        await self._give_back(unfinished)

    async def _cut(self, tasks: Collection[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _give_back(self, deliveries: list[DeliveryPort]) -> None:
        for delivery in deliveries:
            with suppress(QueueError):  # the server delivers it again after the ack wait
                await delivery.nak()


async def _at_most(timeout_s: float, event: Awaitable[object]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event
