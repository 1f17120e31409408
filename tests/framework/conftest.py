"""Sockets in short directories, servers on them in the test's own loop, and two clients: HTTP's, and of raw bytes."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from framework.app import create_app
from framework.handlers import Handler
from framework.server import serving

Serve = Callable[..., AbstractAsyncContextManager["asyncio.Task[None]"]]
Raw = Callable[..., Awaitable[bytes]]


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(dir="/tmp", prefix="fw-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def socket_path(short_dir: Path) -> str:
    return str(short_dir / "f.sock")


@pytest.fixture
def serve(socket_path: str) -> Serve:
    """Serves a handler at `socket_path` while a block runs."""

    def start(
        handler: Handler, grace_s: float = 5, header_timeout_s: float = 5, **options: Any
    ) -> AbstractAsyncContextManager["asyncio.Task[None]"]:
        app = create_app(handler, **options)
        return serving(app, socket_path, grace_s=grace_s, header_timeout_s=header_timeout_s)

    return start


@pytest.fixture
async def client(socket_path: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Talks to whatever serves `socket_path`."""
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(
        "http://worker", connector=aiohttp.UnixConnector(socket_path), timeout=timeout
    ) as s:
        yield s


@pytest.fixture
def raw(socket_path: str) -> Raw:
    """Sends bytes to `socket_path` and returns all that comes back until the other side closes."""

    async def exchange(data: bytes) -> bytes:
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_unix_connection(socket_path)
            try:
                writer.write(data)
                return await reader.read()
            finally:
                writer.close()

    return exchange
