"""Logs as files: lines and their times, reading on, following, and which file is asked for."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.kube.pod_streams import LogOptions
from simulator.kube.status import ApiFailure
from simulator.kubelet.log_files import CHUNK_BYTES, STAMP, Line, LogCollector, LogReader, times_of
from simulator.kubelet.serving import chunks_of, log_file
from simulator.kubelet.states import ContainerKind, ContainerRecord, Running, State, Terminated, Waiting
from simulator.kubelet.timestamps import now

SECOND_NS = 10**9
WAIT_S = 20


def write_log(directory: Path, *lines: bytes) -> Path:
    """A log whose n-th line came after n seconds."""
    log = directory / "main.log"
    places = [sum(map(len, lines[:number])) for number in range(len(lines))]
    log.write_bytes(b"".join(lines))
    stamps = (STAMP.pack(place, number * SECOND_NS) for number, place in enumerate(places, 1))
    times_of(log).write_bytes(b"".join(stamps))
    return log


def read(log: Path, tail_lines: int | None = None, since_ns: int = 0, *, whole_only: bool = False) -> list[bytes]:
    with LogReader(log) as reader:
        reader.skip(tail_lines, since_ns)
        return [line.text for line in reader.lines(whole_only=whole_only)]


@pytest.mark.parametrize(
    ("tail_lines", "since_ns", "expected"),
    [
        (None, 0, [b"a\n", b"b\n", b"\n", b"c"]),
        (2, 0, [b"\n", b"c"]),
        (0, 0, []),
        (9, 0, [b"a\n", b"b\n", b"\n", b"c"]),
        (None, 2 * SECOND_NS, [b"b\n", b"\n", b"c"]),
        (None, 2 * SECOND_NS + 1, [b"\n", b"c"]),
        (1, 2 * SECOND_NS, [b"c"]),
        (3, 4 * SECOND_NS, [b"c"]),
        (None, 5 * SECOND_NS, []),
    ],
)
def test_which_lines_are_read(tmp_path: Path, tail_lines: int | None, since_ns: int, expected: list[bytes]) -> None:
    assert read(write_log(tmp_path, b"a\n", b"b\n", b"\n", b"c"), tail_lines, since_ns) == expected


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"a\n", b"b")
    with LogReader(log) as reader:
        assert [line.text for line in reader.lines(whole_only=True)] == [b"a\n"]
        with log.open("ab") as file:
            file.write(b"c\n")
        assert list(reader.lines(whole_only=True)) == [Line(b"bc\n", 2 * SECOND_NS)]


def test_a_very_long_line_comes_in_pieces_with_one_time(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"x" * (CHUNK_BYTES + 1) + b"\n", b"y\n")
    with LogReader(log) as reader:
        lines = list(reader.lines(whole_only=True))
    assert [(len(line.text), line.time_ns, line.continued) for line in lines] == [
        (CHUNK_BYTES, SECOND_NS, False),
        (2, SECOND_NS, True),
        (2, 2 * SECOND_NS, False),
    ]
    assert b"".join(line.stamped() for line in lines).count(b"1970-01-01T00:00:0") == 2


def test_a_reader_stays_with_its_log(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"a\n")
    with LogReader(log) as reader:
        log.rename(log.with_suffix(".previous.log"))
        log.write_bytes(b"another\n")
        assert [line.text for line in reader.lines(whole_only=True)] == [b"a\n"]


def test_a_time_has_nanoseconds() -> None:
    assert Line(b"text\n", 1_800_000_000_000_000_007).stamped() == b"2027-01-15T08:00:00.000000007Z text\n"


def record(state: State, last: Terminated | None = None) -> ContainerRecord:
    return ContainerRecord("main", "image", ContainerKind.MAIN, state, last)


ENDED = Terminated(1, "Error", None)


@pytest.mark.parametrize(
    ("state", "last", "previous", "expected"),
    [
        (Running(now(), "1"), None, False, "main.log"),
        (Running(now(), "2"), ENDED, False, "main.log"),
        (Running(now(), "2"), ENDED, True, "main.previous.log"),
        (ENDED, None, False, "main.log"),
        (ENDED, ENDED, True, "main.previous.log"),
        (Waiting("CrashLoopBackOff"), ENDED, False, "main.log"),
        (Waiting("CrashLoopBackOff"), ENDED, True, "main.log"),
    ],
)
def test_which_log_is_asked_for(state: State, last: Terminated | None, previous: bool, expected: str) -> None:
    assert log_file(record(state, last), Path("main.log"), "p", previous=previous) == Path(expected)


@pytest.mark.parametrize(
    ("state", "previous", "problem"),
    [
        (Waiting("ContainerCreating"), False, 'container "main" in pod "p" is waiting to start: ContainerCreating'),
        (Waiting("ErrImagePull"), False, 'container "main" in pod "p" is waiting to start: image can\'t be pulled'),
        (
            Waiting("ImagePullBackOff"),
            False,
            'container "main" in pod "p" is waiting to start: trying and failing to pull image',
        ),
        (Waiting("ContainerCreating"), True, 'previous terminated container "main" in pod "p" not found'),
        (Running(now(), "1"), True, 'previous terminated container "main" in pod "p" not found'),
    ],
)
def test_there_is_no_log(state: State, previous: bool, problem: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        log_file(record(state), Path("main.log"), "p", previous=previous)
    assert (failure.value.code, str(failure.value)) == (400, problem)


async def collected(log: Path, output: LogCollector | None, options: LogOptions) -> AsyncIterator[bytes]:
    with LogReader(log) as reader:
        reader.skip(options.tail_lines, options.since_ns)
        async for chunk in chunks_of(reader, output, options):
            yield chunk


async def test_a_log_is_cut_after_so_many_bytes(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"one\n", b"two\n")
    for limit, expected in ((3, b"one"), (5, b"one\nt"), (99, b"one\ntwo\n")):
        options = LogOptions(limit_bytes=limit)
        assert b"".join([chunk async for chunk in collected(log, None, options)]) == expected
    stamped = [chunk async for chunk in collected(log, None, LogOptions(limit_bytes=25, timestamps=True))]
    assert stamped == [b"1970-01-01T00:00:01.00000"]


async def test_a_followed_log_is_told_of_each_write_and_of_its_end(tmp_path: Path) -> None:
    log = tmp_path / "main.log"
    with LogCollector(log) as output:
        pipe = os.open(output.inlet, os.O_WRONLY)
        following = collected(log, output, LogOptions(follow=True))
        async with asyncio.timeout(WAIT_S):
            os.write(pipe, b"one\ntw")
            assert await anext(following) == b"one\n"
            os.write(pipe, b"o\nthree")
            assert await anext(following) == b"two\n"
        os.close(pipe)
    async with asyncio.timeout(WAIT_S):
        assert [chunk async for chunk in following] == [b"three"]


async def test_who_stops_following_is_not_told_any_more(tmp_path: Path) -> None:
    with LogCollector(tmp_path / "main.log") as output:
        with output.followed() as changed:
            pass
        pipe = os.open(output.inlet, os.O_WRONLY)
        os.write(pipe, b"one\n")
        os.close(pipe)
        output.drain()
        assert not changed.is_set()
    assert not changed.is_set()
