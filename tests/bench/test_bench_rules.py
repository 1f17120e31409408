"""When a measured run counts as right, how its figures are summed up, and that the lean clients lose nothing."""

import asyncio
from dataclasses import replace
from typing import cast

import msgspec
import pytest

from tests.bench.lean_callers import Callers, CallersError, Connection
from tests.bench.lean_jetstream import ConsumerState
from tests.bench.lean_nats import LeanNats
from tests.bench.path_report import PARTS, Round, report_of
from tests.bench.path_tables import show
from tests.bench.path_workload import Run
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


def run(kind: str, mode: str = "sync", workers: int = 1, callers: int = 64, *, rate: float = 100.0) -> Run:
    parts = [part for part in PARTS if part != "platform" or kind == "ours"]
    return Run(
        kind=kind,
        mode=mode,
        workers=workers,
        callers=callers,
        invocations=3,
        per_second=rate,
        completed_per_second=rate / 2,
        seconds=(0.004, 0.002, 0.003),
        cpu_us=dict.fromkeys(parts, 10.0),
        callers_busy=0.25,
    )


def rounds_of(*runs: Run) -> list[Round]:
    return [Round(floor_s={1: (0.001,), 4: (0.002,)}, runs=list(runs))]


def test_a_path_is_compared_with_the_plain_one_of_the_same_shape_and_with_its_own_floor() -> None:
    some, other = [run("ours", rate=300), run("plain")], [run("ours", workers=4, rate=90), run("plain", workers=4)]
    rows = report_of(rounds_of(*other, *some), 0.0).rows
    assert [(row.workers, row.kind) for row in rows] == [(1, "ours"), (1, "plain"), (4, "ours"), (4, "plain")]
    assert [row.to_plain for row in rows] == [3.0, 1.0, 0.9, 1.0]
    assert [row.p50_us for row in rows] == [3000.0] * 4
    assert [row.p50_to_floor for row in rows] == [3.0, 3.0, 1.5, 1.5]
    assert [row.total_us for row in rows] == [60.0, 50.0, 60.0, 50.0]


def test_the_sequential_path_is_compared_with_where_it_was_measured() -> None:
    with_it = [run("ours", rate=300), run("plain"), run("sequential", rate=50)]
    without = [run("ours", "async", rate=300), run("plain", "async")]
    rows = report_of(rounds_of(*with_it, *without), 0.0).rows
    assert [(row.kind, row.to_plain, row.to_sequential) for row in rows] == [
        ("ours", 3.0, 6.0),
        ("plain", 1.0, 2.0),
        ("sequential", 0.5, 1.0),
        ("ours", 3.0, None),
        ("plain", 1.0, None),
    ]
    assert [row.completed_to_sequential for row in rows] == [6.0, 2.0, 1.0, None, None]


def test_figures_of_a_path_are_medians_of_its_rounds() -> None:
    rounds = [found for rate in (100, 900, 300) for found in rounds_of(run("ours", rate=rate), run("plain"))]
    ours, plain = report_of(rounds, 0.0).rows
    assert (ours.per_second, ours.to_plain, ours.completed_to_plain, ours.invocations) == (300, 3, 3, 9)
    assert (plain.per_second, plain.to_plain) == (100, 1)


def test_the_goals_are_judged_by_our_path_alone() -> None:
    ours = [run("ours", callers=callers, rate=500) for callers in (1, 16, 64, 256)]
    ours += [run("ours", workers=4, rate=500), run("ours", "async", callers=256, rate=500)]
    plain = [replace(one, kind="plain", per_second=100.0, completed_per_second=50.0) for one in ours]
    slow = [replace(one, kind="sequential", per_second=40.0) for one in ours if one.workers > 1]
    found = report_of(rounds_of(*ours, *plain, *slow), 0.0).goals
    assert [(goal.what, goal.figure, goal.met(goal.first), goal.met(goal.then)) for goal in found] == [
        ("1 worker, 1 sync caller: p50, times the floor", 3.0, True, True),
        ("1 worker, 64 sync callers: CPU of the activator, µs", 10.0, True, True),
        ("4 workers, 64 sync callers: per second, times plain", 5.0, True, False),
        ("4 workers, 64 sync callers: per second, times sequential", 12.5, True, True),
        ("4 workers, 64 sync callers: CPU of the activator, µs", 10.0, True, True),
        ("1 worker, 256 async callers: submitted per second, times plain", 5.0, True, True),
        ("1 worker, 256 async callers: completed per second, times plain", 5.0, False, False),
    ]


def test_a_report_of_paths_is_shown_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(report_of(rounds_of(run("ours", rate=700), run("plain")), 0.0))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ours", "sync", "1", "64", "700", "7.0", "3.0", "4.0", "3.0"] in lines
    assert ["ours", "sync", "1", "64", *["10"] * len(PARTS), "60", "25%"] in lines
    assert ["plain", "sync", "1", "64", *["10"] * (len(PARTS) - 1), "50", "25%"] in lines


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


ANSWERS = (
    answer("202 Accepted", b'{"data":{"invocationID":"one"}}'),
    answer("200 OK", b'{"data":{"invocationID":"two","state":"succeeded"}}'),
    answer("200 OK", b'{"data":{"invocationID":"three","state":"failed"}}'),
    answer("200 OK", b"[]"),
    answer("503 Service Unavailable", b'{"error":{}}'),
)


def one_caller() -> tuple[Callers, Connection, Transport]:
    callers, transport = Callers("api:1"), Transport()
    connection = Connection(callers._on_lost)
    connection.connection_made(cast("asyncio.BaseTransport", transport))
    callers._connections.append(connection)
    return callers, connection, transport


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_caller_calls_again_with_each_answer_and_tells_the_refused_from_the_accepted(size: int) -> None:
    callers, connection, transport = one_caller()
    calling = asyncio.create_task(callers.call(b"{}", len(ANSWERS)))
    for number, whole in enumerate(ANSWERS, start=1):
        await asyncio.sleep(0)
        assert transport.written.count(b"POST /api/v1/serverless/invocations HTTP/1.1\r\nHost: api:1\r\n") == number
        for start in range(0, len(whole), size):
            connection.data_received(whole[start : start + size])
    calls = await calling
    assert transport.written.count(b"POST ") == transport.written.count(b"\r\n\r\n{}") == len(calls.seconds) == 5
    assert calls.accepted == ["one", "two", "three"]
    failed, no_answer, refused = calls.refused
    assert failed == "three ended as failed"
    assert no_answer.startswith("200, but ")
    assert refused == '503 {"error":{}}'


async def test_a_connection_that_is_lost_under_a_call_ends_the_calling() -> None:
    callers, connection, _ = one_caller()
    calling = asyncio.create_task(callers.call(b"{}", 1))
    await asyncio.sleep(0)
    connection.connection_lost(None)
    with pytest.raises(CallersError):
        await calling
    with pytest.raises(CallersError):
        await callers.call(b"{}", 1)
