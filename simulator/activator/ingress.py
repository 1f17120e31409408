"""Takes invocations off the queue and holds them (contract 9.2): whatever their pools are, none waits for another (A2).

What one activator may hold is bounded; the rest stays in the stream. An invocation that comes again was held by an
activator that died, or was dispatched by one: the ledger, brought up to the present, tells which (A10).
"""

import asyncio
from typing import Final

import structlog

from sidecar.deliveries import Delivery
from sidecar.messages import MalformedMessageError
from sidecar.queue import Queue, QueueError
from sidecar.tracing import trace_headers
from simulator.activator.answers import Answers, checked_invocation
from simulator.activator.held import Held, HeldInvocations, is_settled
from simulator.activator.router import Router
from simulator.activator.settings import ActivatorSettings
from simulator.ledger.follower import LedgerFollower

FETCH_BATCH: Final = 64
RECOVERY_S: Final = 0.5
"""Pause after the queue refused a fetch, before the consumer is bound again."""
ROOM_SHARE: Final = 0.75
"""Once an activator holds all that it may, it takes more when it holds less than this share of it."""
POOL_SHARE: Final = 0.5
"""Of what an activator may hold, one pool gets this share at most."""
OVERFLOW_DELAY_S: Final = 2.0
"""After so long what exceeds a pool's share is delivered again."""

log = structlog.get_logger(__name__)


class Ingress:
    """Feeds `held`; the activators share one durable consumer."""

    def __init__(
        self,
        queue: Queue,
        follower: LedgerFollower,
        held: HeldInvocations,
        answers: Answers,
        router: Router,
        settings: ActivatorSettings,
    ) -> None:
        self._queue = queue
        self._follower = follower
        self._held = held
        self._answers = answers
        self._router = router
        self._settings = settings

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Take invocations until cancelled; `tasks` owns the answering of what is none."""
        while True:
            try:
                await self._consume(tasks)
            except QueueError as error:
                log.warning("cannot fetch invocations, trying again", error=str(error))
                await asyncio.sleep(RECOVERY_S)

    async def _consume(self, tasks: asyncio.TaskGroup) -> None:
        """Take until there is no room; then what was received meanwhile goes back, for others, or for later."""
        await self._room()
        consumer = await self._queue.consumer(self._settings.consumer(self._queue.subjects))
        try:
            while not self._is_full():
                await self._take(await consumer.fetch(FETCH_BATCH), tasks)
        finally:
            await consumer.close()

    async def _room(self) -> None:
        share = 1.0
        while self._is_full(share):
            share = ROOM_SHARE
            self._held.room.clear()
            await self._held.room.wait()

    def _is_full(self, share: float = 1.0) -> bool:
        held, settings = self._held, self._settings
        return held.count >= share * settings.max_held or held.size >= share * settings.max_held_bytes

    async def _take(self, deliveries: list[Delivery], tasks: asyncio.TaskGroup) -> None:
        if any(delivery.attempt > 1 for delivery in deliveries):
            await self._catch_up()
        for delivery in deliveries:
            try:
                held = self._checked(delivery)
            except MalformedMessageError as error:
                tasks.create_task(self._bury(delivery, str(error)))
                continue
            known = self._held.get(held.invocation_id)
            if is_settled(held, self._follower.ledger):
                delivery.ack_unconfirmed()
            elif known is None and self._has_its_share(held.pool):
                await delivery.nak(OVERFLOW_DELAY_S)
            elif known is None:
                self._held.add(held)
                self._router.arrived(held)
            elif known.sequence == held.sequence:
                self._held.renew(known, delivery)

    def _has_its_share(self, pool: str) -> bool:
        """Whether so much of one pool is held that others could be left without: more waits in the stream."""
        count, size = self._held.of_pool(pool)
        settings = self._settings
        return count >= POOL_SHARE * settings.max_held or size >= POOL_SHARE * settings.max_held_bytes

    async def _catch_up(self) -> None:
        """Know of everything that was stored before now. Raises QueueError."""
        limit_s = self._settings.ack_wait_s / 3  # what was delivered is not kept alive meanwhile
        try:
            async with asyncio.timeout(limit_s):
                await self._follower.catch_up(limit_s)
        except TimeoutError as error:
            raise QueueError("the ledger is behind the stream") from error

    def _checked(self, delivery: Delivery) -> Held:
        invocation = checked_invocation(delivery.data)
        trace = trace_headers(invocation.headers, delivery.extra_headers)
        return Held(invocation, delivery, delivery.sequence, len(delivery.data), trace)

    async def _bury(self, delivery: Delivery, error: str) -> None:
        try:
            await self._answers.bury(delivery, error)
        except QueueError as problem:
            log.warning("not buried, it will be delivered again", sequence=delivery.sequence, error=str(problem))
