"""The cheapest HTTP client for a unix socket: one connection, one POST at a time, answers with a Content-Length."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

_LENGTH: Final = b"Content-Length: "
_ACCEPTED: Final = b"HTTP/1.1 200 "


class LeanHttpError(Exception):
    """The server answered with something else than 200, or closed the connection."""


class LeanPost(asyncio.Protocol):
    """One connection to a framework; made by `connect`."""

    def __init__(self, path: str) -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n".encode() + _LENGTH
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""
        self._answered: Callable[[bytes], None] | None = None

    @classmethod
    async def connect(cls, socket_path: str, path: str = "/invoke") -> "LeanPost":
        """Connect to a server that listens."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: cls(path), socket_path)
        return connection

    def post(self, body: bytes, answered: Callable[[bytes], None]) -> None:
        """Send a request now and have `answered` called with the body of its answer."""
        if self._transport is None:
            raise LeanHttpError("the framework closed the connection")
        self._answered = answered
        self._transport.write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        if not received.startswith(_ACCEPTED):
            raise LeanHttpError(received[:head_end].decode())
        length_at = received.index(_LENGTH) + len(_LENGTH)
        length = int(received[length_at : received.index(b"\r\n", length_at)])
        body = received[head_end + 4 :]
        if len(body) < length or self._answered is None:
            return
        self._received = b""
        self._answered(body)
