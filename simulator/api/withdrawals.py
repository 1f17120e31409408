"""Taking invocations back: for callers who ask for it, and for those who left before their call had started (S8).

The message goes to `<prefix>.cancel.<pool>` on core NATS. Activators hear it, and pass it on to the worker.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from sidecar.cancellation import CancelMessage
from sidecar.messages import encode
from sidecar.queue import Queue, QueueError
from simulator.api.errands import Errands

log = structlog.get_logger(__name__)


class Withdrawals:
    """Sends cancel messages."""

    def __init__(self, queue: Queue, errands: Errands) -> None:
        self._queue = queue
        self._errands = errands

    async def send(self, pool: str, invocation_id: str, *, if_not_started: bool = False) -> None:
        """Take an invocation back; with `if_not_started`, one that runs goes on.

        Raises:
            QueueUnavailableError: the queue is away for long.
        """
        message = CancelMessage(invocation_id=invocation_id, if_not_started=if_not_started)
        await self._queue.send(self._queue.subjects.cancel_queued(pool), encode(message))

    @contextmanager
    def when_caller_leaves(self, pool: str, invocation_id: str) -> Iterator[None]:
        """Take an invocation back that has not started, when the block is cancelled: nobody works for nobody."""
        try:
            yield
        except asyncio.CancelledError:
            self._errands.start(self._abandon(pool, invocation_id))
            raise

    async def _abandon(self, pool: str, invocation_id: str) -> None:
        try:
            await self.send(pool, invocation_id, if_not_started=True)
        except QueueError as error:
            log.warning("invocation whose caller left goes on", invocationID=invocation_id, error=str(error))
        else:
            log.info("caller left", invocationID=invocation_id)
