"""What the queue really stored, in its order: the platform's own record, against which scenarios check.

The journal reads the stream itself, so it sees each durable message once and nothing that the server dropped as a
duplicate. It begins with what is stored after it was opened: what was there before is somebody else's.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

from sidecar.messages import (
    DeadLetterMessage,
    InvocationMessage,
    InvocationResultMessage,
    MalformedMessageError,
    WorkerDispatchMessage,
    WorkerMetricMessage,
    decode,
)
from sidecar.queue import Queue
from simulator.errors import WaitTimeoutError
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import last_sequence

Message = InvocationMessage | WorkerDispatchMessage | InvocationResultMessage | WorkerMetricMessage | DeadLetterMessage
_TYPES: Final[dict[str, type[msgspec.Struct]]] = {
    "invoke": InvocationMessage,
    "dispatch": WorkerDispatchMessage,
    "result": InvocationResultMessage,
    "metrics": WorkerMetricMessage,
    "dlq": DeadLetterMessage,
}

T = TypeVar("T")
M = TypeVar("M", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored message. `message` is None when the bytes are not what the subject promises."""

    sequence: int
    subject: str
    data: bytes
    message: msgspec.Struct | None


class Journal:
    """A growing record of the stream, from the sequence `start` on; `journal_of` makes one. It is held in memory."""

    def __init__(self, queue: Queue, start: int) -> None:
        self._queue = queue
        self._start = start
        self._grown = asyncio.Event()
        self.entries: list[Entry] = []

    async def run(self) -> None:
        """Read the stream until cancelled."""
        async for batch in follow(self._queue, f"{self._queue.subjects.prefix}.>", self._start):
            for delivery in batch:
                self._append(delivery.sequence, delivery.subject, delivery.data)

    def _append(self, sequence: int, subject: str, data: bytes) -> None:
        family = subject.removeprefix(self._queue.subjects.prefix + ".").split(".", 1)[0]
        try:
            message: msgspec.Struct | None = decode(data, _TYPES[family])
        except (KeyError, MalformedMessageError):
            message = None
        self.entries.append(Entry(sequence, subject, data, message))
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    def of_type(self, message_type: type[M]) -> list[M]:
        """All messages of one type, in stream order."""
        return [entry.message for entry in self.entries if isinstance(entry.message, message_type)]

    def results(self, invocation_id: str) -> list[InvocationResultMessage]:
        """The durable results of one invocation: exactly one when all is well."""
        return [each for each in self.of_type(InvocationResultMessage) if each.invocation_id == invocation_id]

    def events(self, invocation_id: str) -> list[WorkerMetricMessage]:
        """The metric events of one invocation, in stream order."""
        return [each for each in self.of_type(WorkerMetricMessage) if each.invocation_id == invocation_id]

    async def wait_for(self, find: Callable[["Journal"], T | None], timeout_s: float, what: str) -> T:
        """Return the first true value of `find`, asked now and after each new message.

        Raises:
            WaitTimeoutError: not within `timeout_s` seconds; the text names `what` and how much was stored.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not (found := find(self)):
                    await self._grown.wait()
        except TimeoutError as error:
            raise WaitTimeoutError(
                f"{what} did not appear within {timeout_s:g} s; the stream holds {len(self.entries)} messages"
            ) from error
        return found


@asynccontextmanager
async def journal_of(queue: Queue) -> AsyncIterator[Journal]:
    """Keep a journal of what is stored while the block runs. Raises QueueError: the stream cannot be read."""
    journal = Journal(queue, await last_sequence(queue) + 1)
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(journal.run())
        yield journal
        reading.cancel()
