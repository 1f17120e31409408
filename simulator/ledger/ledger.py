"""The fold over the stream: which invocations are open, where they are, and which ended lately. Pure.

Whoever folds from a sequence at or before `cursor` of an earlier ledger knows all that is open.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from enum import StrEnum
from itertools import islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from simulator.ledger.events import Buried, Dispatched, Ended, Entry, Queued, Registered, Started

MOST_ENDED: Final = 20_000
"""How many ended invocations are remembered; older ones are found in the result store."""
MOST_ENDED_OF_A_POOL: Final = 1_000
MOST_WORKERS: Final = 10_000
"""Of how many workers it is remembered when they registered, and were given something, last: far more than live."""


class Phase(StrEnum):
    """Where an open invocation is."""

    QUEUED = "queued"
    DISPATCHED = "dispatched"
    RUNNING = "running"


class OpenInvocation(Struct, frozen=True):
    """An invocation without a result.

    `sequence` is where it first appeared in the stream, `dispatch_sequence` where its latest dispatch is (0 while it is
    queued). `worker` is the name as in subjects; `attempt` counts dispatches, `runs` how often it may have run before.
    `superseded` says that its worker's sidecar registered anew since then, and has not begun it.
    """

    invocation_id: str
    pool: str
    sequence: int
    phase: Phase = Phase.QUEUED
    worker: str = ""
    attempt: int = 0
    runs: int = 0
    dispatch_sequence: int = 0
    superseded: bool = False


class Ledger:
    """What is under way. Ended invocations are remembered in a bounded number."""

    def __init__(self) -> None:
        self._open: dict[str, OpenInvocation] = {}  # oldest first
        self._waiting: dict[str, dict[str, None]] = {}
        self._outstanding: dict[tuple[str, str], dict[str, None]] = {}
        self._by_sequence: dict[int, str] = {}
        self._last_dispatch: dict[tuple[str, str], int] = {}
        self._registered: dict[tuple[str, str], int] = {}
        self._ended: OrderedDict[str, Ended] = OrderedDict()
        self._ended_of: dict[str, deque[Ended]] = {}
        self.position = 0
        """Sequence of the last message that was taken in."""

    @property
    def cursor(self) -> int:
        """From which sequence on the stream tells of all that is open now."""
        oldest = next(iter(self._open.values()), None)
        return oldest.sequence if oldest else self.position + 1

    def open(self, invocation_id: str) -> OpenInvocation | None:
        """An invocation that has no result yet."""
        return self._open.get(invocation_id)

    def ended(self, invocation_id: str) -> Ended | None:
        """An invocation that ended lately."""
        return self._ended.get(invocation_id)

    def all_open(self) -> Iterator[OpenInvocation]:
        """Every open invocation, oldest first."""
        return iter(self._open.values())

    def waiting(self, pool: str) -> int:
        """How many invocations of a pool are not dispatched."""
        return len(self._waiting.get(pool, ()))

    def waiting_pools(self) -> list[str]:
        """Pools in which somebody waits."""
        return list(self._waiting)

    def outstanding(self, pool: str, worker: str) -> Collection[str]:
        """The invocations that a worker was given and that have no result; `worker` as in subjects."""
        return self._outstanding.get((pool, worker), {}).keys()

    def busy_workers(self) -> list[tuple[str, str]]:
        """Pool and name, as in subjects, of all workers that have something outstanding."""
        return list(self._outstanding)

    def last_dispatch(self, pool: str, worker: str) -> int:
        """Sequence of the last dispatch to a worker, 0 where none was seen, or so long ago that it is forgotten."""
        return self._last_dispatch.get((pool, worker), 0)

    def registered(self, pool: str, worker: str) -> int:
        """Sequence at which a worker's sidecar registered last, 0 where that was not seen, or is forgotten."""
        return self._registered.get((pool, worker), 0)

    def open_of(self, pool: str) -> list[OpenInvocation]:
        """A pool's open invocations, oldest first."""
        return [each for each in self._open.values() if each.pool == pool]

    def recently_ended(self, pool: str, limit: int) -> list[Ended]:
        """The newest of a pool's ended invocations, newest first."""
        return list(islice(reversed(self._ended_of.get(pool, ())), limit))

    def apply(self, entry: Entry) -> str | None:
        """Take in one entry; return the invocation that it changed, None where it changed nothing."""
        match entry:
            case Queued():
                return self._queued(entry)
            case Dispatched():
                return self._dispatched(entry)
            case Started(invocation_id):
                known = self._open.get(invocation_id)
                if known is None or (known.phase != Phase.DISPATCHED and not known.superseded):
                    return None
                self._open[invocation_id] = replace(known, phase=Phase.RUNNING, superseded=False)
                return invocation_id
            case Registered(pool, worker, sequence):
                _remember(self._registered, (pool, worker), sequence)
                for invocation_id in self._outstanding.get((pool, worker), ()):
                    self._open[invocation_id] = replace(self._open[invocation_id], superseded=True)
            case Ended():
                return self._end(entry)
            case Buried(sequence):
                return self._bury(sequence)
        return None

    def _queued(self, entry: Queued) -> str | None:
        if entry.invocation_id in self._open:
            return None
        again = self._ended.pop(entry.invocation_id, None)
        if again is not None:  # the server has forgotten the id
            self._forget_end(again)
        self._open[entry.invocation_id] = OpenInvocation(entry.invocation_id, entry.pool, entry.sequence)
        self._by_sequence[entry.sequence] = entry.invocation_id
        self._waiting.setdefault(entry.pool, {})[entry.invocation_id] = None
        return entry.invocation_id

    def _dispatched(self, entry: Dispatched) -> str | None:
        invocation_id = entry.invocation_id
        _remember(self._last_dispatch, (entry.pool, entry.worker), entry.sequence)
        if invocation_id in self._ended:
            return None  # whatever the worker makes of it, its result is there
        known = self._open.get(invocation_id)
        if known is None:
            if entry.attempt > 1:
                return None  # it ended, while it was moved, before the first message that was read
            known = OpenInvocation(invocation_id, entry.pool, entry.sequence)
        if known.attempt > entry.attempt:
            return None
        self._leave(known)
        self._open[invocation_id] = OpenInvocation(
            invocation_id,
            entry.pool,
            known.sequence,
            Phase.DISPATCHED,
            entry.worker,
            entry.attempt,
            entry.runs,
            entry.sequence,
        )
        self._by_sequence[entry.sequence] = invocation_id
        self._outstanding.setdefault((entry.pool, entry.worker), {})[invocation_id] = None
        return invocation_id

    def _end(self, entry: Ended) -> str | None:
        if entry.invocation_id in self._ended:
            return None
        self._forget(entry.invocation_id)
        self._ended[entry.invocation_id] = entry
        self._ended_of.setdefault(entry.pool, deque(maxlen=MOST_ENDED_OF_A_POOL)).append(entry)
        if len(self._ended) > MOST_ENDED:
            self._forget_end(self._ended.popitem(last=False)[1])
        return entry.invocation_id

    def _forget_end(self, ended: Ended) -> None:
        of_pool = self._ended_of.get(ended.pool)
        if of_pool is None or ended.sequence < of_pool[0].sequence:
            return  # its pool had so many since
        of_pool.remove(ended)
        if not of_pool:
            del self._ended_of[ended.pool]

    def _bury(self, sequence: int) -> str | None:
        """A dead letter that names nobody will never have a result."""
        invocation_id = self._by_sequence.get(sequence)
        if invocation_id is not None:
            self._forget(invocation_id)
        return invocation_id

    def _forget(self, invocation_id: str) -> None:
        known = self._open.pop(invocation_id, None)
        if known is not None:
            self._leave(known)
            self._by_sequence.pop(known.sequence, None)

    def _leave(self, known: OpenInvocation) -> None:
        """Take an invocation out of where it is counted."""
        self._by_sequence.pop(known.dispatch_sequence, None)
        counted: dict[str, None] | None
        if known.phase is Phase.QUEUED:
            counted = self._waiting.get(known.pool)
            if counted is not None:
                counted.pop(known.invocation_id, None)
                if not counted:
                    del self._waiting[known.pool]
            return
        place = (known.pool, known.worker)
        counted = self._outstanding.get(place)
        if counted is not None:
            counted.pop(known.invocation_id, None)
            if not counted:
                del self._outstanding[place]


def _remember(latest: dict[tuple[str, str], int], place: tuple[str, str], sequence: int) -> None:
    """Note a worker's latest; whose is the oldest is forgotten when there are too many."""
    latest.pop(place, None)
    latest[place] = sequence
    if len(latest) > MOST_WORKERS:
        del latest[next(iter(latest))]
