"""A client's command in a container, with a process that is played by the test."""

import asyncio
import os
from collections.abc import AsyncGenerator
from typing import Literal, cast

import pytest

from simulator.kube.pod_streams import ExecOptions, TerminalSize
from simulator.kubelet import command
from simulator.kubelet.execution import Execution
from simulator.processes.descriptors import Descriptors
from simulator.processes.process import Process
from simulator.processes.spawn import Streams

PID = 4711


class Stuck:
    """A process that cannot be killed."""

    pid = PID

    async def wait(self) -> int:
        await asyncio.Event().wait()
        raise AssertionError

    async def kill(self) -> int:
        raise TimeoutError("it hangs in the kernel")


class Started:
    """What a command is started with."""

    async def start_with(self, streams: Streams, command: tuple[str, ...], *, tty: bool) -> Process:
        del streams, command, tty
        return cast("Process", Stuck())


class Gone:
    """A client that goes at once."""

    async def received(self) -> AsyncGenerator[bytes | TerminalSize, None]:
        items: list[bytes] = []
        for item in items:
            yield item

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        raise AssertionError


async def test_what_a_command_left_is_killed_even_if_the_command_itself_cannot_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(command, "end_session", ended.append)
    options = ExecOptions(("sleep", "600"), stdout=True)
    running = command.Command(cast("Execution", Started()), options, Gone())
    with pytest.raises(ExceptionGroup) as failed:
        await running.run(cast("Process", Stuck()))
    assert failed.group_contains(TimeoutError)
    assert ended == [PID]


class Talks:
    """A process that ends when all it says has been taken."""

    pid = PID

    def __init__(self, output: int) -> None:
        self._descriptors = Descriptors()
        self._output = self._descriptors.keep(os.dup(output))
        os.set_blocking(self._output, False)

    async def wait(self) -> int:
        with self._descriptors:
            await self._descriptors.write_all(self._output, bytes(1 << 20))
        return 0

    async def kill(self) -> int:
        return 0


class Talking:
    async def start_with(self, streams: Streams, command: tuple[str, ...], *, tty: bool) -> Process:
        del command, tty
        return cast("Process", Talks(streams.output))


class Deaf:
    """A client that stays, and has closed its end of the output."""

    async def received(self) -> AsyncGenerator[bytes | TerminalSize, None]:
        await asyncio.Event().wait()
        yield b""

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        raise ConnectionResetError


async def test_a_command_whose_output_nobody_takes_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "end_session", lambda _: None)
    running = command.Command(cast("Execution", Talking()), ExecOptions(("yes",), stdout=True), Deaf())
    async with asyncio.timeout(20):
        assert await running.run(cast("Process", Stuck())) == 0
