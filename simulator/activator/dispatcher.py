"""Writes dispatches, and finds out what became of each (contract 3.5; A9, A10).

Most are stored at once: then the invocation is acknowledged. Where nobody knows, the ledger is brought up to the
present; only a dispatch that is not in the stream is made again, and to the same worker as long as that lives.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from sidecar.messages import FailureClass, InvocationMessage, State, WorkerDispatchMessage, encode, utc_now
from sidecar.queue import (
    MessageTooLargeError,
    Queue,
    QueueError,
    QueueUnavailableError,
    WrongSequenceError,
    published,
)
from sidecar.stored import ATTEMPT_HEADER, EXPECTED_HEADER, ONCE_HEADER, RUNS_HEADER
from sidecar.subjects import dispatch_message_id, dispatch_token
from simulator.activator.assignment import Assignment
from simulator.activator.begin import begin
from simulator.activator.fates import Fail
from simulator.activator.held import Held, HeldInvocations, is_settled
from simulator.jetstream.stored import stored_message
from simulator.ledger.follower import LedgerFollower

MAX_REFUSALS: Final = 5
"""After so many refusals of its dispatch an invocation gets a failed result (contract 2.5, A9)."""
RETRY_DELAYS_S: Final = (0.1, 1.0, 2.0, 10.0)
"""Delay before each further attempt; the last one repeats (contract 2.5)."""
CATCH_UP_S: Final = 10.0

log = structlog.get_logger(__name__)

Place = tuple[str, str]
"""Pool, and worker as in subjects."""


class Dispatcher:
    """Dispatches what the router gave out. `concluded` is called with a pool where a worker may have room again.

    With `is_alone` false, a dispatch is stored only if it is the next one on its worker's subject: two activators
    never fill one place twice.
    """

    def __init__(
        self,
        queue: Queue,
        follower: LedgerFollower,
        held: HeldInvocations,
        is_live: Callable[[str], bool],
        is_alone: Callable[[], bool],
        fail: Callable[[Held, Fail], None],
        concluded: Callable[[str], None],
        must_not_run_again: Callable[[str], bool] = lambda _pool: False,
    ) -> None:
        self._queue = queue
        self._follower = follower
        self._ledger = follower.ledger
        self._held = held
        self._is_live = is_live
        self.is_alone = is_alone
        self._fail = fail
        self._concluded = concluded
        self._must_not_run_again = must_not_run_again
        self._log = log.bind()  # a log that is not bound is looked up at each call
        self._under_way: dict[Place, dict[str, None]] = {}
        self._dispatched: dict[str, tuple[Place, int]] = {}
        self._doubted: set[Place] = set()
        """Places whose last dispatch the ledger names, but the stream may have no longer."""

    def under_way(self, pool: str, worker: str) -> int:
        """How many dispatches to a worker were written that the ledger does not know of yet."""
        return len(self._under_way.get((pool, dispatch_token(worker)), ()))

    def ledger_changed(self, invocation_id: str) -> None:
        """The ledger may know of the invocation's dispatch now, and count it."""
        if invocation_id not in self._dispatched:
            return
        place, attempt = self._dispatched[invocation_id]
        known = self._ledger.open(invocation_id)
        if known is None or known.attempt > attempt or (known.attempt, known.pool, known.worker) == (attempt, *place):
            self._counted(invocation_id, place[0])

    def _counted(self, invocation_id: str, pool: str) -> None:
        """The ledger counts a dispatch now."""
        self._release(invocation_id)
        if not self.is_alone():
            self._concluded(pool)  # the next dispatch to this worker waits for this one

    def _release(self, invocation_id: str) -> None:
        if invocation_id not in self._dispatched:
            return
        place, _ = self._dispatched.pop(invocation_id)
        written = self._under_way[place]
        del written[invocation_id]
        if not written:
            del self._under_way[place]

    def dispatch(self, held: Held, to: Assignment, tasks: asyncio.TaskGroup) -> None:
        """Dispatch an invocation that was given out; `tasks` owns what cannot be done at once."""
        self._release(held.invocation_id)
        place = (held.pool, dispatch_token(to.worker_name))
        self._dispatched[held.invocation_id] = place, held.attempt
        self._under_way.setdefault(place, {})[held.invocation_id] = None
        if self.is_alone():
            self._write(held, to, {}, tasks)
        elif (last := self._ledger.last_dispatch(*place)) and place not in self._doubted:
            self._write(held, to, {EXPECTED_HEADER: str(last)}, tasks)
        else:
            tasks.create_task(self._write_first(held, to, self._ledger.position, tasks))

    async def _write_first(self, held: Held, to: Assignment, position: int, tasks: asyncio.TaskGroup) -> None:
        """Dispatch to a worker whose last dispatch is older than the ledger, which was at `position`, or is gone."""
        subject = self._queue.subjects.dispatch(held.pool, to.worker_name)
        try:
            newest = await stored_message(self._queue, last_by_subject=subject)
            last = newest.sequence if newest else 0
            if last > position:
                raise WrongSequenceError("somebody else dispatched to the worker meanwhile")
        except QueueError as error:
            await self._again(held, to, error, tasks)
        else:
            self._write(held, to, {EXPECTED_HEADER: str(last)}, tasks)

    def _write(self, held: Held, to: Assignment, headers: dict[str, str], tasks: asyncio.TaskGroup) -> None:
        message_id = dispatch_message_id(held.invocation_id, to.worker_name, held.attempt)
        headers |= held.trace
        if held.attempt > 1:
            headers |= {ATTEMPT_HEADER: str(held.attempt), RUNS_HEADER: str(held.runs)}
        if self._must_not_run_again(held.pool):
            headers |= {ONCE_HEADER: "1"}
        data = encode(_dispatch_of(held.invocation, to, self._queue))
        subject = self._queue.subjects.dispatch(held.pool, to.worker_name)
        answer = _Answer(self, held, to, tasks)
        try:
            if not self._queue.connected:  # it would be written late, when another activator may have dispatched it
                raise QueueUnavailableError("the connection is lost")
            self._queue.start_publish(subject, data, message_id, headers, answer)
        except QueueError as error:
            answer.set_exception(error)

    def stored(self, held: Held, to: Assignment, sequence: int) -> None:
        """The stream has the dispatch at a sequence."""
        self._doubted.discard((held.pool, dispatch_token(to.worker_name)))
        self._log.info("dispatched", invocationID=held.invocation_id, pool=held.pool, worker=to.worker_name)
        if sequence <= self._ledger.position:
            self._counted(held.invocation_id, held.pool)
        self._held.settle(held)

    def not_stored(self, held: Held, to: Assignment, error: QueueError, tasks: asyncio.TaskGroup) -> None:
        """The dispatch was refused, or nobody knows."""
        begin(self._again(held, to, error, tasks), tasks)

    async def _again(self, held: Held, to: Assignment, error: QueueError, tasks: asyncio.TaskGroup) -> None:
        """Find out what became of a dispatch, and have the invocation answered, repeated or given out anew."""
        unknown, raced = isinstance(error, QueueUnavailableError), isinstance(error, WrongSequenceError)
        if not unknown and not raced:
            held.refusals += 1
            self._come_to_nothing(held)
            if isinstance(error, MessageTooLargeError) or held.refusals >= MAX_REFUSALS:
                self._fail(held, Fail(502, FailureClass.DISPATCH_ERROR, f"cannot be dispatched: {error}"))
                return
        if raced:
            self._doubted.add((held.pool, dispatch_token(to.worker_name)))
            held.races += 1
        else:
            log.warning("dispatch not stored", invocationID=held.invocation_id, error=str(error))
        if not raced or held.races > 1:
            await _pause(held)
        while not await self._is_up_to_date():
            await _pause(held)
        if is_settled(held, self._ledger):
            self._held.settle(held)
        elif not self._held.is_fresh(held):  # another activator may have it
            self._held.drop(held)
        elif unknown and self._is_live(to.worker_name):
            self.dispatch(held, to, tasks)
            return
        else:
            self._held.put_back(held)
        self._come_to_nothing(held)

    def _come_to_nothing(self, held: Held) -> None:
        self._release(held.invocation_id)
        self._concluded(held.pool)

    async def _is_up_to_date(self) -> bool:
        try:
            await self._follower.catch_up(CATCH_UP_S)
        except (QueueError, TimeoutError):
            return False
        return True


class _Answer:
    """Hears what comes of one dispatch."""

    __slots__ = ("_dispatcher", "_held", "_tasks", "_to")

    def __init__(self, dispatcher: Dispatcher, held: Held, to: Assignment, tasks: asyncio.TaskGroup) -> None:
        self._dispatcher = dispatcher
        self._held = held
        self._to = to
        self._tasks = tasks

    def done(self) -> bool:
        return False

    def set_result(self, body: bytes, /) -> None:
        try:
            sequence = published(body).sequence
        except QueueError as error:
            self.set_exception(error)
        else:
            self._dispatcher.stored(self._held, self._to, sequence)

    def set_exception(self, error: QueueError, /) -> None:
        self._dispatcher.not_stored(self._held, self._to, error, self._tasks)


async def _pause(held: Held) -> None:
    held.tries += 1
    await asyncio.sleep(RETRY_DELAYS_S[min(held.tries, len(RETRY_DELAYS_S)) - 1])


def _dispatch_of(invocation: InvocationMessage, to: Assignment, queue: Queue) -> WorkerDispatchMessage:
    pool = invocation.serverless_request_id
    return WorkerDispatchMessage(
        invocation_id=invocation.invocation_id,
        serverless_request_id=pool,
        worker_name=to.worker_name,
        worker_namespace=to.worker_namespace,
        mode=invocation.mode,
        state=State.DISPATCHING,
        content_type=invocation.content_type,
        headers=invocation.headers,
        attributes=invocation.attributes,
        payload=invocation.payload,
        timeout_seconds=invocation.timeout_seconds,
        result_subject=invocation.result_subject or queue.subjects.result(pool),
        metrics_subject=invocation.metrics_subject or queue.subjects.metrics(pool),
        reply_subject=invocation.reply_subject,
        enqueued_at=invocation.enqueued_at,
        dispatched_at=utc_now(),
    )
