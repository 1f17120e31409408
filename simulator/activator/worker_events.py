"""Follows what workers say of themselves, into the roster (contract 3.9; A12, A16, A19)."""

import asyncio
import time

import structlog

from sidecar.messages import MalformedMessageError, WorkerMetricMessage, decode
from sidecar.queue import Queue
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
            for delivery in batch:
                # Of old events the server knows when they were; for new ones no two clocks need agree.
                at = time.time() if delivery.sequence >= self._live_from > 0 else delivery.stored_at
                try:
                    self._roster.hear(decode(delivery.data, WorkerMetricMessage), at)
                except MalformedMessageError as error:
                    log.warning("not an event, left out", sequence=delivery.sequence, error=str(error))
                self.position = delivery.sequence
            advanced, self._advanced = self._advanced, asyncio.Event()
            advanced.set()

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
