"""Logs as files: lines and their times, reading on, following, and which file is asked for."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.kube.pod_streams import LogOptions
from simulator.kube.status import ApiFailure
from simulator.kube.timestamps import now
from simulator.kubelet.execution import rotate
from simulator.kubelet.log_files import CHUNK_BYTES, STAMP, LogCollector, older_logs, times_of
from simulator.kubelet.log_reading import LogReader, with_times
from simulator.kubelet.serving import chunks_of, log_file
from simulator.kubelet.states import ContainerKind, ContainerRecord, Running, State, Terminated, Waiting

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


def read(log: Path, tail_lines: int | None = None, since_ns: int = 0) -> bytes:
    with LogReader(log) as reader:
        reader.skip(tail_lines, since_ns)
        return reader.read()


@pytest.mark.parametrize(
    ("tail_lines", "since_ns", "expected"),
    [
        (None, 0, b"a\nb\n\nc"),
        (2, 0, b"\nc"),
        (0, 0, b""),
        (9, 0, b"a\nb\n\nc"),
        (None, 2 * SECOND_NS, b"b\n\nc"),
        (None, 2 * SECOND_NS + 1, b"\nc"),
        (1, 2 * SECOND_NS, b"c"),
        (3, 4 * SECOND_NS, b"c"),
        (None, 5 * SECOND_NS, b""),
    ],
)
def test_which_lines_are_read(tmp_path: Path, tail_lines: int | None, since_ns: int, expected: bytes) -> None:
    assert read(write_log(tmp_path, b"a\n", b"b\n", b"\n", b"c"), tail_lines, since_ns) == expected


def test_the_last_lines_of_a_large_log(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"".join(b"%d\n" % number for number in range(50_000)))
    assert read(log, 3) == b"49997\n49998\n49999\n"
    with LogReader(log) as reader:
        reader.skip(40_000, 0)
        assert reader.read().startswith(b"10000\n10001\n")


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"a\n", b"b")
    with LogReader(log) as reader:
        assert reader.read(whole_lines=True) == b"a\n"
        with log.open("ab") as file:
            file.write(b"c\n")
        assert reader.read(whole_lines=True, stamped=True) == b"1970-01-01T00:00:02.000000000Z bc\n"
        assert reader.read(whole_lines=True) == b""


def test_a_very_long_line_comes_in_pieces_with_one_time(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"x" * (CHUNK_BYTES + 1) + b"\n", b"y\n")
    with LogReader(log) as reader:
        first, second = (reader.read(whole_lines=True, stamped=True) for _ in range(2))
    assert first == b"1970-01-01T00:00:01.000000000Z " + b"x" * CHUNK_BYTES
    assert second == b"x\n1970-01-01T00:00:02.000000000Z y\n"


def test_a_reader_stays_with_its_log(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"a\n")
    with LogReader(log) as reader:
        log.rename(log.with_suffix(".previous.log"))
        log.write_bytes(b"another\n")
        assert reader.read() == b"a\n"


def test_a_time_has_nanoseconds() -> None:
    stamped = with_times(b"one\n\ntwo", 1_800_000_000_000_000_007)
    time = b"2027-01-15T08:00:00.000000007Z "
    assert stamped == time + b"one\n" + time + b"\n" + time + b"two"


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


def test_the_log_of_a_run_that_nobody_is_told_of_yet_is_not_shown() -> None:
    waits = record(Waiting("CrashLoopBackOff"), ENDED)
    for previous in (False, True):
        found = log_file(waits, Path("main.log"), "p", previous=previous, starting=True)
        assert found == Path("main.previous.log")


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
    with LogReader(log, output) as reader:
        reader.skip(options.tail_lines, options.since_ns)
        async for chunk in chunks_of(reader, options):
            yield chunk


async def test_a_log_is_cut_after_so_many_bytes(tmp_path: Path) -> None:
    log = write_log(tmp_path, b"one\n", b"two\n")
    for limit, expected in ((3, b"one"), (5, b"one\nt"), (99, b"one\ntwo\n")):
        options = LogOptions(limit_bytes=limit)
        assert b"".join([chunk async for chunk in collected(log, None, options)]) == expected
    stamped = [chunk async for chunk in collected(log, None, LogOptions(limit_bytes=25, timestamps=True))]
    assert stamped == [b"1970-01-01T00:00:01.00000"]


def put(output: LogCollector, data: bytes) -> None:
    """Write as the program does, and have it taken into the log."""
    for begin in range(0, len(data), CHUNK_BYTES):
        os.write(output.childs_end, data[begin : begin + CHUNK_BYTES])
        output.drain()


def sizes_in(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in directory.iterdir()}


async def test_a_followed_log_is_told_of_each_write_and_of_its_end(tmp_path: Path) -> None:
    log = tmp_path / "main.log"
    with LogCollector(log) as output:
        following = collected(log, output, LogOptions(follow=True))
        async with asyncio.timeout(WAIT_S):
            os.write(output.childs_end, b"one\ntw")
            assert await anext(following) == b"one\n"
            os.write(output.childs_end, b"o\nthree")
            assert await anext(following) == b"two\n"
    async with asyncio.timeout(WAIT_S):
        assert [chunk async for chunk in following] == [b"three"]


async def test_one_stamp_is_kept_for_all_lines_that_come_at_once(tmp_path: Path) -> None:
    log = tmp_path / "main.log"
    with LogCollector(log) as output:
        for part in (b"one\n" * 1000, b"two", b"-and-a-half", b"\nthree\nfour"):
            put(output, part)
    assert [place for place, _ in STAMP.iter_unpack(times_of(log).read_bytes())] == [0, 4000, 4015]


async def test_the_log_of_a_flood_takes_no_more_than_its_share_of_the_disk(tmp_path: Path) -> None:
    log = tmp_path / "main.log"
    line = b"x" * 99 + b"\n"
    with LogCollector(log, max_bytes=1000) as output:
        for number in range(100):
            put(output, b"%04d" % number + line[4:])
    assert sorted(sizes_in(tmp_path)) == [
        "main.1.log",
        "main.2.log",
        "main.3.log",
        "main.4.log",
        "main.log",
        "main.times",
    ]
    assert max(sizes_in(tmp_path).values()) <= 1100
    text = b"".join(path.read_bytes() for path in (*reversed(older_logs(log)), log))
    lines = [int(line[:4]) for line in text.splitlines()]
    assert lines == list(range(100 - len(lines), 100))  # whole, in their order, up to the last
    assert read(log) == log.read_bytes()
    rotate(log)
    assert sorted(sizes_in(tmp_path)) == ["main.previous.log", "main.previous.times"]


async def test_a_flood_without_line_breaks_is_cut_anywhere(tmp_path: Path) -> None:
    log = tmp_path / "main.log"
    with LogCollector(log, max_bytes=1000) as output:
        put(output, b"x" * (5 * CHUNK_BYTES))
    assert max(sizes_in(tmp_path).values()) <= 1000 + 2 * CHUNK_BYTES
    with LogReader(log) as reader:
        assert reader.read(stamped=True).startswith(b"20")  # the rest of a line has a time, too


async def test_a_follower_misses_nothing_when_the_log_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "main.log"
    with LogCollector(log, max_bytes=50) as output:
        following = collected(log, output, LogOptions(follow=True))
        told: list[bytes] = []
        async with asyncio.timeout(WAIT_S):
            for number in range(20):
                os.write(output.childs_end, b"line %d\n" % number)
                told.append(await anext(following))
        assert output.rotations > 2
    assert told == [b"line %d\n" % number for number in range(20)]
    assert [chunk async for chunk in following] == []


async def test_a_follower_of_a_container_that_is_gone_comes_to_an_end(tmp_path: Path) -> None:
    log = tmp_path / "main.log"
    with LogCollector(log, max_bytes=50) as output:
        following = collected(log, output, LogOptions(follow=True))
        put(output, b"one\n")
        assert await anext(following) == b"one\n"
        put(output, b"two\n")
        while not output.rotations:
            put(output, b"more\n")
    shutil.rmtree(tmp_path)
    rest = b"".join([chunk async for chunk in following])
    assert rest.startswith(b"two\nmore\n"), "it has that log open"


async def test_who_stops_following_is_not_told_any_more(tmp_path: Path) -> None:
    with LogCollector(tmp_path / "main.log") as output:
        with output.followed() as changed:
            pass
        put(output, b"one\n")
        assert not changed.is_set()
    assert not changed.is_set()
