"""Clients that read or send slowly, or not at all: they cost the embedded API a bounded amount, and disturb nobody."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web

from simulator.kube import requests, watching
from simulator.kube import server as serving
from simulator.kube.kinds import GPUUNIT
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample
from tests.kube.sessions import next_event, session_with

UNITS = f"apis/runtime.lokiwager.io/v1alpha1/namespaces/{NS}/gpuunits"
WAIT_S = 10


@pytest.fixture
async def session(server: KubeServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with session_with(server) as session:
        yield session


async def never_written(_response: web.StreamResponse, _lines: bytes) -> None:
    await asyncio.Event().wait()


async def test_a_watcher_that_does_not_read_is_cut_off(
    session: aiohttp.ClientSession, store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BUFFERED_CHANGES", 10)
    monkeypatch.setattr(watching, "PATIENCE_S", 0.01)
    monkeypatch.setattr(web.StreamResponse, "write", never_written)
    async with session.get(f"{UNITS}?watch=1"), session.get(f"{UNITS}?watch=1") as other:
        store.create(GPUUNIT, sample(GPUUNIT, "first"), NS)
        await asyncio.sleep(0)  # the watchers have their turn, and are held up by it
        for number in range(12):
            store.create(GPUUNIT, sample(GPUUNIT, f"u{number}"), NS)
        with pytest.raises(aiohttp.ClientError):
            async with asyncio.timeout(WAIT_S):
                await other.content.read()


async def test_a_watcher_that_takes_nothing_is_cut_off_in_the_end(
    session: aiohttp.ClientSession, store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "STALLED_S", 0.01)
    monkeypatch.setattr(web.StreamResponse, "write", never_written)
    store.create(GPUUNIT, sample(GPUUNIT, "u"), NS)
    async with asyncio.timeout(WAIT_S), session.get(f"{UNITS}?watch=1") as watch:
        with pytest.raises(aiohttp.ClientError):
            await watch.content.read()


async def test_a_bulk_of_changes_cuts_off_no_watcher(
    session: aiohttp.ClientSession, store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BUFFERED_CHANGES", 10)
    monkeypatch.setattr(watching, "PATIENCE_S", 0)
    names = [f"u{number:02}" for number in range(40)]
    for name in names:
        store.create(GPUUNIT, sample(GPUUNIT, name), NS)
    async with asyncio.timeout(WAIT_S), session.get(f"{UNITS}?watch=1") as watch:
        assert [await next_event(watch) for _ in names] == [("ADDED", name) for name in names]
        async with session.delete(UNITS) as response:  # all of them before any watcher has its turn
            assert response.status == HTTPStatus.OK
        assert [await next_event(watch) for _ in names] == [("DELETED", name) for name in names]


async def test_the_first_events_wait_as_objects_for_a_client_that_does_not_read(
    session: aiohttp.ClientSession, store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CHUNK_BYTES", 1)
    written = 0

    async def count(response: web.StreamResponse, lines: bytes) -> None:
        nonlocal written
        written += lines.count(b"\n")
        await never_written(response, lines)

    monkeypatch.setattr(web.StreamResponse, "write", count)
    for number in range(5):
        store.create(GPUUNIT, sample(GPUUNIT, f"u{number}"), NS)
    async with session.get(f"{UNITS}?watch=1"):
        assert written == 1


async def test_a_body_that_does_not_come_is_not_waited_for(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "BODY_S", 0.01)
    sent = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield b'{"metadata": '
        await sent.wait()

    headers = {"Content-Type": "application/json"}
    async with asyncio.timeout(WAIT_S), session.post(UNITS, data=stalling(), headers=headers) as response:
        status = await response.json()
        sent.set()
    assert (response.status, status["reason"]) == (HTTPStatus.GATEWAY_TIMEOUT, "Timeout")


async def test_a_client_that_sends_no_request_is_dropped(store: ResourceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_S", 0.01)
    async with KubeServer(store) as server, asyncio.timeout(WAIT_S):
        trusted = ssl.create_default_context(cadata=server.credentials.server.authority.decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]), ssl=trusted)
        writer.write(b"GET /version HTTP/1.1\r\nHost: ")
        assert await reader.read() == b""
        writer.close()
