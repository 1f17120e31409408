"""Sockets in short directories, and an HTTP client for them."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest


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
async def client(socket_path: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Talks to whatever serves `socket_path`."""
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(
        "http://worker", connector=aiohttp.UnixConnector(socket_path), timeout=timeout
    ) as s:
        yield s
