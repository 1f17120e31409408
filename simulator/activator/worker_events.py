"""Follows what workers say of themselves, into the roster (contract 3.9; A12, A16, A19)."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from sidecar.messages import MalformedMessageError, WorkerMetricMessage, decode
from sidecar.queue import Delivery, Queue
from simulator.activator.fleet import ACTIVITY
from simulator.activator.roster import Roster
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import stored_message

log = structlog.get_logger(__name__)


class WorkerEvents:
    """Reads all pools' events; `position` is how far in the stream they were heard."""

    def __init__(self, queue: Queue, roster: Roster) -> None:
        self._queue = queue
        self._roster = roster
        self._advanced = asyncio.Event()
        self._live_from = 0
        self.position = 0

    async def run(self) -> None:
        """Follow the events behind `position` until cancelled."""
        async for batch in follow(self._queue, self._queue.subjects.metrics("*"), self.position + 1):
            if batch:
                self._hear(batch)
                self.position = batch[-1].sequence
            advanced, self._advanced = self._advanced, asyncio.Event()
            advanced.set()

    def _hear(self, batch: Sequence[Delivery]) -> None:
        """Hear events, each worker's in their order. Where calls begin and end in a row, the last says it all."""
        at_work: dict[str, tuple[WorkerMetricMessage, float]] = {}
        now = time.time()
        for delivery in batch:
            try:
                event = decode(delivery.data, WorkerMetricMessage)
            except MalformedMessageError as error:
                log.warning("not an event, left out", sequence=delivery.sequence, error=str(error))
                continue
            # Of old events the server knows when they were; for new ones no two clocks need agree.
            at = now if delivery.sequence >= self._live_from > 0 else delivery.stored_at
            before = at_work.pop(event.worker_name, None)
            is_work = event.event_type in ACTIVITY
            if before is not None and not (is_work and event.reported_at >= before[0].reported_at):
                self._roster.hear(*before)
            if is_work:
                at_work[event.worker_name] = event, at
            else:
                self._roster.hear(event, at)
        for event, at in at_work.values():
            self._roster.hear(event, at)

    async def catch_up(self, timeout_s: float) -> None:
        """Hear every event that was stored before now.

        Raises:
            QueueError: the server refuses or does not answer.
            TimeoutError: not within `timeout_s` seconds.
        """
        newest = await stored_message(self._queue, last_by_subject=self._queue.subjects.metrics("*"))
        if newest is None:
            return
        async with asyncio.timeout(timeout_s):
            while self.position < newest.sequence:
                await self._advanced.wait()
        self._live_from = self._live_from or newest.sequence + 1
