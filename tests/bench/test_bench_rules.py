"""When a measured run counts as right, how its figures are summed up, and that the lean parser loses nothing."""

import asyncio
from typing import cast

import msgspec
import pytest

from tests.bench.lean_jetstream import ConsumerState
from tests.bench.lean_nats import LeanNats
from tests.bench.report import percentile_us
from tests.bench.verification import outcomes, problems

Record = tuple[str, bytes]

STARTED, FINISHED, FAILED = "invocation_started", "invocation_finished", "invocation_failed"


def record(family: str, **fields: str) -> Record:
    return f"runtime.serverless.{family}.pool", msgspec.json.encode(fields)


def right(invocation_id: str) -> list[Record]:
    return [
        record("metrics", invocationID=invocation_id, eventType=STARTED),
        record("result", invocationID=invocation_id, state="succeeded"),
        record("metrics", invocationID=invocation_id, eventType=FINISHED),
    ]


def consumer(deliveries: int = 2, pending: int = 0, unacknowledged: int = 0, redelivered: int = 0) -> ConsumerState:
    return ConsumerState(pending, unacknowledged, redelivered, {"consumer_seq": deliveries})


RIGHT = [*right("a"), *right("b"), record("metrics", eventType="registered")]


def test_everything_once_is_right() -> None:
    assert problems(["a", "b"], outcomes(RIGHT), consumer()) == []


@pytest.mark.parametrize(
    ("records", "found"),
    [
        (RIGHT[1:], ["1 missing: invocation_started a"]),
        ([*RIGHT, RIGHT[1]], ["1 too much: result succeeded a"]),
        ([*RIGHT, RIGHT[2]], ["1 too much: invocation_finished a"]),
        ([*RIGHT, record("dlq.dispatch")], ["1 too much: dead letter"]),
        ([*RIGHT, *right("c")[:1]], ["1 too much: invocation_started c"]),
        (
            [*right("a"), *right("b")[:1], record("result", invocationID="b", state="failed"), *right("b")[2:]],
            ["1 missing: result succeeded b", "1 too much: result failed b"],
        ),
        ([], ["6 missing: invocation_finished a, invocation_finished b, invocation_started a ..."]),
    ],
)
def test_what_the_stream_must_hold(records: list[Record], found: list[str]) -> None:
    assert problems(["a", "b"], outcomes(records), consumer()) == found


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (consumer(pending=1, deliveries=1), ["1 dispatches not delivered, 0 not acknowledged", "1 deliveries of 2"]),
        (consumer(unacknowledged=2), ["0 dispatches not delivered, 2 not acknowledged"]),
        (consumer(deliveries=3), ["3 deliveries of 2 dispatches"]),
        (consumer(redelivered=1), ["2 deliveries of 2 dispatches"]),
    ],
)
def test_what_the_consumer_must_say(state: ConsumerState, found: list[str]) -> None:
    reported = problems(["a", "b"], outcomes(RIGHT), state)
    assert len(reported) == len(found)
    assert all(line.startswith(wanted) for line, wanted in zip(reported, found, strict=True))


@pytest.mark.parametrize(("percent", "expected"), [(50, 2_000_000), (99, 4_000_000), (100, 4_000_000)])
def test_percentiles_are_nearest_ranks(percent: int, expected: float) -> None:
    assert percentile_us([3.0, 1.0, 4.0, 2.0], percent) == expected


class Transport:
    """Collects what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


RECEIVED = (
    b"INFO {}\r\nPONG\r\nMSG in.1 1 2\r\nhi\r\nPING\r\n"
    b"MSG in.2 1 back.to 4\r\n\r\n\r\n\r\n"
    b"HMSG in.3 1 15 18\r\nNATS/1.0\r\nA\r\n\r\nyes\r\n"
    b"HMSG in.4 1 back 12 12\r\nNATS/1.0\r\n\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(RECEIVED)])
async def test_messages_arrive_whole_however_they_are_cut(size: int) -> None:
    nats, transport = LeanNats(), Transport()
    nats.connection_made(cast("asyncio.BaseTransport", transport))
    taken: list[tuple[bytes, bytes, bytes]] = []
    nats.subscribe(b"in.*", lambda subject, reply, body: taken.append((subject, reply, body)))
    for start in range(0, len(RECEIVED), size):
        nats.data_received(RECEIVED[start : start + size])
    await asyncio.sleep(0)
    assert taken == [
        (b"in.1", b"", b"hi"),
        (b"in.2", b"back.to", b"\r\n\r\n"),
        (b"in.3", b"", b"yes"),
        (b"in.4", b"back", b""),
    ]
    assert transport.written.endswith(b"SUB in.* 1\r\nPONG\r\n")
