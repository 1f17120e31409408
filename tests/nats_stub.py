"""As much of a NATS server, in the loop of the test, as a client needs to connect; it cuts and refuses on demand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast

from sidecar.listening import stop_listening

_INFO: Final = b'INFO {"server_id":"stub","version":"2.10.0","max_payload":1048576,"headers":true}\r\n'


class NatsStub:
    """Greets its clients and answers their PINGs."""

    def __init__(self) -> None:
        self.url = ""
        self.refusals = 0
        """How many of the next connections are closed at once."""
        self.silent = False
        """While set, PINGs get no answer; a client is not connected before its first was answered."""
        self.asked = asyncio.Event()
        """Set by each PING."""
        self.connections: set[asyncio.Transport] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen while the block runs."""
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            await stop_listening(server)
            self.cut()

    def cut(self) -> None:
        """Close all connections."""
        for connection in self.connections:
            connection.abort()


class _Connection(asyncio.Protocol):
    def __init__(self, stub: NatsStub) -> None:
        self._stub = stub

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._stub.connections.add(self._transport)
        if self._stub.refusals:
            self._stub.refusals -= 1
            self._transport.close()
        else:
            self._transport.write(_INFO)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stub.connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        pings = data.count(b"PING\r\n")
        if not self._stub.silent:
            self._transport.write(b"PONG\r\n" * pings)
        if pings:
            self._stub.asked.set()
