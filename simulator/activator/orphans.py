"""The dispatches of lost workers: read back into the invocations that they came from, and held until moved (S13)."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from sidecar.messages import (
    FailureClass,
    InvocationMessage,
    MalformedMessageError,
    WorkerDispatchMessage,
    decode,
    utc_now,
)
from sidecar.queue import Queue
from sidecar.tracing import trace_headers
from simulator.activator.fates import Fail, expired
from simulator.activator.held import Held, HeldInvocations
from simulator.activator.reaping import Move, Orphan, Skip, judge
from simulator.activator.roster import Roster
from simulator.jetstream.stored import stored_message
from simulator.ledger.ledger import Ledger, OpenInvocation, Phase

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Displaced:
    """An orphan under way: which dispatch of which worker it was, the how-manieth, and what is held of it."""

    invocation_id: str
    pool: str
    worker: str
    dispatch_sequence: int
    attempt: int
    held: Held


class Orphans:
    """Has each orphan dispatched anew or answered; parameters as those of the `Reaper`."""

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        roster: Roster,
        held: HeldInvocations,
        *,
        answer: Callable[[Held, Fail], None],
        arrived: Callable[[Held], None],
        is_leader: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._roster = roster
        self._held = held
        self._answer = answer
        self._arrived = arrived
        self._is_leader = is_leader
        self._all: dict[str, Displaced] = {}

    def __contains__(self, invocation_id: str) -> bool:
        return invocation_id in self._all

    def waiting(self, pool: str) -> int:
        """How many of a pool wait for a worker."""
        line = self._held.line(pool)
        return sum(line.get(each) is orphan.held for each, orphan in self._all.items())

    def concluded(self, invocation_id: str) -> Displaced | None:
        """Let go of one that was dispatched anew, or ended, and return it; None where it was not."""
        known, orphan = self._ledger.open(invocation_id), self._all[invocation_id]
        if known is not None and known.dispatch_sequence == orphan.dispatch_sequence:
            return None
        self._let_go(invocation_id)
        return orphan

    def let_go_all(self) -> None:
        """Hold none any more: somebody else leads."""
        for invocation_id in list(self._all):
            self._let_go(invocation_id)

    def _let_go(self, invocation_id: str) -> None:
        orphan = self._all.pop(invocation_id)
        if self._held.line(orphan.pool).get(invocation_id) is orphan.held:
            self._held.drop(orphan.held)

    async def move(self, name: str, pool: str, left: list[OpenInvocation], *, delivered: int) -> None:
        """Judge each dispatch; `delivered` is up to where in the stream the sidecar may have had them.

        Raises:
            QueueError: the server refuses or does not answer.
        """
        for each in left:
            if self._held.get(each.invocation_id) is not None:
                continue
            held, problem = await read_back(self._queue, each, self._is_leader)
            if self._held.get(each.invocation_id) is not None:
                continue  # it is overdue, and decided
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
            displaced = Displaced(each.invocation_id, pool, name, each.dispatch_sequence, each.attempt, held)
            self._all[each.invocation_id] = displaced
            self._held.add(held)
            failure = verdict if isinstance(verdict, Fail) else problem
            if failure is not None:
                self._held.take(held)
                self._answer(held, failure)
            elif isinstance(verdict, Move):
                held.attempt, held.runs = verdict.attempt, verdict.runs
                log.info("dispatch is moved", invocationID=each.invocation_id, worker=name, attempt=held.attempt)
                self._arrived(held)


class _Orphaned:
    """Nothing holds an orphan at the queue: it is there as long as its worker's subject and the ledger say so."""

    def ack_unconfirmed(self) -> None:
        """The ledger will know."""

    async def in_progress(self) -> None:
        """Nobody asks."""

    async def nak(self, delay_s: float = 0) -> None:
        """The next leader finds it."""


async def read_back(queue: Queue, known: OpenInvocation, is_valid: Callable[[], bool]) -> tuple[Held, Fail | None]:
    """Return what is to be held of a dispatch as long as `is_valid` says so, and why it cannot be dispatched again.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    stored = await stored_message(queue, sequence=known.dispatch_sequence)
    if stored is None:
        reason = "its worker was lost, and its dispatch is no longer in the stream"
        return bare(known, is_valid), Fail(502, FailureClass.WORKER_LOST, reason)
    try:
        invocation = _invocation_of(decode(stored.data, WorkerDispatchMessage))
    except MalformedMessageError as error:
        log.warning("a dispatch that cannot be read", sequence=known.dispatch_sequence, error=str(error))
        reason = f"its dispatch cannot be read: {error}"
        return bare(known, is_valid), Fail(502, FailureClass.MALFORMED_MESSAGE, reason)
    trace = trace_headers(invocation.headers, stored.headers)
    return Held(invocation, _Orphaned(), known.sequence, len(stored.data), trace, is_valid=is_valid), None


def bare(known: OpenInvocation, is_valid: Callable[[], bool]) -> Held:
    """What can be held of an invocation of which only the ledger tells: enough for a result, not for a dispatch."""
    invocation = InvocationMessage(invocation_id=known.invocation_id, serverless_request_id=known.pool)
    return Held(invocation, _Orphaned(), known.sequence, 0, is_valid=is_valid)


def _invocation_of(dispatch: WorkerDispatchMessage) -> InvocationMessage:
    return InvocationMessage(
        invocation_id=dispatch.invocation_id,
        serverless_request_id=dispatch.serverless_request_id,
        mode=dispatch.mode,
        content_type=dispatch.content_type,
        headers=dispatch.headers,
        attributes=dispatch.attributes,
        payload=dispatch.payload,
        timeout_seconds=dispatch.timeout_seconds,
        result_subject=dispatch.result_subject,
        metrics_subject=dispatch.metrics_subject,
        reply_subject=dispatch.reply_subject,
        enqueued_at=dispatch.enqueued_at,
    )
