"""The sidecar's health endpoints (contract 7.2, S1, S3): `/healthz` says alive, `/readyz` says what is ready."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import httptools
import msgspec

REQUEST_TIMEOUT_S: Final = 5.0
MAX_REQUEST_BYTES: Final = 16 * 1024
MAX_CONNECTIONS: Final = 128

_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


class HealthServerError(Exception):
    """The health endpoints cannot be served; the message names the address."""


@dataclass(slots=True)
class Readiness:
    """What a worker needs to take dispatches."""

    nats: bool = False
    consumer: bool = False
    framework: bool = False
    registered: bool = False

    @property
    def ready(self) -> bool:
        """Whether all of it is there."""
        return self.nats and self.consumer and self.framework and self.registered


def health_response(target: str, readiness: Readiness) -> tuple[int, str, bytes]:
    """Status, content type and body for a request target, whatever the method."""
    path = target.partition("?")[0]
    if path == "/healthz":
        return 200, "text/plain; charset=utf-8", b"ok"
    if path == "/readyz":
        return 200 if readiness.ready else 503, "application/json", msgspec.json.encode(readiness)
    return 404, "text/plain; charset=utf-8", b"use /healthz or /readyz\n"


class _HealthProtocol(asyncio.Protocol):
    """Answers one request, then closes; a connection that asks too much, or nothing for too long, is cut."""

    def __init__(self, readiness: Callable[[], Readiness], connections: set["_HealthProtocol"]) -> None:
        self._readiness = readiness
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._target = b""
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio's
        if len(self._connections) >= MAX_CONNECTIONS:
            self.abort()
            return
        self._connections.add(self)
        self._deadline = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._respond(400, "text/plain; charset=utf-8", b"not an HTTP request\n")
        if self._received > MAX_REQUEST_BYTES:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_message_complete(self) -> None:
        status, content_type, body = health_response(self._target.decode("latin-1"), self._readiness())
        self._respond(status, content_type, body)

    def _respond(self, status: int, content_type: str, body: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        is_head = self._received and self._parser.get_method() == b"HEAD"
        transport.write(head.encode() + (b"" if is_head else body))
        transport.close()


@asynccontextmanager
async def serving_health(host: str, port: int, readiness: Callable[[], Readiness]) -> AsyncIterator[int]:
    """Serve the endpoints while the block runs; yields the port, which the system chooses when `port` is 0.

    Raises:
        HealthServerError: the address cannot be used.
    """
    connections: set[_HealthProtocol] = set()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: _HealthProtocol(readiness, connections), host, port)
    except OSError as error:
        raise HealthServerError(f"cannot serve health at {host}:{port}: {error.strerror or error}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(connections):
            connection.abort()
        await server.wait_closed()
