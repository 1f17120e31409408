"""Keeps a ledger up to date with the stream, and wakes who waits for an invocation to end."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import aclosing
from typing import Final

import structlog

from sidecar.messages import (
    InvocationMessage,
    InvocationResultMessage,
    MalformedMessageError,
    WorkerDispatchMessage,
    decode,
)
from sidecar.queue import Queue, QueueError, QueueUnavailableError
from sidecar.tracing import NO_HEADERS
from simulator.jetstream.bucket import ACTIVATOR, Bucket
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import last_sequence, stored_message
from simulator.ledger.events import Dispatched, Ended, Entry, Nameless, Queued, place_of, read_entry
from simulator.ledger.ledger import Ledger

CURSOR_KEY: Final = "cursor"
"""Where in the activators' bucket the leader says from which sequence on a new ledger has to read."""
RETRY_S: Final = 0.2
"""Pause after a read that failed, before it is tried again."""

log = structlog.get_logger(__name__)


class LedgerFollower:
    """A ledger, and the reading of the stream into it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._subject_start = len(queue.subjects.prefix) + 1
        self._advanced = asyncio.Event()
        self._endings: dict[str, list[asyncio.Future[Ended | None]]] = {}
        self.ledger = Ledger()
        self.on_change: list[Callable[[str], None]] = []
        """Called with the ID of each invocation that changed."""
        self.on_batch: list[Callable[[Collection[str]], None]] = []
        """Called with the IDs of all that changed, once for the messages that came together: nothing runs between."""
        self._changed: dict[str, None] = {}

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        start = await self._start()
        self.ledger.position = start - 1
        self._wake()
        batches = follow(self._queue, f"{self._queue.subjects.prefix}.>", start, headers_only=True)
        async with aclosing(batches):
            async for batch in batches:
                for delivery in batch:
                    place = place_of(delivery.subject[self._subject_start :])
                    extra = delivery.extra_headers if place.family == "dispatch" else NO_HEADERS
                    entry = read_entry(place, delivery.sequence, delivery.message_id, extra)
                    if isinstance(entry, Nameless):
                        self._tell()
                        entry = await self._named(entry)
                    self._take(entry, delivery.sequence)
                self._tell()
                self._wake()

    async def caught_up(self, sequence: int, timeout_s: float) -> None:
        """Wait until the ledger has taken in the message at a sequence. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while self.ledger.position < sequence:
                await self._advanced.wait()

    async def catch_up(self, timeout_s: float) -> None:
        """Take in everything that was stored before now; what is deleted since, or expired, is not waited for.

        Raises:
            QueueError: the server refuses or does not answer.
            TimeoutError: not within `timeout_s` seconds.
        """
        if self.ledger.position >= await last_sequence(self._queue):
            return
        newest = await stored_message(self._queue, last_by_subject=f"{self._queue.subjects.prefix}.>")
        if newest is not None:
            await self.caught_up(newest.sequence, timeout_s)

    async def wait_ended(self, invocation_id: str, timeout_s: float) -> Ended | None:
        """Wait for an invocation's result; None when there is none within `timeout_s` seconds."""
        ended = self.ledger.ended(invocation_id)
        if ended is not None:
            return ended
        waiter: asyncio.Future[Ended | None] = asyncio.get_running_loop().create_future()
        waiters = self._endings.setdefault(invocation_id, [])
        waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiter
        except TimeoutError:
            return None
        finally:
            waiters.remove(waiter)
            if not waiters and self._endings.get(invocation_id) is waiters:
                del self._endings[invocation_id]

    async def _start(self) -> int:
        """From where to read: all that is open comes after it."""
        while True:
            try:
                entry = await Bucket(self._queue, ACTIVATOR).get(CURSOR_KEY)
                cursor = int(entry.value) if entry and entry.value.isdigit() else 0
                # One beyond the stream's end is that of a stream which was deleted since.
                return cursor if 0 < cursor <= await last_sequence(self._queue) + 1 else 1
            except QueueError as error:
                log.warning("cannot read where the ledger starts, trying again", error=str(error))
                await asyncio.sleep(RETRY_S)

    def _take(self, entry: Entry | None, sequence: int) -> None:
        changed = self.ledger.apply(entry) if entry else None
        self.ledger.position = sequence
        if changed is None:
            return
        ended = self.ledger.ended(changed)
        if ended is not None:
            for waiter in self._endings.pop(changed, ()):
                if not waiter.done():
                    waiter.set_result(ended)
        self._changed[changed] = None
        for callback in self.on_change:
            callback(changed)

    def _tell(self) -> None:
        """Tell of all that changed since this was called last."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        for callback in self.on_batch:
            callback(changed)

    async def _named(self, entry: Nameless) -> Entry | None:
        """Read the body of a message whose id does not say whose it is: not all publishers keep to the contract."""
        while True:
            try:
                stored = await stored_message(self._queue, sequence=entry.sequence)
                return _named_by(stored.data, entry) if stored else None
            except QueueUnavailableError as error:
                log.debug("reading a message's body again", sequence=entry.sequence, error=str(error))
                await asyncio.sleep(RETRY_S)
            except (MalformedMessageError, QueueError) as error:
                log.warning("a message whose invocation is unknown", sequence=entry.sequence, error=str(error))
                return None

    def _wake(self) -> None:
        """Have all who wait for the ledger's position look at it."""
        advanced, self._advanced = self._advanced, asyncio.Event()
        advanced.set()


def _named_by(body: bytes, entry: Nameless) -> Entry:
    match entry.family:
        case "invoke":
            return Queued(decode(body, InvocationMessage).invocation_id, entry.pool, entry.sequence)
        case "dispatch":
            invocation_id = decode(body, WorkerDispatchMessage).invocation_id
            return Dispatched(invocation_id, entry.pool, entry.sequence, entry.worker)
        case _:
            return Ended(decode(body, InvocationResultMessage).invocation_id, entry.pool, entry.sequence)
