"""What pods share with this machine: the mount point of the contract, and ports."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.errors import EnvironmentMissing
from simulator.kubelet.ports import PortReservations
from simulator.kubelet.socket_dir import SocketDir
from simulator.processes.spawn import Processes

pytestmark = pytest.mark.e2e


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes() as owner:
        yield owner


async def test_mount_point_lives_as_long_as_anyone_uses_it(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "shared"
    first, second = SocketDir(processes, path), SocketDir(processes, path)
    await first.__aenter__()
    inode = inode_of(path)
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    assert inode_of(path) == inode
    await second.__aexit__(None, None, None)
    assert not path.exists()


def inode_of(path: Path) -> int:
    return path.stat().st_ino


async def test_directory_of_somebody_else_stays(processes: Processes, tmp_path: Path) -> None:
    inode = inode_of(tmp_path)
    async with SocketDir(processes, tmp_path):
        pass
    assert inode_of(tmp_path) == inode


async def test_many_come_and_go(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "sockets"

    async def come_and_go() -> None:
        for _ in range(20):
            async with SocketDir(processes, path) as sockets:
                await asyncio.sleep(0)
                # It fails if another one removed the directory, although this one uses it.
                directory = sockets.make_pod_directory()
                await asyncio.sleep(0)
                directory.rmdir()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(come_and_go())
    assert not path.exists()


@pytest.mark.parametrize("kind", ["file", "link"])
async def test_something_else_at_the_path(processes: Processes, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "sockets"
    if kind == "file":
        path.touch()
    else:
        path.symlink_to(tmp_path)
    with pytest.raises(EnvironmentMissing, match="must be a directory"):
        async with SocketDir(processes, path):
            pass


def test_reserved_ports_are_given_to_nobody_else_but_can_be_listened_on() -> None:
    with PortReservations([80, 443]) as reservations:
        port = reservations.ports[80]
        assert len({*reservations.ports.values()}) == 2
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)) as server:
            assert server.getsockname()[1] == port
        with socket.create_server(("0.0.0.0", port)):
            pass
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


async def test_asyncio_listens_on_a_reserved_port() -> None:
    with PortReservations([80]) as reservations:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", reservations.ports[80])
        _, writer = await asyncio.open_connection("127.0.0.1", reservations.ports[80])
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_node_listens_on_a_reserved_port(host: str) -> None:
    with PortReservations([80]) as reservations:
        script = f"require('net').createServer().listen({reservations.ports[80]}, '{host}', () => process.exit(0))"
        assert subprocess.run(["node", "-e", script], timeout=20, check=False).returncode == 0
