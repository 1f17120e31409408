"""Moves the dispatches of lost workers, then removes what is left of the workers' consumers (S13). The leader's work.

A worker is looked at as a whole whenever something of it changed, and what is to be done follows from what is there:
its unit, its pods, its consumer, and what the ledger says it has outstanding. So whoever leads next goes on from there.

The unit is gone: its consumer is paused, what is outstanding is dispatched to others, then the consumer is deleted.
The unit stays, its sidecar is lost: the consumer is paused, and made anew behind what was dispatched before; the unit's
next sidecar begins there, and what was dispatched before goes to whoever has room, be it that sidecar. When the next
sidecar has registered first, nothing is moved, since it may run already: then the ack wait decides.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from sidecar.messages import utc_now
from sidecar.queue import Queue, QueueError
from sidecar.subjects import dispatch_token, sidecar_consumer
from simulator.activator.fates import Fail, expired
from simulator.activator.fleet import Condition, Worker
from simulator.activator.held import Held, HeldInvocations
from simulator.activator.orphans import read_back
from simulator.activator.reaping import Move, Orphan, Skip, judge
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


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An orphan under way: whose it was, which dispatch, and what is held of it."""

    pool: str
    worker: str
    dispatch_sequence: int
    held: Held


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
        self._held = held
        self._concurrency = concurrency
        self._answer = answer
        self._arrived = arrived
        self._is_leader = is_leader
        self._events_read = events_read
        self._hear_events = hear_events
        self._work: WorkQueue[str] = WorkQueue()
        self._orphans: dict[str, _Waiting] = {}

    def look_at(self, worker: str) -> None:
        """Have a worker looked at: it may be lost. Whoever leads later looks at all."""
        if self._is_leader():
            self._work.add(worker)

    def ledger_changed(self, invocation_id: str) -> None:
        """An orphan was dispatched anew, or ended: its former worker may be done with. Or somebody came too late."""
        known, orphan = self._ledger.open(invocation_id), self._orphans.get(invocation_id)
        if orphan is not None:
            if known is None or known.dispatch_sequence != orphan.dispatch_sequence:
                self._let_go(invocation_id)
                self._work.add(orphan.worker)
        elif known is not None and known.phase is Phase.DISPATCHED and self._roster.will_not_do(known.worker):
            self.look_at(known.worker)

    def waiting(self, pool: str) -> int:
        """How many orphans of a pool wait for a worker."""
        line = self._held.line(pool)
        return sum(line.get(each) is orphan.held for each, orphan in self._orphans.items())

    async def run(self) -> None:
        """Look after lost workers until cancelled."""
        try:
            await self._look_at_all()
            await run_controller(self._work, self._reap, name="lost workers", workers=WORKERS)
        finally:
            for invocation_id in list(self._orphans):
                self._let_go(invocation_id)

    def _let_go(self, invocation_id: str) -> None:
        """An orphan waits here no longer."""
        orphan = self._orphans.pop(invocation_id)
        if self._held.line(orphan.pool).get(invocation_id) is orphan.held:
            self._held.drop(orphan.held)

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
            for each, busy in self._ledger.busy_workers():
                if busy == name:
                    await self._move(name, each, self._outstanding(each, name), delivered=0)

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
            await self._move(name, pool, left, delivered=now.delivered if now else 0)
            return  # looked at again when one of them has moved
        await self._queue.delete_consumer(durable)
        log.info("consumer of a worker that is gone deleted", worker=name, pool=pool)

    async def _revive(self, worker: Worker, state: ConsumerState | None) -> None:
        """Move what a worker has left whose unit is still there, so that its next sidecar begins anew."""
        name, pool = worker.name, worker.pool
        if worker.condition is Condition.STARTING and self._roster.is_draining(name):
            return  # a former unit's sidecar; its end brings it back here
        if not _is_lost(worker):
            if state is not None and state.paused:
                await resume_consumer(self._queue, sidecar_consumer(name))
        elif self._outstanding(pool, name) or (_is_in_use(state) if state is not None else worker.lost):
            await self._renew(name, pool)
        if state is not None:
            stranded = [each for each in self._outstanding(pool, name) if each.dispatch_sequence < state.start]
            await self._move(name, pool, stranded, delivered=state.start)

    async def _renew(self, name: str, pool: str) -> None:
        """Put a new consumer in place of a lost sidecar's, and move what was dispatched before."""
        durable = sidecar_consumer(name)
        await pause_consumer(self._queue, durable)
        await self._catch_up()
        worker = self._roster.worker(name)
        if worker is None or worker.pool != pool:
            return  # which brings it back here
        if not _is_lost(worker) or self._ledger.registered(pool, name) > self._events_read():
            log.info("a worker came back before its dispatches were moved", worker=name)
            await resume_consumer(self._queue, durable)
            return
        state = await consumer_state(self._queue, durable)
        await self._queue.delete_consumer(durable)
        start = await make_worker_consumer(self._queue, pool, name, self._concurrency)
        await self._catch_up()
        left = [each for each in self._outstanding(pool, name) if each.dispatch_sequence < start]
        log.info("consumer of a lost worker made anew", worker=name, pool=pool, outstanding=len(left))
        await self._move(name, pool, left, delivered=state.delivered if state else start)

    async def _catch_up(self) -> None:
        """Know of everything that was stored before now, the workers' events too. Raises QueueError, TimeoutError."""
        await self._follower.catch_up(CATCH_UP_S)
        await self._hear_events(CATCH_UP_S)
        if not self._is_leader():
            raise TimeoutError("another activator leads")

    def _outstanding(self, pool: str, name: str) -> list[OpenInvocation]:
        known = (self._ledger.open(each) for each in self._ledger.outstanding(pool, name))
        return [each for each in known if each is not None]

    async def _move(self, name: str, pool: str, left: list[OpenInvocation], *, delivered: int) -> None:
        """Judge each dispatch; `delivered` is up to where in the stream the sidecar may have had them."""
        for each in left:
            if self._held.get(each.invocation_id) is not None:
                continue
            held, problem = await read_back(self._queue, each, self._is_leader)
            orphan = Orphan(
                invocation_id=each.invocation_id,
                sequence=each.sequence,
                delivered=each.dispatch_sequence <= delivered,
                started=each.phase is Phase.RUNNING,
                attempt=each.attempt,
                runs=each.runs,
                expired=expired(held.invocation, utc_now()),
            )
            finished = () if self._ledger.ended(each.invocation_id) is None else (each.invocation_id,)
            verdict = judge(orphan, finished, self._roster.said_goodbye(name), self._roster.policy(pool))
            if isinstance(verdict, Skip):
                continue
            self._orphans[each.invocation_id] = _Waiting(pool, name, each.dispatch_sequence, held)
            self._held.add(held)
            failure = verdict if isinstance(verdict, Fail) else problem
            if failure is not None:
                self._held.take(held)
                self._answer(held, failure)
            elif isinstance(verdict, Move):
                held.attempt, held.runs = verdict.attempt, verdict.runs
                log.info("dispatch is moved", invocationID=each.invocation_id, worker=name, attempt=held.attempt)
                self._arrived(held)


def _is_in_use(state: ConsumerState) -> bool:
    return bool(state.paused or state.pending or state.ack_pending)


def _is_lost(worker: Worker) -> bool:
    """Whether what a worker has outstanding is to be moved; one that never served has it from a former one."""
    return worker.lost or worker.condition is Condition.STARTING
