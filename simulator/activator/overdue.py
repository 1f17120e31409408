"""The last resort: decides what neither a worker nor another activator decided in time (S7, S13). The leader's work.

Nobody else watches an invocation whose worker lives, but never takes it, or never ends it. So its budget is read from
its dispatch, once it is outstanding for a while; when that and a grace are over it gets its result here, and its worker
is told to end it. What the stream no longer holds has no other end either: it is decided in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from sidecar.cancellation import CancelMessage
from sidecar.messages import FailureClass, MalformedMessageError, WorkerDispatchMessage, decode, encode, utc_now
from sidecar.queue import Queue
from simulator.activator.fates import Fail
from simulator.activator.held import Held, HeldInvocations
from simulator.activator.orphans import bare, read_back
from simulator.jetstream.stored import first_sequence, stored_message
from simulator.ledger.follower import LedgerFollower
from simulator.ledger.ledger import OpenInvocation, Phase

ROUNDS_TO_READ: Final = 3
"""An invocation that is outstanding in so many rounds has its budget read; most have ended before."""
READS_A_ROUND: Final = 32
ROUNDS_TO_COMPARE: Final = 15
"""In each so many-th round the ledger is compared with what the stream still holds."""
CATCH_UP_S: Final = 10.0
GONE: Final = "the stream no longer holds it"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """When an invocation is decided here, and why."""

    at: datetime
    reason: str


NEVER: Final = Due(datetime.max.replace(tzinfo=UTC), "it has no budget")


def due(dispatch: WorkerDispatchMessage, stored_at: datetime, grace_s: float) -> Due:
    """When an invocation must have its result, `grace_s` seconds after its budget.

    The budget counts as it does for the sidecar: since the invocation was queued, or else dispatched; or else stored.
    """
    if dispatch.timeout_seconds <= 0:
        return NEVER
    since = next(each for each in (dispatch.enqueued_at, dispatch.dispatched_at, stored_at) if each.year > 1)
    try:
        at = since + timedelta(seconds=dispatch.timeout_seconds + grace_s)
    except OverflowError:  # no calendar has that day
        return NEVER
    return Due(at, f"its {dispatch.timeout_seconds} s are over, and {grace_s:g} s of grace")


def out_of_time(phase: Phase, reason: str) -> Fail:
    """The failure of an invocation whose time is over, by whether its worker said that it began."""
    if phase is Phase.RUNNING:
        return Fail(504, FailureClass.FRAMEWORK_TIMEOUT, f"its worker began it and gave no result: {reason}")
    return Fail(504, FailureClass.ACTIVATION_TIMEOUT, f"no worker began it: {reason}")


class Overdue:
    """Decides what is overdue. `answer` gives an invocation that was given out a failed result."""

    def __init__(
        self,
        queue: Queue,
        follower: LedgerFollower,
        held: HeldInvocations,
        grace_s: float,
        *,
        answer: Callable[[Held, Fail], None],
        is_leader: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._follower = follower
        self._ledger = follower.ledger
        self._held = held
        self._grace_s = grace_s
        self._answer = answer
        self._is_leader = is_leader
        self._rounds = 0
        self._seen: dict[int, int] = {}
        self._due: dict[int, Due] = {}
        self._decided: dict[str, tuple[str, str]] = {}

    async def look(self) -> None:
        """Look at all that is open, once.

        Raises:
            QueueError: the server refuses or does not answer.
            TimeoutError: the ledger does not get to the present.
        """
        self._rounds += 1
        await self._tell_workers()
        late = [(each, GONE) for each in await self._gone()] if self._rounds % ROUNDS_TO_COMPARE == 0 else []
        late += await self._late()
        if not late:
            return
        await self._follower.catch_up(CATCH_UP_S)
        for each, reason in late:
            known = self._ledger.open(each.invocation_id)
            if known is not None and known.dispatch_sequence == each.dispatch_sequence and self._is_leader():
                await self._decide(known, reason)

    async def _gone(self) -> list[OpenInvocation]:
        """What is open, and in the stream no longer: too old, or more than it may hold."""
        first, gone = await first_sequence(self._queue), []
        for each in self._ledger.all_open():
            if each.sequence >= first:
                break
            if each.dispatch_sequence < first:
                gone.append(each)
        return gone

    async def _late(self) -> list[tuple[OpenInvocation, str]]:
        """What workers were given and should have ended."""
        ledger = self._ledger
        ids = [each for place in ledger.busy_workers() for each in ledger.outstanding(*place)]
        given = {known.dispatch_sequence: known for each in ids if (known := ledger.open(each)) is not None}
        self._seen = {sequence: self._seen.get(sequence, 0) + 1 for sequence in given}
        self._due = {sequence: due for sequence, due in self._due.items() if sequence in given}
        unread = [each for each, rounds in self._seen.items() if rounds >= ROUNDS_TO_READ and each not in self._due]
        for sequence in unread[:READS_A_ROUND]:
            self._due[sequence] = await self._read(sequence)
        now = utc_now()
        return [(given[sequence], due.reason) for sequence, due in self._due.items() if due.at <= now]

    async def _read(self, sequence: int) -> Due:
        stored = await stored_message(self._queue, sequence=sequence)
        if stored is None:
            return Due(utc_now(), GONE)
        try:
            return due(decode(stored.data, WorkerDispatchMessage), stored.time, self._grace_s)
        except MalformedMessageError:
            return NEVER  # its worker dead-letters it

    async def _decide(self, known: OpenInvocation, reason: str) -> None:
        """Give an invocation its result, unless it is in somebody's hands here, who looks at the time as well."""
        invocation_id = known.invocation_id
        held = self._held.get(invocation_id)
        if held is None:
            if known.phase is Phase.QUEUED:
                held = bare(known, self._is_leader)
            else:
                held, _ = await read_back(self._queue, known, self._is_leader)
                if self._ledger.open(invocation_id) != known or self._held.get(invocation_id) is not None:
                    return  # looked at again in the next round
            self._held.add(held)
        elif reason != GONE or self._held.line(known.pool).get(invocation_id) is not held:
            return
        self._held.take(held)
        log.warning("overdue, decided", invocationID=invocation_id, pool=known.pool, worker=known.worker, reason=reason)
        self._answer(held, out_of_time(known.phase, reason))
        if known.worker:
            self._decided[invocation_id] = known.pool, known.worker

    async def _tell_workers(self) -> None:
        """Have the workers drop what was decided; not before the decision is stored, or theirs might come first."""
        for invocation_id, (pool, worker) in list(self._decided.items()):
            if self._ledger.ended(invocation_id) is not None:
                message = encode(CancelMessage(invocation_id=invocation_id))
                await self._queue.send(self._queue.subjects.cancel(pool, worker), message)
            if self._ledger.open(invocation_id) is None:
                del self._decided[invocation_id]
