"""The embedded API and its clients leave no connection open, whenever one of them ends."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest

from simulator.kube.access.credentials import Credentials
from simulator.kube.access.serving import HOST
from simulator.kube.client import Cluster
from simulator.kube.closing_transport import ClosingTransport
from simulator.kube.kinds import GPUUNIT
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.left_open import left_open, left_open_by_turn

Begin = Callable[[], None]


@pytest.fixture(scope="module")
def credentials() -> Credentials:
    return Credentials()


def port_of(server: KubeServer) -> int:
    return int(server.url.rpartition(":")[2])


def test_server_that_ends_while_somebody_connects() -> None:
    async def scenario(begin: Begin) -> None:
        async with KubeServer(ResourceStore()) as server:
            begin()
            _, writer = await asyncio.open_connection(HOST, port_of(server))
            writer.close()

    assert left_open_by_turn(scenario) == {}


def test_request_that_is_cancelled_in_the_middle_of_the_handshake(tmp_path: Path, credentials: Credentials) -> None:
    async def scenario() -> None:
        greeted = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            greeted.set()
            await reader.read()
            writer.close()

        async with KubeServer(ResourceStore(), credentials=credentials) as api:
            api.write_kubeconfig(tmp_path / "kubeconfig")
            port = port_of(api)
        server = await asyncio.start_server(silent, HOST, port)
        async with server, Cluster(tmp_path / "kubeconfig", field_manager="t") as cluster:
            request = asyncio.create_task(cluster.list(GPUUNIT))
            async with asyncio.timeout(5):
                await greeted.wait()
            request.cancel()
            await asyncio.wait([request])

    assert left_open(scenario()) == []


@pytest.mark.timeout(180)
def test_request_that_is_cancelled_at_any_time(credentials: Credentials) -> None:
    trusted = ssl.create_default_context(cadata=credentials.server.authority.decode())

    async def scenario(begin: Begin) -> None:
        async with KubeServer(ResourceStore(), credentials=credentials) as server:
            try:
                async with httpx2.AsyncClient(transport=ClosingTransport(trusted)) as client:
                    begin()
                    assert (await client.get(f"{server.url}/version")).status_code == 200
            finally:  # before the server ends what its clients left
                await asyncio.sleep(0)
                assert connections_to(port_of(server)) == []

    assert left_open_by_turn(scenario) == {}


def connections_to(port: int) -> list[int]:
    """Descriptors of this process that are connected to a port."""
    found = psutil.Process().net_connections("tcp")
    return [each.fd for each in found if each.fd != -1 and getattr(each.raddr, "port", None) == port]


def test_server_whose_client_never_says_goodbye(credentials: Credentials) -> None:
    """Nor hears that it is over: it neither reads nor closes."""
    trusted = ssl.create_default_context(cadata=credentials.server.authority.decode())

    with contextlib.ExitStack() as clients:

        def connect(port: int) -> None:
            plain = clients.enter_context(socket.create_connection((HOST, port)))
            clients.enter_context(trusted.wrap_socket(plain, server_hostname=HOST))

        async def scenario() -> None:
            async with KubeServer(ResourceStore(), credentials=credentials) as server:
                await asyncio.to_thread(connect, port_of(server))

        assert left_open(scenario()) == []


async def test_server_drops_a_client_in_the_middle_of_the_handshake(credentials: Credentials) -> None:
    async with KubeServer(ResourceStore(), credentials=credentials) as server:
        reader, writer = await asyncio.open_connection(HOST, port_of(server))
        writer.write(b"\x16\x03\x01")  # the start of a client's greeting
        await writer.drain()
    try:
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
    finally:
        writer.close()
