"""Moves the dispatches of lost workers, then removes what is left of the workers' consumers (S13). The leader's work.

A worker is looked at as a whole whenever something of it changed, and what is to be done follows from what is there:
its unit, its pods, its consumer, and what the ledger says it has outstanding. So whoever leads next goes on from there.

The unit is gone: its consumer is paused, what is outstanding is dispatched to others, then the consumer is deleted.
The unit stays, its sidecar is lost: the consumer is paused, and made anew behind what was dispatched before; the unit's
next sidecar begins there, and what was dispatched before goes to whoever has room, be it that sidecar. The same is done
when a framework is unhealthy for long and its sidecar has nothing in hand.
The next sidecar has registered first: only what the one before had is moved. The consumer would deliver that once more
after the ack wait, so the next one is told that it is not to run it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from sidecar.queue import Queue, QueueError
from sidecar.subjects import dispatch_token, sidecar_consumer
from simulator.activator.fates import Fail
from simulator.activator.fleet import Condition, Worker
from simulator.activator.held import Held, HeldInvocations
from simulator.activator.moved_away import MovedAway, MovedDispatch
from simulator.activator.orphans import Orphans
from simulator.activator.reaping import BEGIN_WAIT_S, UNHEALTHY_WAIT_S, is_stuck, was_formers
from simulator.activator.roster import Roster
from simulator.jetstream.consumers import (
    ConsumerState,
    consumer_names,
    consumer_state,
    pause_consumer,
    resume_consumer,
)
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.ledger.follower import LedgerFollower
from simulator.ledger.ledger import OpenInvocation, Phase
from simulator.worker_consumer import make_worker_consumer

CONSUMER_PREFIX: Final = sidecar_consumer("")[: -len(dispatch_token(""))]
CATCH_UP_S: Final = 10.0
LIST_RETRY_S: Final = 1.0
WORKERS: Final = 4
"""Lost workers looked at side by side."""

log = structlog.get_logger(__name__)


class Reaper:
    """Looks after lost workers.

    `answer` gives an invocation that was given out a failed result, `arrived` hears of each orphan that waits,
    `is_leader` says whether this activator still leads, `events_read` how far in the stream the roster heard the
    workers' events, and `hear_events` waits until it heard all that were stored before.
    """

    def __init__(
        self,
        queue: Queue,
        follower: LedgerFollower,
        roster: Roster,
        held: HeldInvocations,
        concurrency: int,
        *,
        answer: Callable[[Held, Fail], None],
        arrived: Callable[[Held], None],
        is_leader: Callable[[], bool],
        events_read: Callable[[], int],
        hear_events: Callable[[float], Awaitable[None]],
    ) -> None:
        self._queue = queue
        self._follower = follower
        self._ledger = follower.ledger
        self._roster = roster
        self._concurrency = concurrency
        self._is_leader = is_leader
        self._events_read = events_read
        self._hear_events = hear_events
        self._work: WorkQueue[str] = WorkQueue()
        self._orphans = Orphans(
            queue, follower.ledger, roster, held, answer=answer, arrived=arrived, is_leader=is_leader
        )
        self._returned: set[str] = set()
        self._moved = MovedAway(queue, self._ledger)
        self._recalled: set[str] = set()
        """Workers of which is known what an earlier leader moved away."""

    def look_at(self, worker: str) -> None:
        """Have a worker looked at: it may be lost. Whoever leads later looks at all."""
        if self._is_leader():
            self._work.add(worker)

    async def look_again(self) -> None:
        """Look at the workers that came back, and at those with work whose framework is unhealthy for long."""
        latest, records = time.time() - UNHEALTHY_WAIT_S, self._roster.records()
        names, self._returned = self._returned, set()
        for _, name in self._ledger.busy_workers():
            record = records.get(name)
            if record is not None and record.unhealthy_since is not None and record.unhealthy_since <= latest:
                names.add(name)
        for name in names:
            self.look_at(name)

    def ledger_changed(self, invocation_id: str) -> None:
        """An orphan was dispatched anew, or ended: its former worker may be done with. Or somebody came too late."""
        known = self._ledger.open(invocation_id)
        if invocation_id in self._orphans:
            orphan = self._orphans.concluded(invocation_id)
            if orphan is not None:
                self._moved.add(orphan.worker, MovedDispatch(invocation_id, orphan.dispatch_sequence, orphan.attempt))
                self._work.add(orphan.worker)
        elif known is not None and known.phase is Phase.DISPATCHED and self._roster.will_not_do(known.worker):
            self.look_at(known.worker)

    def waiting(self, pool: str) -> int:
        """How many orphans of a pool wait for a worker."""
        return self._orphans.waiting(pool)

    async def run(self) -> None:
        """Look after lost workers until cancelled."""
        try:
            await self._look_at_all()
            await run_controller(self._work, self._reap, name="lost workers", workers=WORKERS)
        finally:
            self._orphans.let_go_all()
            self._moved.clear()
            self._recalled.clear()

    async def _look_at_all(self) -> None:
        """Whoever led before may have left something half done."""
        for name in await self._consumer_names():
            if name.startswith(CONSUMER_PREFIX):
                self._work.add(name.removeprefix(CONSUMER_PREFIX))
        for _, worker in self._ledger.busy_workers():
            self._work.add(worker)

    async def _consumer_names(self) -> list[str]:
        while True:
            try:
                return await consumer_names(self._queue)
            except QueueError as error:
                log.warning("cannot list the workers' consumers, trying again", error=str(error))
                await asyncio.sleep(LIST_RETRY_S)

    async def _reap(self, name: str) -> None:
        try:
            await self._look(name)
        except (QueueError, TimeoutError) as error:
            raise ConnectionError(f"the queue did not do it: {error}") from error  # the controller tries again

    async def _look(self, name: str) -> None:
        state, worker = await consumer_state(self._queue, sidecar_consumer(name)), self._roster.worker(name)
        pool = self._pool_of(state)
        serves = worker is not None and worker.condition not in (Condition.LEAVING, Condition.TEMPLATE)
        if worker is not None and serves and pool in ("", worker.pool):
            await self._revive(worker, state)
        elif self._roster.has_pod(name) and not (worker is not None and worker.lost):
            return  # it drains; its end brings it back here
        elif state is not None:
            await self._remove(name, pool, state)
        else:
            self._forget(name)
            for each, busy in self._ledger.busy_workers():
                if busy == name:
                    await self._orphans.move(name, each, self._outstanding(each, name), delivered=0)

    def _pool_of(self, state: ConsumerState | None) -> str:
        """The pool whose dispatches a consumer takes."""
        return state.filter_subject.split(".")[-2] if state and state.filter_subject.count(".") > 1 else ""

    async def _remove(self, name: str, pool: str, state: ConsumerState) -> None:
        """Move what a worker that is gone has left, then delete its consumer."""
        durable = sidecar_consumer(name)
        if not state.paused:
            await pause_consumer(self._queue, durable)
        await self._catch_up()
        left = self._outstanding(pool, name)
        if left:
            now = await consumer_state(self._queue, durable)
            await self._orphans.move(name, pool, left, delivered=now.delivered if now else 0)
            return  # looked at again when one of them has moved
        await self._queue.delete_consumer(durable)
        self._forget(name)
        log.info("consumer of a worker that is gone deleted", worker=name, pool=pool)

    async def _revive(self, worker: Worker, state: ConsumerState | None) -> None:
        """Move what a worker has left whose unit is still there, so that its next sidecar begins anew."""
        name, pool = worker.name, worker.pool
        if worker.condition is Condition.STARTING and self._roster.is_draining(name):
            return  # a former unit's sidecar; its end brings it back here
        if _is_lost(worker):
            if self._outstanding(pool, name) or (_is_in_use(state) if state is not None else worker.lost):
                await self._renew(name, pool)
        elif state is not None:
            if state.paused:
                await resume_consumer(self._queue, sidecar_consumer(name))
            if self._is_stuck(worker, state):
                await self._renew(name, pool)
            else:
                await self._tell(name, pool, state)
                await self._take_from_former(name, pool)
        if state is not None:
            stranded = [each for each in self._outstanding(pool, name) if each.dispatch_sequence < state.start]
            await self._orphans.move(name, pool, stranded, delivered=state.start)

    def _is_stuck(self, worker: Worker, state: ConsumerState) -> bool:
        """Whether what a worker was given and nobody began is to be moved, though its sidecar lives."""
        record = self._roster.records().get(worker.name)
        if record is None or self._roster.is_draining(worker.name):
            return False
        reached = max(state.delivered, state.start - 1)
        undelivered = any(each.dispatch_sequence > reached for each in self._outstanding(worker.pool, worker.name))
        return is_stuck(record.unhealthy_since, undelivered=undelivered, in_hand=state.ack_pending, now=time.time())

    async def _take_from_former(self, name: str, pool: str) -> None:
        """Move what the sidecar before a worker's present one had, which ended without a word."""
        record = self._roster.records().get(name)
        if record is None or not record.took_over or not self._outstanding(pool, name):
            return
        await self._catch_up()
        state, record = await consumer_state(self._queue, sidecar_consumer(name)), self._roster.records().get(name)
        if state is None or record is None or not record.took_over or record.registered_at is None:
            return
        left_s, given = record.registered_at + BEGIN_WAIT_S - time.time(), self._outstanding(pool, name)
        left, in_doubt = (
            [each for each in given if was_formers(each, start=state.start, delivered=state.delivered, settled=settled)]
            for settled in (left_s <= 0, True)
        )
        if len(left) < len(in_doubt):
            self._work.add_after(name, left_s + 0.01)
        await self._orphans.move(name, pool, left, delivered=state.delivered)

    async def _tell(self, name: str, pool: str, state: ConsumerState) -> None:
        """Tell a worker's sidecar what is not its any more, be it that an earlier leader moved it."""
        if name not in self._recalled:
            await self._moved.recall(name, pool, state)
            self._recalled.add(name)
        await self._moved.tell(name, pool, state)

    def _forget(self, name: str) -> None:
        self._moved.forget(name)
        self._recalled.discard(name)

    async def _renew(self, name: str, pool: str) -> None:
        """Put a new consumer in place of one whose dispatches are moved, and move what was dispatched before."""
        durable = sidecar_consumer(name)
        await pause_consumer(self._queue, durable)
        await self._catch_up()
        worker = self._roster.worker(name)
        if worker is None or worker.pool != pool:
            return  # which brings it back here
        state = await consumer_state(self._queue, durable)
        is_done = _is_lost(worker) or (state is not None and self._is_stuck(worker, state))
        if not is_done or self._ledger.registered(pool, name) > self._events_read():
            log.info("a worker came back before its dispatches were moved", worker=name)
            await resume_consumer(self._queue, durable)
            self._returned.add(name)
            return
        await self._queue.delete_consumer(durable)
        start = await make_worker_consumer(self._queue, pool, name, self._concurrency)
        await self._catch_up()
        left = [each for each in self._outstanding(pool, name) if each.dispatch_sequence < start]
        log.info("consumer of a worker made anew", worker=name, pool=pool, outstanding=len(left))
        await self._orphans.move(name, pool, left, delivered=state.delivered if state else start)

    async def _catch_up(self) -> None:
        """Know of everything that was stored before now, the workers' events too. Raises QueueError, TimeoutError."""
        await self._follower.catch_up(CATCH_UP_S)
        await self._hear_events(CATCH_UP_S)
        if not self._is_leader():
            raise TimeoutError("another activator leads")

    def _outstanding(self, pool: str, name: str) -> list[OpenInvocation]:
        known = (self._ledger.open(each) for each in self._ledger.outstanding(pool, name))
        return [each for each in known if each is not None]


def _is_in_use(state: ConsumerState) -> bool:
    return bool(state.paused or state.pending or state.ack_pending)


def _is_lost(worker: Worker) -> bool:
    """Whether what a worker has outstanding is to be moved; one that never served has it from a former one."""
    return worker.lost or worker.condition is Condition.STARTING
