"""Clients that are attached to a program, which is played by the test."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from simulator.kube.pod_streams import StreamOptions, TerminalSize
from simulator.kubelet.console import Console
from simulator.kubelet.log_files import LogCollector
from simulator.processes.descriptors import Output

WAIT_S = 20
MUCH = 1 << 18
"""More than a pipe holds."""
OPTIONS = StreamOptions(stdin=True, stdout=True)


class Client:
    """Sends what it is given, and stays until it `goes`."""

    def __init__(self, *sends: bytes) -> None:
        self.sends = sends
        self.sent = asyncio.Event()
        self.goes = asyncio.Event()

    async def received(self) -> AsyncGenerator[bytes | TerminalSize, None]:
        for item in self.sends:
            yield item
        self.sent.set()
        await self.goes.wait()

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        raise AssertionError


@contextmanager
def console_of(directory: Path, **spec: bool) -> Iterator[Console]:
    with LogCollector(directory / "main.log") as output, Console({"stdin": True, **spec}, output) as console:
        yield console


async def read(descriptor: int, size: int) -> bytes:
    os.set_blocking(descriptor, False)
    output, data = Output(descriptor), b""
    async with asyncio.timeout(WAIT_S):
        while len(data) < size and (chunk := await output.read()):
            data += chunk
    return data


async def test_two_clients_write_one_after_the_other(tmp_path: Path) -> None:
    clients = Client(b"a" * MUCH), Client(b"b" * MUCH)
    with console_of(tmp_path) as console:
        attached = [asyncio.create_task(console.attach(OPTIONS, client)) for client in clients]
        assert await read(console.streams.input, 2 * MUCH) == b"a" * MUCH + b"b" * MUCH
        for client in clients:
            client.goes.set()
        assert [await task for task in attached] == [False, False]


async def test_who_ends_the_input_for_all_does_not_leave_a_writer_behind(tmp_path: Path) -> None:
    writes, ends = Client(b"a" * MUCH), Client(b"")
    with console_of(tmp_path, stdinOnce=True) as console:
        first = asyncio.create_task(console.attach(OPTIONS, writes))
        second = asyncio.create_task(console.attach(OPTIONS, ends))
        async with asyncio.timeout(WAIT_S):
            await ends.sent.wait()
            await writes.sent.wait()
        taken = await read(console.streams.input, MUCH + 1)
        assert 0 < len(taken) < MUCH, "then its end"
        for client in (writes, ends):
            client.goes.set()
        assert (await first, await second) == (False, False)
