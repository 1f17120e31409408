"""The invocations that one activator holds: in one line per pool, kept alive at the queue, given out oldest first.

An invocation is held unacknowledged. Its delivery is refreshed at a third of the ack wait (A3), all by one task, so a
held invocation costs no thread of control. One that could not be refreshed in time may be with another activator by
now, and is not given out any more (A10).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from sidecar.messages import InvocationMessage
from sidecar.queue import QueueError
from sidecar.tracing import NO_HEADERS
from simulator.ledger.ledger import Ledger, Phase

log = structlog.get_logger(__name__)


class Claim(Protocol):
    """What an activator has in its hands of a message that is not settled; a delivery of the queue is one."""

    def ack_unconfirmed(self) -> None:
        """The message is dealt with."""

    async def in_progress(self) -> None:
        """The message is still held."""

    async def nak(self, delay_s: float = 0) -> None:
        """Somebody else may have the message."""


@dataclass(slots=True, eq=False)
class Held:
    """One invocation. `sequence` orders the line: where the invocation, or its lost dispatch, is in the stream.

    `attempt` is the number that its next dispatch gets, `runs` how often it may have run before.
    """

    invocation: InvocationMessage
    claim: Claim
    sequence: int
    size: int
    trace: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    attempt: int = 1
    runs: int = 0
    tries: int = 0
    refusals: int = 0
    races: int = 0
    refreshed_at: float = 0.0
    held_since: float = 0.0
    is_valid: Callable[[], bool] | None = None
    """Asked before it is given out, where the queue does not say who may."""

    @property
    def invocation_id(self) -> str:
        """The invocation's ID."""
        return self.invocation.invocation_id

    @property
    def pool(self) -> str:
        """The pool that it is for."""
        return self.invocation.serverless_request_id


def is_settled(held: Held, ledger: Ledger) -> bool:
    """Whether the stream has what an activator would do for an invocation: its dispatch, a later one, or a result.

    The result of an earlier invocation that had the same ID is not its own.
    """
    ended = ledger.ended(held.invocation_id)
    if ended is not None:
        return ended.sequence > held.sequence
    known = ledger.open(held.invocation_id)
    return known is not None and known.phase is not Phase.QUEUED and known.attempt >= held.attempt


class Line:
    """One pool's held invocations in their order; those that come again go to their old place."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._sorted = True
        self._last = 0

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        if not self._sorted:
            self._held = dict(sorted(self._held.items(), key=lambda item: item[1].sequence))
            self._sorted = True
        return iter(self._held.values())

    def add(self, held: Held) -> None:
        """Put an invocation into its place."""
        self._held[held.invocation_id] = held
        self._sorted = self._sorted and held.sequence >= self._last
        self._last = max(self._last, held.sequence)

    def get(self, invocation_id: str) -> Held | None:
        """The invocation, if it is held."""
        return self._held.get(invocation_id)

    def take(self, invocation_id: str) -> None:
        """Remove an invocation."""
        self._held.pop(invocation_id, None)


class HeldInvocations:
    """All lines of one activator. An invocation is in one place only, whatever its callers make of its ID."""

    def __init__(self, ack_wait_s: float, clock: Callable[[], float], is_connected: Callable[[], bool]) -> None:
        self._ack_wait_s = ack_wait_s
        self._is_connected = is_connected
        self._clock = clock
        self._lines: dict[str, Line] = {}
        self._all: dict[str, Held] = {}
        self._of_pool: dict[str, tuple[int, int]] = {}
        self.size = 0
        self.room = asyncio.Event()
        """Set when something left."""

    @property
    def count(self) -> int:
        """How many are held, given out or not."""
        return len(self._all)

    def line(self, pool: str) -> Line:
        """A pool's line, for reading."""
        return self._lines.get(pool, _NOBODY)

    def pools(self) -> list[str]:
        """The pools in which somebody waits."""
        return list(self._lines)

    def get(self, invocation_id: str) -> Held | None:
        """What is held under an ID, given out or not."""
        return self._all.get(invocation_id)

    def has(self, held: Held) -> bool:
        """Whether this one is held, given out or not."""
        return self._all.get(held.invocation_id) is held

    def of_pool(self, pool: str) -> tuple[int, int]:
        """How many of a pool are held, given out or not, and their bytes."""
        return self._of_pool.get(pool, (0, 0))

    def _count(self, pool: str, number: int, size: int) -> None:
        count, total = self.of_pool(pool)
        if count + number:
            self._of_pool[pool] = (count + number, total + size)
        else:
            del self._of_pool[pool]

    def add(self, held: Held) -> None:
        """Hold an invocation that just came; where one of its ID is held, that one stays."""
        if held.invocation_id in self._all:
            return
        held.held_since = held.refreshed_at = self._clock()
        self._all[held.invocation_id] = held
        self.size += held.size
        self._count(held.pool, 1, held.size)
        self._lines.setdefault(held.pool, Line()).add(held)

    def renew(self, held: Held, claim: Claim) -> None:
        """Hold on to an invocation that the queue delivered here once more."""
        held.claim, held.refreshed_at = claim, self._clock()

    def take(self, held: Held) -> None:
        """Give an invocation out: it waits no longer, but is kept alive until it is settled."""
        line = self._lines.get(held.pool)
        if line is None or line.get(held.invocation_id) is not held:
            return
        line.take(held.invocation_id)
        if not line:
            del self._lines[held.pool]

    def put_back(self, held: Held) -> None:
        """Let an invocation that was given out wait again, unless it was dropped meanwhile."""
        if self.has(held):
            self._lines.setdefault(held.pool, Line()).add(held)

    def drop(self, held: Held) -> None:
        """Hold it no longer."""
        if not self.has(held):
            return
        self.take(held)
        del self._all[held.invocation_id]
        self.size -= held.size
        self._count(held.pool, -1, -held.size)
        self.room.set()

    def settle(self, held: Held) -> None:
        """Acknowledge what is dealt with, and hold it no longer."""
        self.drop(held)
        try:
            held.claim.ack_unconfirmed()
        except QueueError as error:  # it comes again, and the ledger knows it
            log.debug("invocation not acknowledged", invocationID=held.invocation_id, error=str(error))

    def is_fresh(self, held: Held) -> bool:
        """Whether the queue still takes this activator for the holder."""
        if held.is_valid is not None and not held.is_valid():
            return False
        return self._clock() - held.refreshed_at < self._ack_wait_s

    def all(self) -> list[Held]:
        """Everything that is held."""
        return list(self._all.values())

    async def keep_alive(self) -> None:
        """Refresh everything that is held, until cancelled."""
        while True:
            await asyncio.sleep(self._ack_wait_s / 3)
            if not self._is_connected():
                continue  # what is written now arrives too late to be counted on
            for held in self.all():
                if self.is_fresh(held):
                    with suppress(QueueError):
                        await held.claim.in_progress()
                        held.refreshed_at = self._clock()


_NOBODY = Line()
