"""Invocations that nobody wants any more (S8): taken back where they wait, or passed on to the worker that has them.

A cancel is heard by every activator, and may come before the invocation is held here, or while it is on its way to a
worker. It is remembered for a while, bounded in number, until one of them can act on it.
"""

import asyncio
from collections import OrderedDict
from typing import Final

import structlog

from sidecar.cancellation import MAX_REMEMBERED, CancelMessage, decode_cancel
from sidecar.messages import MalformedMessageError, encode
from sidecar.queue import Queue, QueueError
from simulator.activator.begin import begin
from simulator.activator.held import Held
from simulator.activator.router import Router
from simulator.ledger.ledger import Ledger, Phase

RETRY_S: Final = 0.5

log = structlog.get_logger(__name__)


class Cancels:
    """Hears cancels and acts on them; `tasks` owns what has to be published."""

    def __init__(self, queue: Queue, ledger: Ledger, router: Router, tasks: asyncio.TaskGroup) -> None:
        self._queue = queue
        self._ledger = ledger
        self._router = router
        self._tasks = tasks
        self._remembered: OrderedDict[str, CancelMessage] = OrderedDict()

    async def hear(self) -> None:
        """Begin to hear; it goes on as long as the connection lasts."""
        while True:
            try:
                await self._queue.hear(self._queue.subjects.all_cancels(), self._received)
            except QueueError as error:
                log.warning("cannot hear cancels, trying again", error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    def arrived(self, held: Held) -> None:
        """An invocation waits here now; it may have been cancelled before."""
        if self._remembered and held.invocation_id in self._remembered:
            self._act(self._remembered[held.invocation_id], held.pool)

    def invocation_changed(self, invocation_id: str) -> None:
        """The ledger knows something new: where the invocation is, or that it ended."""
        if not self._remembered or invocation_id not in self._remembered:
            return
        known = self._ledger.open(invocation_id)
        if known is None:
            del self._remembered[invocation_id]
        else:
            self._act(self._remembered[invocation_id], known.pool)

    def _received(self, subject: str, data: bytes) -> None:
        try:
            message = decode_cancel(data)
        except MalformedMessageError as error:
            log.warning("cancel message ignored", error=str(error))
            return
        if self._ledger.ended(message.invocation_id) is None:
            self._act(message, subject.rpartition(".")[2])

    def _act(self, message: CancelMessage, pool: str) -> None:
        invocation_id = message.invocation_id
        known = self._ledger.open(invocation_id)
        if self._router.cancel(invocation_id, pool, self._tasks):
            self._remembered.pop(invocation_id, None)
        elif known is not None and known.phase is not Phase.QUEUED:
            self._remembered.pop(invocation_id, None)
            begin(self._pass_on(message, known.pool, known.worker), self._tasks)
        else:
            self._remembered[invocation_id] = message
            if len(self._remembered) > MAX_REMEMBERED:
                self._remembered.popitem(last=False)

    async def _pass_on(self, message: CancelMessage, pool: str, worker: str) -> None:
        try:
            await self._queue.send(self._queue.subjects.cancel(pool, worker), encode(message))
        except QueueError as error:
            log.warning("cancel not passed on", invocationID=message.invocation_id, error=str(error))
