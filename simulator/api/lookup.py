"""Looking for invocations (P5): the open ones in the ledger, the ended ones in the stream and in the result store."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from sidecar.messages import InvocationResultMessage, MalformedMessageError, decode
from sidecar.queue import Queue
from simulator.api.envelope import SERVICE_UNAVAILABLE, ApiError
from simulator.api.views import ended_view, listed_view, open_view
from simulator.jetstream.stored import stored_message
from simulator.ledger.events import Ended
from simulator.ledger.follower import LedgerFollower
from simulator.ledger.ledger import OpenInvocation
from simulator.results.store import recent_results, stored_result

CATCH_UP_S: Final = 5.0
PARALLEL_READS: Final = 16


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an invocation is: `under_way`, or at its end, with the `result` message."""

    under_way: OpenInvocation | None
    result: bytes

    def view(self) -> dict[str, Any]:
        """What the caller sees.

        Raises:
            MalformedMessageError: its result is no result message.
        """
        return open_view(self.under_way) if self.under_way is not None else ended_view(self.result)


class Lookup:
    """Answers from what is stored, so every API process gives the same ones, a restarted one too.

    Each takes in all that was stored when it was asked for. Every method may raise QueueError, and ApiError (503)
    where the ledger is too far behind.
    """

    def __init__(self, queue: Queue, follower: LedgerFollower) -> None:
        self._queue = queue
        self._follower = follower
        self._listing = asyncio.Lock()

    async def find(self, invocation_id: str) -> Standing | None:
        """Where an invocation is now; None when nothing is known of it."""
        await self._catch_up()
        under_way = self._follower.ledger.open(invocation_id)
        if under_way is not None:
            return Standing(under_way, b"")
        ended = self._follower.ledger.ended(invocation_id)
        result = await self._result_at(ended) if ended is not None else None
        if result is None:
            result = await stored_result(self._queue, invocation_id)
        return None if result is None else Standing(None, result)

    async def wait(self, invocation_id: str, wait_s: float) -> Standing | None:
        """As `find`, but of an open invocation the end is awaited for at most `wait_s` seconds."""
        standing = await self.find(invocation_id)
        if standing is None or standing.under_way is None or wait_s <= 0:
            return standing
        await self._follower.wait_ended(invocation_id, wait_s)
        return await self.find(invocation_id)

    async def recent(self, pool: str, limit: int) -> list[dict[str, Any]]:
        """A pool's newest invocations: those under way, then those that ended, the newest first each.

        One listing at a time: each reads up to `limit` results, which may be large.
        """
        await self._catch_up()
        async with self._listing:
            return await self._recent(pool, limit)

    async def _recent(self, pool: str, limit: int) -> list[dict[str, Any]]:
        ledger = self._follower.ledger
        under_way = [open_view(each) for each in reversed(ledger.open_of(pool))][:limit]
        room = limit - len(under_way)
        if not room:
            return under_way
        lately = ledger.recently_ended(pool, room)
        views = dict(await recent_results(self._queue, pool, room, _listed))
        # What ended a moment ago is not in the store yet.
        missing = await self._read([ended for ended in lately if ended.invocation_id not in views])
        return [*under_way, *missing, *views.values()][:limit]

    async def _read(self, endings: list[Ended]) -> list[dict[str, Any]]:
        """The views of these, in this order; what the stream forgot meanwhile is left out."""
        slots = asyncio.Semaphore(PARALLEL_READS)

        async def read(ended: Ended) -> dict[str, Any] | None:
            async with slots:
                result = await self._result_at(ended)
            listed = _listed(result) if result is not None else None
            return listed[1] if listed else None

        try:
            async with asyncio.TaskGroup() as tasks:
                reads = [tasks.create_task(read(ended)) for ended in endings]
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return [view for each in reads if (view := each.result()) is not None]

    async def _result_at(self, ended: Ended) -> bytes | None:
        stored = await stored_message(self._queue, sequence=ended.sequence)
        return stored.data if stored else None

    async def _catch_up(self) -> None:
        """Let the ledger take in what is stored now."""
        try:
            await self._follower.catch_up(CATCH_UP_S)
        except TimeoutError as error:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                SERVICE_UNAVAILABLE,
                f"the API did not read the stream up to its end within {CATCH_UP_S:g} s; try again",
            ) from error


def _listed(result: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        return decode(result, InvocationResultMessage).invocation_id, listed_view(result)
    except MalformedMessageError:
        return None  # a worker's mistake must not hide the others' results
