"""Programs with streams of their own: pipes, a terminal, and what is left when they have ended."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from simulator.processes.descriptors import Descriptors, Output, end_session, resize
from simulator.processes.spawn import Processes, Streams

ENV = {"PATH": "/usr/bin:/bin"}
WAIT_S = 20

pytestmark = pytest.mark.e2e


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes() as owner, asyncio.timeout(WAIT_S):
        yield owner


def has_ended(pid: int) -> bool:
    """Whether a process that was told to end does so within the time; it is not a child of ours."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


async def read_all(output: Output) -> bytes:
    chunks = b""
    while chunk := await output.read():
        chunks += chunk
    return chunks


async def test_each_stream_has_its_pipe(processes: Processes, tmp_path: Path) -> None:
    with Descriptors() as descriptors:
        (out, output), (err, error) = descriptors.pipe_from_child(), descriptors.pipe_from_child()
        into, given = descriptors.pipe_to_child()
        script = "cat; echo wrong >&2; ls /proc/self/fd | wc -l"
        process = await processes.start_with(Streams(output, error, given), ["sh", "-c", script], env=ENV, cwd=tmp_path)
        for descriptor in (output, error, given):
            descriptors.close(descriptor)
        text = b"0123456789abcde\n" * 20_000  # more than a pipe holds

        async def write() -> None:
            await descriptors.write_all(into, text)
            descriptors.close(into)

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            said, complaint = group.create_task(read_all(Output(out))), group.create_task(read_all(Output(err)))
        # Standard input, output and error, and the directory that is listed: no other descriptor came along.
        assert (said.result(), complaint.result()) == (text + b"4\n", b"wrong\n")
        assert await process.wait() == 0


async def test_who_waits_to_write_is_told_when_the_descriptor_is_closed() -> None:
    """Its number may be another's right after that: what the event loop watches must not be left behind."""
    with Descriptors() as descriptors, Descriptors() as others:
        ours, _childs = descriptors.pipe_to_child()
        writing = asyncio.create_task(descriptors.write_all(ours, bytes(1 << 20)))
        await asyncio.sleep(0)
        descriptors.close(ours)
        assert ours in others.pipe_to_child()
        asyncio.get_running_loop().add_writer(ours, lambda: None)
        with pytest.raises(BrokenPipeError):
            await writing
        assert asyncio.get_running_loop().remove_writer(ours), "another's watch must stay"


async def test_a_terminal_is_the_controlling_one_and_has_a_size(processes: Processes, tmp_path: Path) -> None:
    with Descriptors() as descriptors:
        ours, childs = descriptors.terminal()
        resize(ours, 100, 30)
        process = await processes.start_with(
            Streams(output=childs, input=childs), ["sh", "-c", "stty size < /dev/tty"], env=ENV, cwd=tmp_path
        )
        descriptors.close(childs)
        assert await read_all(Output(ours)) == b"30 100\r\n"
        assert await process.wait() == 0


async def test_output_that_another_process_keeps_open_has_an_end_all_the_same() -> None:
    with Descriptors() as descriptors:
        reader, writer = descriptors.pipe_from_child()
        output = Output(reader)
        os.write(writer, b"last words")
        output.end()
        async with asyncio.timeout(WAIT_S):
            assert await read_all(output) == b"last words"


async def test_what_another_process_goes_on_to_write_is_not_read() -> None:
    with Descriptors() as descriptors:
        reader, writer = descriptors.pipe_from_child()
        output = Output(reader)
        os.write(writer, b"last words")
        output.end()
        os.write(writer, b", and no end")
        async with asyncio.timeout(WAIT_S):
            assert len(await read_all(output)) <= len(b"last words, and no end")
        os.write(writer, b"more")
        assert await output.read() == b""


async def test_who_waits_for_output_is_told_of_the_end() -> None:
    with Descriptors() as descriptors:
        output = Output(descriptors.pipe_from_child()[0])
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            reading = group.create_task(output.read())
            group.create_task(asyncio.to_thread(lambda: None)).add_done_callback(lambda _: output.end())
        assert reading.result() == b""


async def test_the_jobs_of_a_shell_end_with_its_session(processes: Processes, tmp_path: Path) -> None:
    with Descriptors() as descriptors:
        reader, writer = descriptors.pipe_from_child()
        process = await processes.start_with(
            Streams(writer), ["bash", "-c", "set -m; sleep 600 & echo $!"], env=ENV, cwd=tmp_path
        )
        descriptors.close(writer)
        job = int(await Output(reader).read())
        await process.wait()
        assert psutil.pid_exists(job)
        end_session(process.pid)
        while await Output(reader).read():  # its last descriptor is closed when it is gone
            pass
    assert await asyncio.to_thread(has_ended, job)


async def test_a_closed_descriptor_is_not_closed_again() -> None:
    with Descriptors() as descriptors:
        reader, writer = descriptors.pipe_from_child()
        descriptors.close(writer)
        taken = os.dup(reader)  # gets the number that has become free
        descriptors.close(writer)
        assert os.fstat(taken)
        os.close(taken)
