"""The fold: where an invocation is after what the stream said, and that the ledger stays small."""

import pytest

from simulator.ledger import ledger as ledger_module
from simulator.ledger.events import Buried, Dispatched, Ended, Entry, Queued, Registered, Started
from simulator.ledger.ledger import MOST_ENDED, MOST_ENDED_OF_A_POOL, Ledger, Phase

QUEUED = Queued("i", "p", 1)
DISPATCHED = Dispatched("i", "p", 2, "w1")
STARTED = Started("i")
MOVED = Dispatched("i", "p", 4, "w2", attempt=2, runs=1)
ENDED = Ended("i", "p", 5)


def folded(*entries: Entry) -> Ledger:
    ledger = Ledger()
    for entry in entries:
        ledger.apply(entry)
    return ledger


def changes(*entries: Entry) -> list[str | None]:
    ledger = Ledger()
    return [ledger.apply(entry) for entry in entries]


@pytest.mark.parametrize(
    ("entries", "phase", "worker", "attempt", "runs", "dispatch_sequence"),
    [
        ([QUEUED], Phase.QUEUED, "", 0, 0, 0),
        ([QUEUED, QUEUED], Phase.QUEUED, "", 0, 0, 0),
        ([QUEUED, STARTED], Phase.QUEUED, "", 0, 0, 0),
        ([QUEUED, DISPATCHED], Phase.DISPATCHED, "w1", 1, 0, 2),
        ([QUEUED, DISPATCHED, QUEUED], Phase.DISPATCHED, "w1", 1, 0, 2),
        ([QUEUED, DISPATCHED, STARTED], Phase.RUNNING, "w1", 1, 0, 2),
        ([QUEUED, DISPATCHED, STARTED, STARTED], Phase.RUNNING, "w1", 1, 0, 2),
        ([QUEUED, DISPATCHED, STARTED, MOVED], Phase.DISPATCHED, "w2", 2, 1, 4),
        ([QUEUED, DISPATCHED, MOVED, STARTED], Phase.RUNNING, "w2", 2, 1, 4),
        ([QUEUED, MOVED, DISPATCHED], Phase.DISPATCHED, "w2", 2, 1, 4),
    ],
)
def test_where_an_open_invocation_is(
    entries: list[Entry], phase: Phase, worker: str, attempt: int, runs: int, dispatch_sequence: int
) -> None:
    ledger = folded(*entries)
    found = ledger.open("i")
    assert found is not None
    assert (found.pool, found.sequence, found.phase, found.worker) == ("p", 1, phase, worker)
    assert (found.attempt, found.runs, found.dispatch_sequence) == (attempt, runs, dispatch_sequence)
    assert ledger.waiting("p") == (phase is Phase.QUEUED)
    assert ledger.waiting_pools() == (["p"] if phase is Phase.QUEUED else [])
    assert ledger.busy_workers() == ([("p", worker)] if worker else [])
    assert list(ledger.outstanding("p", worker)) == (["i"] if worker else [])
    assert ledger.open_of("p") == list(ledger.all_open()) == [found]
    assert (ledger.ended("i"), ledger.cursor) == (None, 1)


@pytest.mark.parametrize(
    "entries",
    [
        [ENDED],
        [QUEUED, ENDED],
        [QUEUED, DISPATCHED, ENDED],
        [QUEUED, DISPATCHED, STARTED, ENDED],
        [QUEUED, DISPATCHED, MOVED, ENDED],
        [QUEUED, ENDED, DISPATCHED],
        [QUEUED, DISPATCHED, ENDED, STARTED, MOVED],
        [QUEUED, DISPATCHED, ENDED, Ended("i", "p", 9)],
        [QUEUED, DISPATCHED, ENDED, Buried(2)],
    ],
)
def test_an_ended_invocation_is_nowhere_else_and_its_first_result_stays(entries: list[Entry]) -> None:
    ledger = folded(*entries)
    assert (ledger.ended("i"), ledger.recently_ended("p", 9)) == (ENDED, [ENDED])
    assert_nothing_open(ledger)


def assert_nothing_open(ledger: Ledger) -> None:
    assert (list(ledger.all_open()), ledger.open("i"), ledger.open_of("p")) == ([], None, [])
    assert (ledger.waiting_pools(), ledger.busy_workers()) == ([], [])
    assert (ledger.waiting("p"), len(ledger.outstanding("p", "w1"))) == (0, 0)
    assert ledger._by_sequence == {}


@pytest.mark.parametrize(
    ("entries", "sequence"),
    [
        ([QUEUED], 1),
        ([QUEUED, DISPATCHED], 1),
        ([QUEUED, DISPATCHED], 2),
        ([QUEUED, DISPATCHED, STARTED], 2),
        ([QUEUED, DISPATCHED, MOVED], 4),
        ([DISPATCHED], 2),
    ],
)
def test_a_buried_message_takes_its_invocation_with_it(entries: list[Entry], sequence: int) -> None:
    ledger = folded(*entries)
    assert ledger.apply(Buried(sequence)) == "i"
    assert_nothing_open(ledger)
    assert ledger.ended("i") is None


@pytest.mark.parametrize(("entries", "sequence"), [([QUEUED, DISPATCHED, MOVED], 2), ([QUEUED, DISPATCHED], 3)])
def test_s13_a_buried_message_that_is_no_invocations_latest_takes_nothing(entries: list[Entry], sequence: int) -> None:
    ledger = folded(*entries)
    assert ledger.apply(Buried(sequence)) is None
    assert ledger.open("i") is not None


def test_what_changed_is_said_and_only_then() -> None:
    assert changes(QUEUED, QUEUED, STARTED, DISPATCHED, STARTED, STARTED, MOVED, DISPATCHED, ENDED, ENDED, MOVED) == [
        *("i", None, None, "i"),
        *("i", None, "i", None),
        *("i", None, None),
    ]


def test_counts_are_kept_per_pool_and_worker() -> None:
    ledger = folded(
        Queued("a", "p", 1),
        Queued("b", "q", 2),
        Queued("c", "p", 3),
        Queued("d", "p", 4),
        Dispatched("a", "p", 5, "w1"),
        Dispatched("c", "p", 6, "w1"),
        Dispatched("b", "q", 7, "w1"),
        Ended("a", "p", 8),
    )
    assert (ledger.waiting("p"), ledger.waiting("q"), ledger.waiting_pools()) == (1, 0, ["p"])
    assert [list(ledger.outstanding(pool, "w1")) for pool in "pq"] == [["c"], ["b"]]
    assert [each.invocation_id for each in ledger.open_of("p")] == ["c", "d"]
    assert [each.invocation_id for each in ledger.all_open()] == ["b", "c", "d"]


def test_the_cursor_is_the_oldest_open_invocation_else_the_next_message() -> None:
    ledger = Ledger()
    ledger.position = 41
    assert ledger.cursor == 42
    for entry in (Queued("a", "p", 42), Queued("b", "p", 43), Dispatched("a", "p", 44, "w")):
        ledger.apply(entry)
    assert ledger.cursor == 42
    ledger.apply(Ended("a", "p", 45))
    assert ledger.cursor == 43
    ledger.apply(Ended("b", "p", 46))
    ledger.position = 46
    assert ledger.cursor == 47


def test_s13_a_dispatch_moved_after_the_end_opens_nothing_in_a_ledger_that_begins_between() -> None:
    """The result came while the dispatch was moved; a ledger that begins at the cursor never sees that result."""
    assert changes(MOVED) == [None]


def test_a_dispatch_that_nobody_queued_counts_at_its_worker() -> None:
    ledger = folded(DISPATCHED)
    found = ledger.open("i")
    assert found is not None
    assert (found.sequence, found.phase, ledger.cursor) == (2, Phase.DISPATCHED, 2)
    assert list(ledger.outstanding("p", "w1")) == ["i"]


def test_a_workers_last_dispatch_and_registration_are_remembered() -> None:
    ledger = folded(QUEUED, DISPATCHED, Registered("p", "w1", 3), ENDED, Dispatched("late", "p", 6, "w1", attempt=2))
    assert [ledger.last_dispatch("p", worker) for worker in ("w1", "w2")] == [6, 0]
    assert [ledger.registered("p", worker) for worker in ("w1", "w2")] == [3, 0]
    assert changes(Registered("p", "w1", 3)) == [None]


def test_an_id_used_again_is_open_again_and_ends_again() -> None:
    ledger = folded(QUEUED, ENDED, Queued("i", "p", 8))
    assert (ledger.ended("i"), ledger.recently_ended("p", 9), ledger.waiting("p")) == (None, [], 1)
    again = Ended("i", "p", 9)
    ledger.apply(again)
    assert (ledger.ended("i"), ledger.recently_ended("p", 9)) == (again, [again])


def test_the_newest_ends_come_first() -> None:
    ledger = folded(*(Ended(str(n), "pq"[n % 2], n) for n in range(6)))
    assert [each.sequence for each in ledger.recently_ended("p", 2)] == [4, 2]
    assert [each.sequence for each in ledger.recently_ended("q", 9)] == [5, 3, 1]
    assert ledger.recently_ended("r", 9) == []


def test_the_memory_of_what_ended_is_bounded_whatever_the_pools() -> None:
    ledger = Ledger()
    ledger.apply(Ended("first", "forgotten", 1))
    for n in range(MOST_ENDED):
        ledger.apply(Queued(str(n), f"p{n % 3}", 2 * n))
        ledger.apply(Ended(str(n), f"p{n % 3}", 2 * n + 1))
    assert (ledger.ended("first"), ledger.recently_ended("forgotten", 9)) == (None, [])
    assert len(ledger._ended) == MOST_ENDED
    assert set(ledger._ended_of) == {"p0", "p1", "p2"}
    assert len(ledger.recently_ended("p0", MOST_ENDED)) == MOST_ENDED_OF_A_POOL
    assert ledger.ended("0") is not None
    assert_nothing_open(ledger)


def test_an_end_that_its_pool_has_forgotten_is_forgotten_too() -> None:
    """All that the pool remembers is queued once more; then its older ends leave, one after the other."""
    ledger, last = Ledger(), MOST_ENDED_OF_A_POOL
    for n in range(last + 1):
        ledger.apply(Ended(str(n), "p", n + 1))
    for n in range(1, last + 1):
        ledger.apply(Queued(str(n), "p", last + n + 1))
    assert ledger.recently_ended("p", 9) == []
    for n in range(MOST_ENDED):
        ledger.apply(Ended(f"other-{n}", "q", 3 * last + n))
    assert ledger.ended("0") is None
    assert len(ledger._ended) == MOST_ENDED


def test_the_memory_of_workers_is_bounded_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_WORKERS", 2)
    ledger = Ledger()
    for sequence, worker in enumerate(("w0", "w1", "w0", "w2"), start=1):
        ledger.apply(Registered("p", worker, sequence))
        ledger.apply(Dispatched(f"i{sequence}", "p", 10 + sequence, worker))
    assert {name: ledger.registered("p", name) for name in ("w0", "w1", "w2")} == {"w0": 3, "w1": 0, "w2": 4}
    assert {name: ledger.last_dispatch("p", name) for name in ("w0", "w1", "w2")} == {"w0": 13, "w1": 0, "w2": 14}
    assert list(ledger.outstanding("p", "w1")) == ["i2"], "what is under way is never forgotten"
