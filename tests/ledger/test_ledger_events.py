"""What a message's subject and headers alone say about an invocation: the ids of contract 2.4, read back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.messages import Event, Source
from sidecar.stored import ATTEMPT_HEADER, RUNS_HEADER
from sidecar.subjects import (
    Subjects,
    dead_letter_message_id,
    dispatch_message_id,
    dispatch_token,
    metric_message_id,
    result_message_id,
)
from simulator.ledger.events import (
    Buried,
    Dispatched,
    Ended,
    Entry,
    Nameless,
    Place,
    Queued,
    Registered,
    Started,
    place_of,
    read_entry,
)

AT = datetime(2026, 3, 4, 5, 6, 7, 250_000, tzinfo=UTC)
SUBJECTS = Subjects()

ODD_IDS = [
    "i",
    "inv-5d0c1a7be2f94c63a1b07f2e88d4310f",
    "order-17",
    "2",
    "-",
    "a--b-",
    "result-x",
    "dispatch-x-w",
    "x-invocation_started",
    "x-invocation_started-2",
    "x-w",
    "x-w-2",
    "a.b c/é*>",
]


def read(subject: str, message_id: str, **headers: str) -> Entry | None:
    return read_entry(place_of(subject.removeprefix(SUBJECTS.prefix + ".")), 7, message_id, headers)


@pytest.mark.parametrize("invocation_id", ODD_IDS)
def test_an_invocations_id_is_read_back_from_every_family(invocation_id: str) -> None:
    assert read(SUBJECTS.invoke("p"), invocation_id) == Queued(invocation_id, "p", 7)
    assert read(SUBJECTS.result("p"), result_message_id(invocation_id)) == Ended(invocation_id, "p", 7)
    dispatched = read(SUBJECTS.dispatch("p", "Unit.A"), dispatch_message_id(invocation_id, "Unit.A"))
    assert dispatched == Dispatched(invocation_id, "p", 7, "unit-a", attempt=1, runs=0)
    started = metric_message_id("w", Event.STARTED, AT, invocation_id)
    assert read(SUBJECTS.metrics("p"), started) == Started(invocation_id)


@settings(deadline=None)
@given(st.text(min_size=1), st.text(), st.integers(1, 9))
def test_a_dispatch_is_read_back_whatever_its_names_and_attempt(invocation_id: str, worker: str, attempt: int) -> None:
    entry = read_entry(
        Place("dispatch", "p", dispatch_token(worker)),
        7,
        dispatch_message_id(invocation_id, worker, attempt),
        {ATTEMPT_HEADER: str(attempt)},
    )
    assert entry == Dispatched(invocation_id, "p", 7, dispatch_token(worker), attempt)


def test_s13_a_moved_dispatch_says_how_often_it_was_dispatched_and_may_have_run() -> None:
    moved = read(SUBJECTS.dispatch("p", "w"), "dispatch-i-w-3", **{ATTEMPT_HEADER: "3", RUNS_HEADER: "1"})
    assert moved == Dispatched("i", "p", 7, "w", attempt=3, runs=1)


@pytest.mark.parametrize("attempt", ["", "0", "1", "-2", "x", "2.5", "9" * 10])
def test_an_attempt_that_is_no_number_from_2_on_is_the_first(attempt: str) -> None:
    entry = read(SUBJECTS.dispatch("p", "w"), "dispatch-i-w", **{ATTEMPT_HEADER: attempt, RUNS_HEADER: "many"})
    assert isinstance(entry, Dispatched)
    assert (entry.invocation_id, entry.runs) == ("i", 0)
    assert entry.attempt <= 1


def test_s12_the_start_of_a_second_run_is_a_start() -> None:
    assert read(SUBJECTS.metrics("p"), metric_message_id("w", Event.STARTED, AT, "i", attempt=2)) == Started("i")


@pytest.mark.parametrize("event", [Event.FINISHED, Event.FAILED, Event.REGISTERED])
def test_other_events_of_an_invocation_change_nothing(event: str) -> None:
    assert read(SUBJECTS.metrics("p"), metric_message_id("w", event, AT, "i")) is None


@pytest.mark.parametrize("worker", ["w", "Unit.A", "registered", "x-registered-5", "invocation_started"])
def test_a_worker_that_registers_is_named(worker: str) -> None:
    registered = metric_message_id(worker, Event.REGISTERED, AT)
    assert read(SUBJECTS.metrics("p"), registered) == Registered("p", dispatch_token(worker), 7)
    for event in (Event.HEARTBEAT, Event.DEREGISTERED, Event.FRAMEWORK_UNHEALTHY):
        assert read(SUBJECTS.metrics("p"), metric_message_id(worker, event, AT)) is None


@pytest.mark.parametrize(
    ("subject", "message_id"),
    [
        ("invoke.p", ""),
        ("result.p", ""),
        ("result.p", "i"),
        ("result.p", "result-"),
        ("dispatch.p.w", ""),
        ("dispatch.p.w", "i"),
        ("dispatch.p.w", "dispatch-i"),
        ("dispatch.p.w", "dispatch-i-other"),
        ("dispatch.p.w", "dispatch-i-w-2"),  # its attempt is not said
        ("dispatch.p.w", "dispatch-w"),  # the two parts of the id must not overlap
        ("dispatch.p.w", "dispatch--w"),
    ],
)
def test_an_id_that_is_not_the_contracts_makes_a_message_nameless(subject: str, message_id: str) -> None:
    family, *rest = subject.split(".")
    worker = rest[1] if family == "dispatch" else ""
    assert read(f"{SUBJECTS.prefix}.{subject}", message_id) == Nameless(family, "p", 7, worker)


@pytest.mark.parametrize("subject", ["", "invoke", "invoke.p.q", "cancel.p", "dispatch.p", "dlq.p", "metrics.p.q"])
def test_other_subjects_change_nothing(subject: str) -> None:
    assert read_entry(place_of(subject), 7, "dlq-dispatch-i-3") is None


@pytest.mark.parametrize(("invocation_id", "sequence"), [("", 42), ("i", 42), ("order-17", 42), ("17", 4), ("1-2", 3)])
def test_a_dead_letter_names_the_one_message_that_it_buries(invocation_id: str, sequence: int) -> None:
    """Numbers in the invocation's own id must not bury a stranger that has such a sequence."""
    message_id = dead_letter_message_id(Source.DISPATCH, invocation_id, sequence, AT)
    assert read(SUBJECTS.dead_letter(Source.DISPATCH, "p"), message_id) == Buried(sequence)


@pytest.mark.parametrize("message_id", ["", "dlq-dispatch-i", "somebody's own", "dlq-dispatch-i-3x"])
def test_a_dead_letter_without_a_sequence_buries_nothing(message_id: str) -> None:
    assert read(SUBJECTS.dead_letter(Source.DISPATCH, "p"), message_id) is None
