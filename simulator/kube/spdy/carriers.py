"""What carries the bytes of SPDY: the messages of a WebSocket, or the connection of an upgraded request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiohttp import WSMsgType, hdrs, web

READ_BYTES: Final = 1 << 16


class Carrier(Protocol):
    """Bytes in both directions, in their order."""

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send bytes as fast as the client takes them. Raises ConnectionError when it is gone."""
        ...


class WebSocketCarrier:
    """The tunnel of kubectl 1.31 and later: bytes in binary messages, cut anywhere."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def read(self) -> bytes:
        """See `Carrier`."""
        while (message := await self._socket.receive()).type is WSMsgType.BINARY:
            if message.data:
                return bytes(message.data)
        return b""

    async def write(self, data: bytes) -> None:
        """See `Carrier`."""
        await self._socket.send_bytes(data)


class UpgradedCarrier:
    """The connection itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        """See `Carrier`."""
        try:
            return await self._reader.read(READ_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """See `Carrier`."""
        self._writer.write(data)
        await self._writer.drain()


class _Takeover(asyncio.StreamReaderProtocol):
    """In the place of the server's own protocol, which is still told of the connection's end."""

    def __init__(self, reader: asyncio.StreamReader, former: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._former = former

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._former.connection_lost(exc)


@asynccontextmanager
async def upgraded(request: web.Request, headers: dict[str, str]) -> AsyncIterator[tuple[web.StreamResponse, Carrier]]:
    """Answer 101 with these headers and take the connection over; it is closed at the end.

    Raises:
        ConnectionError: the client is gone.
    """
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    reader, loop = asyncio.StreamReader(limit=READ_BYTES), asyncio.get_running_loop()
    protocol = _Takeover(reader, request.protocol)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    answer = web.StreamResponse(status=101, headers={hdrs.CONNECTION: "Upgrade", **headers})
    answer.force_close()
    try:
        await answer.prepare(request)
        yield answer, UpgradedCarrier(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
    finally:
        transport.close()
