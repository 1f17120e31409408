"""A command's channels, over a socket that is played by the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import pytest
from aiohttp import web

from simulator.kube import exec_channels
from simulator.kube.exec_channels import ExecChannels, exit_status


class Pinged:
    """A client's socket with one message, which notes that it is pinged."""

    def __init__(self) -> None:
        self.pinged = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[aiohttp.WSMessage]:
        yield aiohttp.WSMessage(aiohttp.WSMsgType.BINARY, b"\0some", None)

    async def ping(self) -> None:
        self.pinged.set()


async def test_a_client_is_pinged_while_nobody_takes_what_it_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """That it is gone is not read then."""
    monkeypatch.setattr(exec_channels, "PING_S", 0.01)
    socket = Pinged()
    client = ExecChannels(cast("web.WebSocketResponse", socket))
    async with contextlib.aclosing(client.received()) as received, asyncio.timeout(20):
        assert await anext(received) == b"some"
        await socket.pinged.wait()
        assert [item async for item in received] == []


def test_a_status_tells_the_exit_code() -> None:
    assert exit_status(0) == {"metadata": {}, "status": "Success"}
    failed = exit_status(7)
    assert failed["reason"] == "NonZeroExitCode"
    assert failed["details"] == {"causes": [{"reason": "ExitCode", "message": "7"}]}
