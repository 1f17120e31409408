"""Connections to a pod's ports, with servers of the test's own."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from simulator.kube.pod_streams import PortForwardError
from simulator.kubelet import forwarding
from simulator.kubelet.forwarding import ForwardedPorts, listens

WAIT_S = 20
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Client:
    """Sends what it is given, then the end if `ends`, and keeps what it gets, until it `goes`."""

    def __init__(self, *sends: bytes, ends: bool = True) -> None:
        self.sends = list(sends)
        self.ends = ends
        self.got = b""
        self.told_end = asyncio.Event()
        self.goes = asyncio.Event()

    async def read(self) -> bytes:
        if self.sends:
            return self.sends.pop(0)
        if not self.ends:
            await asyncio.Event().wait()
        return b""

    async def lost(self) -> None:
        await self.goes.wait()

    async def write(self, data: bytes) -> None:
        self.got += data

    async def end(self) -> None:
        self.told_end.set()


@asynccontextmanager
async def serving(serve: Serve, host: str = "127.0.0.1") -> AsyncIterator[int]:
    ended = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            ended.set()

    async with await asyncio.start_server(serve_one, host, 0) as server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(WAIT_S):
            await ended.wait()


def ports(here: dict[int, int] | None = None, sessions: set[int] | None = None) -> ForwardedPorts:
    return ForwardedPorts("uid-1", here or {}, lambda: {os.getsid(0)} if sessions is None else sessions)


async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"%d" % len(await reader.read()))
    await writer.drain()


async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello")
    await writer.drain()


async def test_the_end_of_what_the_client_sends_is_handed_on() -> None:
    client = Client(b"x" * 100_000, b"yz")
    async with serving(count) as port, asyncio.timeout(WAIT_S):
        await ports().forward(port, client)
    assert (client.got, client.told_end.is_set()) == (b"100002", True)


async def test_the_end_of_what_the_pod_sends_ends_the_connection_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "LINGER_S", 0.01)
    client = Client(ends=False)
    async with serving(greet) as port, asyncio.timeout(WAIT_S):
        await ports().forward(port, client)
    assert (client.got, client.told_end.is_set()) == (b"hello", True)


async def test_a_port_may_have_another_number_here() -> None:
    client = Client(b"abc")
    async with serving(count) as port, asyncio.timeout(WAIT_S):
        await ports({8080: port}).forward(8080, client)
    assert client.got == b"3"


async def test_only_ports_of_the_pod_are_forwarded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortForwardError) as refused:
            await ports(sessions={1 << 30}).forward(port, Client())
    assert str(refused.value) == (
        f"error forwarding port {port} to pod uid-1, uid : failed to execute portforward in network namespace "
        f'"host": failed to connect to localhost:{port} inside namespace "uid-1", IPv4: dial tcp4 127.0.0.1:{port}: '
        f"connect: connection refused: no process of this pod listens on port {port}"
    )


def test_who_listens() -> None:
    ours = {os.getsid(0)}
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as bound:
        port = server.getsockname()[1]
        bound.bind(("127.0.0.1", 0))
        assert listens(ours, port)
        assert not listens(ours, bound.getsockname()[1])  # it has the port, and does not listen
        assert not listens({1 << 30}, port)
    with socket.create_server(("127.0.0.2", 0)) as server:
        assert not listens(ours, server.getsockname()[1])  # another may listen there at 127.0.0.1
    assert not listens(ours, port)


def test_whoever_takes_ipv6_only_has_not_the_port_of_ipv4() -> None:
    """Another program of this machine may have it."""
    code = (
        "import socket, sys; s = socket.create_server(('::', int(sys.argv[1])), family=socket.AF_INET6); "
        "print(flush=True); sys.stdin.read()"
    )
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        command = [sys.executable, "-c", code, str(port)]
        pod = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        with pod:
            assert pod.stdout
            assert pod.stdout.readline() == b"\n"
            assert not listens({pod.pid}, port)
            foreign.close()
            assert listens({pod.pid}, port)


async def test_a_client_that_resets_ends_the_connection_though_the_pod_says_and_reads_nothing() -> None:
    held = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await held.wait()

    client = Client(*[bytes(1 << 16)] * 400)
    async with serving(silent) as port, asyncio.timeout(WAIT_S):
        forwarding = asyncio.create_task(ports().forward(port, client))
        client.goes.set()
        await forwarding
        held.set()


async def test_a_connection_that_the_pod_breaks_is_an_error() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        taken = writer.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # to close is to reset

    async with serving(reset) as port, asyncio.timeout(WAIT_S):
        with pytest.raises(PortForwardError, match="read: connection reset by peer"):
            await ports().forward(port, Client(b"abc", ends=False))


async def test_a_client_that_goes_ends_the_connection() -> None:
    seen = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3)
        seen.set()
        await reader.read()

    async with serving(watch) as port, asyncio.timeout(WAIT_S):
        task = asyncio.create_task(ports().forward(port, Client(b"abc", ends=False)))
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
