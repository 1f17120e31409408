"""Dispatches that are not their worker's any more, though its consumer may deliver them once more (S13).

That is so when the worker's next sidecar registered before its loss was seen: its consumer stays, and after the ack
wait gives the next sidecar what the one before had. By then that is another worker's, or has its result.
"""

from dataclasses import dataclass
from typing import Final

from sidecar.cancellation import MAX_REMEMBERED, CancelMessage
from sidecar.messages import InvocationResultMessage, MalformedMessageError, WorkerDispatchMessage, decode, encode
from sidecar.queue import Queue
from sidecar.stored import dispatch_number
from simulator.jetstream.consumers import ConsumerState
from simulator.jetstream.stored import stored_message
from simulator.ledger.ledger import Ledger

MOST_RECALLED: Final = MAX_REMEMBERED
"""More than that no sidecar remembers."""


@dataclass(frozen=True, slots=True)
class MovedDispatch:
    """The so many-th dispatch of an invocation, `attempt`, and where in the stream it is."""

    invocation_id: str
    sequence: int
    attempt: int


class MovedAway:
    """What the workers' sidecars are not to run, known by the activator that leads."""

    def __init__(self, queue: Queue, ledger: Ledger) -> None:
        self._queue = queue
        self._ledger = ledger
        self._of_worker: dict[str, dict[MovedDispatch, None]] = {}

    def add(self, worker: str, moved: MovedDispatch) -> None:
        """A dispatch was moved, or has its result from elsewhere."""
        self._of_worker.setdefault(worker, {})[moved] = None

    def forget(self, worker: str) -> None:
        """The worker's consumer is gone."""
        self._of_worker.pop(worker, None)

    def known(self, worker: str) -> list[MovedDispatch]:
        """What is known of a worker."""
        return list(self._of_worker.get(worker, ()))

    def clear(self) -> None:
        """Somebody else leads."""
        self._of_worker.clear()

    async def recall(self, worker: str, pool: str, state: ConsumerState) -> None:
        """Find out from the stream what an earlier leader moved: the worker's consumer waits for its ack.

        Raises:
            QueueError: the server refuses or does not answer.
        """
        after = _settled(state)
        for _ in range(MOST_RECALLED if state.ack_pending else 0):
            subject = self._queue.subjects.dispatch(pool, worker)
            stored = await stored_message(self._queue, sequence=after + 1, next_by_subject=subject)
            if stored is None or stored.sequence > state.delivered:
                return
            after = stored.sequence
            try:
                invocation_id = decode(stored.data, WorkerDispatchMessage).invocation_id
            except MalformedMessageError:
                continue  # the sidecar dead-letters it
            if await self._is_anothers(invocation_id, after, worker):
                self.add(worker, MovedDispatch(invocation_id, after, dispatch_number(stored.headers)))

    async def _is_anothers(self, invocation_id: str, sequence: int, worker: str) -> bool:
        """Whether an invocation was dispatched anew after `sequence`, or has a result that is not the worker's."""
        known, ended = self._ledger.open(invocation_id), self._ledger.ended(invocation_id)
        if known is not None:
            return known.dispatch_sequence > sequence
        stored = await stored_message(self._queue, sequence=ended.sequence) if ended else None
        try:
            return stored is not None and decode(stored.data, InvocationResultMessage).worker_name != worker
        except MalformedMessageError:
            return False

    async def tell(self, worker: str, pool: str, state: ConsumerState) -> None:
        """Have a sidecar drop what its consumer may deliver once more; each new one of the worker hears it again.

        Raises:
            QueueError: the server refuses or does not answer.
        """
        settled = _settled(state)
        for each in self.known(worker):
            if each.sequence <= settled:
                del self._of_worker[worker][each]
        for each in self.known(worker):
            message = CancelMessage(invocation_id=each.invocation_id, moved=each.attempt)
            await self._queue.send(self._queue.subjects.cancel(pool, worker), encode(message))


def _settled(state: ConsumerState) -> int:
    """Up to where the consumer delivers nothing again."""
    return max(state.ack_floor, state.start - 1)
