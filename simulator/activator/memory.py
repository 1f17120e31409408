"""What the leader writes down for whoever leads next (A12, A19): workers, and where the stream has to be read from."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from sidecar.queue import Queue, QueueError
from sidecar.subjects import ACTIVATOR_CONSUMER
from simulator.activator.roster import Roster
from simulator.activator.shared import Shared, WorkerNote
from simulator.jetstream.bucket import ACTIVATOR, Bucket
from simulator.jetstream.consumers import consumer_state
from simulator.ledger.follower import CURSOR_KEY
from simulator.ledger.ledger import Ledger

INTERVAL_S: Final = 2.0
"""What changed is written at most so often, so that an invocation costs nothing here."""

log = structlog.get_logger(__name__)


class Memory:
    """Writes down changed records and the ledger's cursor.

    `position` says how far the workers' events were read, `ingress` is the name of the activators' consumer.
    """

    def __init__(
        self,
        queue: Queue,
        roster: Roster,
        ledger: Ledger,
        shared: Shared,
        position: Callable[[], int],
        ingress: str = ACTIVATOR_CONSUMER,
    ) -> None:
        self._queue = queue
        self._ingress = ingress
        self._bucket = Bucket(queue, ACTIVATOR)
        self._roster = roster
        self._ledger = ledger
        self._shared = shared
        self._position = position
        self._written = (0, 0)

    async def run(self, *others: Callable[[], Awaitable[None]]) -> None:
        """Write until cancelled; `others` is what the leader has to look at in each round as well."""
        while True:
            for each in (self._write, *others):
                try:
                    await each()
                except (QueueError, TimeoutError) as error:
                    log.warning("a round was not done", part=each.__qualname__, error=str(error) or "not in time")
            await asyncio.sleep(INTERVAL_S)

    async def _write(self) -> None:
        position, cursor = self._position(), await self._safe_cursor()
        changed, self._roster.changed = self._roster.changed, set()
        try:
            for name in sorted(changed):
                record, worker = self._roster.records().get(name), self._roster.worker(name)
                if record is not None and worker is not None and worker.pool:
                    await self._shared.write_worker(worker.pool, WorkerNote(name, record))
            for key, note in list(self._shared.workers.items()):
                if self._roster.unit(note.name) is None:
                    await self._shared.forget_worker(key)
        except QueueError:
            self._roster.changed |= changed
            raise
        if (position, cursor) != self._written:  # only now: up to there, all is written
            await self._shared.write_events_read(position)
            await self._bucket.put(CURSOR_KEY, str(cursor).encode())
            self._written = (position, cursor)

    async def _safe_cursor(self) -> int:
        """The ledger's cursor, or the first invocation that may be delivered again: a new ledger must know it (A10)."""
        cursor = self._ledger.cursor
        ingress = await consumer_state(self._queue, self._ingress)
        has_unsettled = ingress is not None and (ingress.ack_pending or ingress.pending)
        return min(cursor, ingress.ack_floor + 1) if ingress and has_unsettled else cursor
