"""Whatever the order of things: the ledger counts as one who reads the whole history, and `cursor` loses nothing."""

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.ledger.events import Buried, Dispatched, Ended, Entry, Queued, Started
from simulator.ledger.ledger import Ledger, Phase

POOLS = ("p", "q")
WORKERS = ("w1", "w2", "w3")
INVOCATIONS = 3

Stored = list[tuple[int, Entry]]


@dataclass
class History:
    """What the platform may store of one invocation, one step at a time."""

    invocation_id: str
    pool: str
    own: list[int] = field(default_factory=list)
    """Sequences of its invocation and of its latest dispatch."""
    attempt: int = 0
    over: bool = False

    def step(self, choice: int, worker: str, sequence: int) -> Entry:
        if not self.own:
            self.own = [sequence]
            return Queued(self.invocation_id, self.pool, sequence)
        match choice:
            case 0 | 1 if self.attempt or not self.over:  # also when the result came meanwhile
                self.attempt += 1
                self.own[1:] = [sequence]
                return Dispatched(self.invocation_id, self.pool, sequence, worker, self.attempt, self.attempt - 1)
            case 2:
                return Started(self.invocation_id)
            case 3 if not self.over:
                self.over = True
                return Buried(self.own[-1])
            case _:
                self.over = True
                return Ended(self.invocation_id, self.pool, sequence)


@st.composite
def histories(draw: st.DrawFn) -> Stored:
    invocations = [History(f"i{n}", POOLS[n % 2]) for n in range(INVOCATIONS)]
    stored: Stored = []
    sequence = draw(st.integers(1, 100))
    steps = st.tuples(st.integers(0, INVOCATIONS - 1), st.integers(0, 4), st.sampled_from(WORKERS), st.integers(1, 3))
    for number, choice, worker, distance in draw(st.lists(steps, max_size=40)):
        stored.append((sequence, invocations[number].step(choice, worker, sequence)))
        sequence += distance  # other messages, or deleted ones, lie between
    return stored


def folded(stored: Stored) -> Ledger:
    ledger = Ledger()
    for sequence, entry in stored:
        ledger.apply(entry)
        ledger.position = sequence
    return ledger


Seen = tuple[dict[str, tuple[str, str]], Counter[str], dict[tuple[str, str], set[str]]]
"""Phase and worker of the open invocations, how many wait in each pool, who is outstanding at which worker."""


def seen_by(ledger: Ledger) -> Seen:
    return (
        {each.invocation_id: (each.phase, each.worker) for each in ledger.all_open()},
        Counter({pool: ledger.waiting(pool) for pool in ledger.waiting_pools()}),
        {place: set(ledger.outstanding(*place)) for place in ledger.busy_workers()},
    )


def counted(stored: Stored) -> Seen:
    """The same, from the whole history of each invocation."""
    where: dict[str, tuple[str, str]] = {}
    waiting: Counter[str] = Counter()
    outstanding: dict[tuple[str, str], set[str]] = {}
    buried = {entry.sequence for _, entry in stored if isinstance(entry, Buried)}
    ended = {entry.invocation_id for _, entry in stored if isinstance(entry, Ended)}
    for sequence, queued in stored:
        if not isinstance(queued, Queued) or queued.invocation_id in ended or sequence in buried:
            continue
        mine = [e for _, e in stored if isinstance(e, Dispatched | Started) and e.invocation_id == queued.invocation_id]
        dispatches = [place for place, entry in enumerate(mine) if isinstance(entry, Dispatched)]
        if not dispatches:
            where[queued.invocation_id] = (Phase.QUEUED, "")
            waiting[queued.pool] += 1
            continue
        last = mine[dispatches[-1]]
        assert isinstance(last, Dispatched)
        if any(entry.sequence in buried for entry in mine if isinstance(entry, Dispatched)):
            continue
        running = dispatches[-1] < len(mine) - 1
        where[queued.invocation_id] = (Phase.RUNNING if running else Phase.DISPATCHED, last.worker)
        outstanding.setdefault((last.pool, last.worker), set()).add(queued.invocation_id)
    return where, waiting, outstanding


@settings(max_examples=300, deadline=None)
@given(histories())
def test_the_ledger_counts_as_one_who_reads_everything(stored: Stored) -> None:
    assert seen_by(folded(stored)) == counted(stored)


@settings(max_examples=300, deadline=None)
@given(histories(), st.data())
def test_a19_a_ledger_that_begins_at_the_cursor_knows_all_that_is_open(stored: Stored, data: st.DataObject) -> None:
    """Written at any time and used at any later one, also when a dispatch was moved just as its result came."""
    written = data.draw(st.integers(0, len(stored)), "how much was stored when the cursor was written")
    cursor = folded(stored[:written]).cursor
    resumed = folded([(sequence, entry) for sequence, entry in stored if sequence >= cursor])
    assert seen_by(resumed) == seen_by(folded(stored))
    assert folded(stored).cursor >= cursor
