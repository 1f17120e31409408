"""The activator: turns every accepted invocation into a dispatch for a worker, or into a failed result (contract 9).

Any number may run. They share the invocations through the durable consumer; one of them leads, and keeps the workers.
Here the parts are put together; what is decided is decided in pure functions that they ask.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

import structlog

from sidecar.queue import Queue, QueueError
from simulator.activator.answers import Answers
from simulator.activator.cancels import Cancels
from simulator.activator.dispatcher import Dispatcher
from simulator.activator.fates import Fail
from simulator.activator.fleet import Condition, FleetSettings
from simulator.activator.held import Held, HeldInvocations
from simulator.activator.ingress import Ingress
from simulator.activator.lease import Lease
from simulator.activator.lifecycle_loop import LifecycleLoop
from simulator.activator.memory import Memory
from simulator.activator.overdue import Overdue
from simulator.activator.reaper import Reaper
from simulator.activator.roster import Roster
from simulator.activator.router import Router
from simulator.activator.settings import ActivatorSettings
from simulator.activator.shared import Shared
from simulator.activator.worker_events import WorkerEvents
from simulator.gpuunit import ACTIVE_NAMESPACE, MANAGED_LABELS, OnWorkerLoss
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import POD
from simulator.ledger.follower import LedgerFollower

START_TIMEOUT_S: Final = 30.0
START_RETRY_S: Final = 0.5
GIVE_BACK_S: Final = 1.0
"""How long the end may take until all dispatches are concluded; those that are not come again after the ack wait."""

log = structlog.get_logger(__name__)


class Activator:
    """One activator; `units` must be a running informer of the active namespace's GPUUnits."""

    def __init__(
        self, cluster: Cluster, units: Informer, queue: Queue, settings: ActivatorSettings | None = None
    ) -> None:
        self._queue = queue
        self._settings = settings = settings or ActivatorSettings()
        self._units = units
        self._pods = Informer(cluster, POD, ACTIVE_NAMESPACE, labels=MANAGED_LABELS)
        self.name = f"activator-{secrets.token_hex(4)}"
        self._follower = LedgerFollower(queue)
        ledger = self._follower.ledger
        fleet = FleetSettings(
            silence_s=settings.silence_s, ready_wait_s=settings.worker_ready_wait_s, capacity=settings.capacity
        )
        self._roster = Roster(units, self._pods, ledger, fleet)
        self._shared = Shared(queue, self.name)
        clock = asyncio.get_running_loop().time
        self._held = HeldInvocations(settings.ack_wait_s, clock, lambda: queue.connected)
        self._answers = Answers(queue, settings.consumer_name)
        self._router = Router(ledger, self._roster, self._held, self._answers, self._shared.gave_up)
        self._lease = Lease(queue, self.name, settings.lease_s)
        self._tasks = asyncio.TaskGroup()
        self._cancels = Cancels(queue, ledger, self._router, self._tasks)
        self._events = WorkerEvents(queue, self._roster)
        self._dispatcher = Dispatcher(
            queue,
            self._follower,
            self._held,
            self._is_live,
            lambda: self._shared.is_alone,
            self._answer,
            self._router.look_at,
            lambda pool: self._roster.policy(pool).on_worker_loss is OnWorkerLoss.NEVER,
        )
        self._reaper = Reaper(
            queue,
            self._follower,
            self._roster,
            self._held,
            settings.capacity,
            answer=self._answer,
            arrived=self._router.arrived,
            is_leader=lambda: self._lease.is_held,
            events_read=lambda: self._events.position,
            hear_events=self._events.catch_up,
        )
        self._overdue = Overdue(
            queue,
            self._follower,
            self._held,
            settings.result_grace_s,
            answer=self._answer,
            is_leader=lambda: self._lease.is_held,
        )
        self._lifecycle = LifecycleLoop(
            cluster, units, self._roster, ledger, self._shared, fleet, settings.gpu_budget, self._reaper.waiting
        )
        self._memory = Memory(
            queue, self._roster, ledger, self._shared, lambda: self._events.position, settings.consumer_name
        )

    @property
    def leads(self) -> bool:
        """Whether this activator is the leader now."""
        return self._lease.is_held

    async def run(self) -> None:
        """Handle invocations until cancelled, then let others have at once what waits here (A18)."""
        async with self._tasks as tasks:
            for part in (self._pods.run(), self._follower.run(), self._shared.run()):
                tasks.create_task(part)
            await self._units.synced()
            await self._pods.synced()
            await self._learn()
            self._listen()
            tasks.create_task(self._events.run())
            await self._insist(lambda: self._events.catch_up(START_TIMEOUT_S))  # or whoever is not heard is lost
            log.info("takes part", activator=self.name)
            for part in (self._expire(), self._held.keep_alive(), self._cancels.hear()):
                tasks.create_task(part)
            ingress = Ingress(self._queue, self._follower, self._held, self._answers, self._router, self._settings)
            parts = (ingress.run(tasks), self._router.run(self._dispatcher, tasks), self._lease.run(self._lead))
            working = [tasks.create_task(part) for part in parts]
            try:
                await asyncio.wait(working)
            finally:
                await self._give_back(working)

    async def _give_back(self, working: list[asyncio.Task[None]]) -> None:
        """Take and give out nothing more, lead no longer, and conclude the dispatches under way."""
        for task in working:
            task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_BACK_S):
                await asyncio.wait(working)
                await self._give_back_waiting()
                while self._held.count:
                    self._held.room.clear()
                    await self._held.room.wait()
        await self._give_back_waiting()  # those too whose dispatch was refused meanwhile

    async def _give_back_waiting(self) -> None:
        for held in [each for pool in self._held.pools() for each in self._held.line(pool)]:
            if self._held.is_fresh(held):  # somebody else may have the others by now
                with suppress(QueueError):
                    await held.claim.nak()
            self._held.drop(held)

    async def _learn(self) -> None:
        """Know what there is before the first decision: the stream, and what activators wrote down (A12, A19)."""
        await self._insist(self._shared.synced)
        await self._insist(lambda: self._follower.catch_up(START_TIMEOUT_S))
        notes = self._shared.workers.values()
        if self._shared.events_read <= self._follower.ledger.position:  # else that of a stream which was deleted since
            self._events.position = self._shared.events_read
        self._roster.load({note.name: note.record for note in notes})

    async def _insist(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Try until the queue does it."""
        while True:
            try:
                await attempt()
            except (QueueError, TimeoutError) as error:
                log.warning("cannot read what is there, trying again", error=str(error) or "not in time")
                await asyncio.sleep(START_RETRY_S)
            else:
                return

    def _listen(self) -> None:
        roster = self._roster
        roster.on_change = self._pool_changed
        roster.on_loss = self._reaper.look_at
        self._shared.on_pool = self._router.look_at
        self._follower.on_change.append(self._reaper.ledger_changed)
        self._follower.on_batch.append(self._invocations_changed)
        self._router.on_arrival = self._cancels.arrived
        roster.start()

    def _pool_changed(self, pool: str) -> None:
        self._router.look_at(pool)
        self._lifecycle.look_at(pool)

    def _invocations_changed(self, changed: Collection[str]) -> None:
        ledger, pools = self._follower.ledger, set()
        for invocation_id in changed:
            self._cancels.invocation_changed(invocation_id)
            self._dispatcher.ledger_changed(invocation_id)
            self._router.ledger_changed(invocation_id)
            known = ledger.open(invocation_id) or ledger.ended(invocation_id)
            if known is not None:
                pools.add(known.pool)
        for pool in pools:
            self._lifecycle.look_at(pool)

    def _is_live(self, name: str) -> bool:
        worker = self._roster.worker(name)
        return worker is not None and worker.condition is Condition.LIVE

    def _answer(self, held: Held, failure: Fail) -> None:
        self._router.answer(held, failure, self._tasks)

    async def _lead(self) -> None:
        """The leader's work, until it leads no longer."""
        async with asyncio.TaskGroup() as tasks:
            rounds = self._memory.run(self._reaper.look_again, self._overdue.look)
            for part in (self._reaper.run(), self._lifecycle.run(), rounds):
                tasks.create_task(part)

    async def _expire(self) -> None:
        """Notice workers that are silent (A13)."""
        while True:
            now, silence_s = time.time(), self._settings.silence_s
            due = self._roster.next_expiry()
            await asyncio.sleep(min(max(due - now, 0.0), silence_s) + 0.01 if due is not None else silence_s)
            self._roster.expire(time.time())
