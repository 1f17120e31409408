"""Workers' events on their way into the roster: in order, and of calls that begin and end in a row only the last."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from sidecar.messages import Event, WorkerMetricMessage, encode
from sidecar.queue import Delivery, Queue
from simulator.activator.roster import Roster
from simulator.activator.worker_events import WorkerEvents

START = datetime(2026, 3, 4, tzinfo=UTC)
STARTED, FINISHED, FAILED = Event.STARTED, Event.FINISHED, Event.FAILED


@dataclass
class StubDelivery:
    sequence: int
    data: bytes
    stored_at: float


class StubRoster:
    """Notes what it hears, as worker, type, second of the report, and when."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, int, float]] = []

    def hear(self, event: WorkerMetricMessage, at: float) -> None:
        second = (event.reported_at - START).seconds
        self.heard.append((event.worker_name, event.event_type, second, at))


def event(worker: str, kind: str, second: int) -> bytes:
    return encode(
        WorkerMetricMessage(
            serverless_request_id="p",
            worker_name=worker,
            worker_namespace="n",
            event_type=kind,
            reported_at=START + timedelta(seconds=second),
        )
    )


def heard(*data: bytes) -> list[tuple[str, str, int, float]]:
    roster = StubRoster()
    events = WorkerEvents(cast("Queue", None), cast("Roster", roster))
    batch = [StubDelivery(number, each, float(number)) for number, each in enumerate(data, 1)]
    events._hear(cast("list[Delivery]", batch))
    return roster.heard


def test_calls_in_a_row_are_heard_as_one_for_each_worker() -> None:
    said = [event("w", STARTED, 1), event("v", STARTED, 1), event("w", FINISHED, 2), event("w", FAILED, 2)]
    assert heard(*said) == [("v", STARTED, 1, 2.0), ("w", FAILED, 2, 4.0)]


@pytest.mark.parametrize(
    "kind", [Event.REGISTERED, Event.DEREGISTERED, Event.HEARTBEAT, Event.FRAMEWORK_UNHEALTHY, "of_a_newer_sidecar"]
)
def test_a16_every_other_event_is_heard_in_its_place(kind: str) -> None:
    said = [event("w", STARTED, 1), event("w", FINISHED, 2), event("w", kind, 3), event("w", kind, 4)]
    assert heard(*said, event("w", STARTED, 5)) == [
        ("w", FINISHED, 2, 2.0),
        ("w", kind, 3, 3.0),
        ("w", kind, 4, 4.0),
        ("w", STARTED, 5, 5.0),
    ]


def test_a16_an_older_report_does_not_take_the_place_of_a_newer_one() -> None:
    assert heard(event("w", FINISHED, 2), event("w", STARTED, 1)) == [("w", FINISHED, 2, 1.0), ("w", STARTED, 1, 2.0)]


def test_what_is_no_event_is_left_out() -> None:
    assert heard(b"", event("w", STARTED, 1), b"{}") == [("w", STARTED, 1, 2.0)]
