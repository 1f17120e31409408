"""Gives held invocations to workers, or answers them: asks the pure decisions about one pool at a time (contract 9.2).

A pool is looked at when something of it changed, on its own: no pool waits for another (A2), and no invocation has a
task while it waits.
"""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count, islice
from typing import Final

import structlog
from msgspec.structs import replace

from sidecar.messages import FailureClass, utc_now
from sidecar.queue import QueueError
from sidecar.subjects import dispatch_token
from simulator.activator.answers import Answers
from simulator.activator.assignment import Waiting, assign
from simulator.activator.begin import begin
from simulator.activator.dispatcher import Dispatcher
from simulator.activator.fates import Fail, Keep, expires_at, fate
from simulator.activator.fleet import Condition, Worker
from simulator.activator.held import Held, HeldInvocations, is_settled
from simulator.activator.roster import Roster
from simulator.ledger.ledger import Ledger

UNKNOWN_POOL_GRACE_S: Final = 0.5
"""How long an invocation whose pool has no unit waits for one: the cluster's word may come after the queue's."""
GIVEN_OUT_S: Final = 1.0
"""An invocation that was given out when its time was over is looked at again after so long: it may wait again."""
IDLE_TIMERS: Final = 1_000
"""So many timers of invocations that are not held any more, and as many as are held, may be kept."""

log = structlog.get_logger(__name__)


class Router:
    """Routes what `held` holds. `gave_up` tells why a pool cannot start, and up to which place in the stream."""

    def __init__(
        self,
        ledger: Ledger,
        roster: Roster,
        held: HeldInvocations,
        answers: Answers,
        gave_up: Callable[[str], tuple[str, int]],
    ) -> None:
        self._ledger = ledger
        self._roster = roster
        self._held = held
        self._answers = answers
        self._gave_up = gave_up
        self._clock = asyncio.get_running_loop().time
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._deadlines: list[tuple[float, int, Held]] = []
        self._ties = count()
        self._moved: dict[str, Held] = {}
        self.on_arrival: Callable[[Held], None] = _nobody
        """Called with each newly held invocation, when it may be taken back."""

    def look_at(self, pool: str) -> None:
        """Have a pool looked at: something of it changed."""
        self._dirty[pool] = None
        self._wake.set()

    def arrived(self, held: Held) -> None:
        """Have a newly held invocation looked at, now and when its time is over."""
        if held.attempt > 1:
            self._moved[held.invocation_id] = held
        self._watch(held)
        self.look_at(held.pool)
        self.on_arrival(held)

    def ledger_changed(self, invocation_id: str) -> None:
        """Something happened to an invocation: it may be nobody's here any more, and where it was there may be room."""
        held = self._held.get(invocation_id)
        if held is not None and self._waits(held) and is_settled(held, self._ledger):
            self._look_in(0, held)
        ended = self._ledger.ended(invocation_id)
        if ended is not None:
            if self._held.line(ended.pool):
                self.look_at(ended.pool)
        elif self._ledger.open(invocation_id) is None:  # it was dead-lettered; nothing tells of its pool any more
            for pool in self._held.pools():
                self.look_at(pool)

    async def run(self, dispatcher: Dispatcher, tasks: asyncio.TaskGroup) -> None:
        """Route until cancelled; `tasks` owns answers and second attempts."""
        while True:
            await self._woken(tasks)
            dirty, self._dirty = self._dirty, {}
            self._moved = {each: held for each, held in self._moved.items() if self._held.has(held)}
            for pool in dirty:
                self._route(pool, dispatcher, tasks)

    async def _woken(self, tasks: asyncio.TaskGroup) -> None:
        """Return when a pool has to be looked at; meanwhile answer those whose time is over."""
        while not self._dirty:
            self._wake.clear()
            timer = None
            if self._deadlines:
                timer = asyncio.get_running_loop().call_at(self._deadlines[0][0], self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()
            now = self._clock()
            while self._deadlines and self._deadlines[0][0] <= now:
                held = heapq.heappop(self._deadlines)[2]
                if not self._waits(held):
                    if self._held.has(held):
                        self._look_in(GIVEN_OUT_S, held)
                elif self._goes_on(held, tasks):
                    self._watch(held)

    def _watch(self, held: Held) -> None:
        """Have an invocation looked at when its time is over, or its pool's to appear."""
        times = []
        deadline = expires_at(held.invocation)
        if deadline is not None:
            times.append((deadline - utc_now()).total_seconds())
        if not self._roster.has_units(held.pool):
            times.append(held.held_since + UNKNOWN_POOL_GRACE_S - self._clock())
        if times:
            self._look_in(min(times), held)

    def _look_in(self, delay_s: float, held: Held) -> None:
        if len(self._deadlines) > 2 * self._held.count + IDLE_TIMERS:
            self._deadlines = [timer for timer in self._deadlines if self._held.has(timer[2])]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (self._clock() + max(delay_s, 0) + 0.001, next(self._ties), held))
        self._wake.set()

    def _waits(self, held: Held) -> bool:
        return self._held.line(held.pool).get(held.invocation_id) is held

    def _route(self, pool: str, dispatcher: Dispatcher, tasks: asyncio.TaskGroup) -> None:
        given_up, _ = self._gave_up(pool)
        if given_up or not self._roster.has_units(pool):
            for held in list(self._held.line(pool)):
                self._goes_on(held, tasks)
        if not self._held.line(pool):
            return
        workers = self._open_workers(pool, dispatcher)
        room = sum(worker.capacity - worker.outstanding for worker in workers)
        oldest = list(islice(self._held.line(pool), room))
        first = [held for held in oldest if self._goes_on(held, tasks)]
        if len(first) < len(oldest):
            self.look_at(pool)  # there may be room for others
        by_id = {held.invocation_id: held for held in first}
        for assignment in assign([Waiting(held.invocation_id, held.sequence) for held in first], workers):
            held = by_id[assignment.invocation_id]
            self._held.take(held)
            dispatcher.dispatch(held, assignment, tasks)

    def _open_workers(self, pool: str, dispatcher: Dispatcher) -> list[Worker]:
        """The live workers of a pool with room, each with what is on its way to it."""
        workers = []
        for worker in self._roster.workers(pool):
            under_way = dispatcher.under_way(pool, worker.name)
            outstanding = worker.outstanding - self._orphans_of(worker) + under_way
            if worker.condition is not Condition.LIVE or outstanding >= worker.capacity:
                continue
            if dispatcher.is_alone():
                workers.append(replace(worker, outstanding=outstanding))
            elif not under_way:  # each dispatch follows the one before it: one at a time
                workers.append(replace(worker, outstanding=outstanding, capacity=outstanding + 1))
        return workers

    def _orphans_of(self, worker: Worker) -> int:
        """How much of what a worker has outstanding is not its own any more, but held here, to be dispatched anew."""
        if not self._moved or not worker.outstanding:
            return 0
        given = self._ledger.outstanding(worker.pool, dispatch_token(worker.name))
        moved = (held for each, held in self._moved.items() if each in given and self._held.has(held))
        return sum(not is_settled(held, self._ledger) for held in moved)

    def _goes_on(self, held: Held, tasks: asyncio.TaskGroup) -> bool:
        """Whether a waiting invocation is still to be dispatched; if not, it is answered, or somebody else's."""
        if not self._held.is_fresh(held):
            self._held.drop(held)
            return False
        if is_settled(held, self._ledger):
            self._held.take(held)
            self._held.settle(held)
            return False
        reason, until = self._gave_up(held.pool)
        patient = self._clock() < held.held_since + UNKNOWN_POOL_GRACE_S
        decision = fate(
            held.invocation,
            has_units=patient or self._roster.has_units(held.pool),
            given_up=reason if held.sequence <= until else "",
            now=utc_now(),
        )
        if isinstance(decision, Keep):
            return True
        self._held.take(held)
        self.answer(held, decision, tasks)
        return False

    def cancel(self, invocation_id: str, pool: str, tasks: asyncio.TaskGroup) -> bool:
        """Take an invocation back that waits here; False where it does not."""
        held = self._held.line(pool).get(invocation_id)
        if held is None:
            return False
        self._held.take(held)
        self.answer(held, Fail(499, FailureClass.CANCELLED, "cancelled before it was dispatched"), tasks)
        return True

    def answer(self, held: Held, failure: Fail, tasks: asyncio.TaskGroup) -> None:
        """Give an invocation that was given out a failed result; `tasks` owns the work."""
        begin(self._answered(held, failure), tasks)

    async def _answered(self, held: Held, failure: Fail) -> None:
        try:
            await self._answers.fail(held.invocation, failure)
        except QueueError as error:
            log.warning("invocation not answered, it will be delivered again", error=str(error))
            self._held.drop(held)
        else:
            self._held.settle(held)


def _nobody(_: Held) -> None:
    """Nobody listens."""
