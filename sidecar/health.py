"""The sidecar's HTTP endpoints (contract 7.2, S1, S3, S30).

`/healthz` says whether the sidecar itself is alive, `/readyz` what of its surroundings is ready, `/metrics` what it
counted. `/drain`, which a preStop hook asks, answers when no call runs any more. One request per connection; size, time
and number of the requests are bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import httptools
import msgspec

from sidecar.listening import stop_listening

REQUEST_TIMEOUT_S: Final = 5.0
MAX_REQUEST_BYTES: Final = 16 * 1024
MAX_CONNECTIONS: Final = 128

_PLAIN: Final = "text/plain; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


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


class HealthSource(Protocol):
    """What the endpoints ask, anew for each request."""

    def alive(self) -> bool:
        """Whether the sidecar makes progress; False asks the platform to restart it."""

    def readiness(self) -> Readiness:
        """What is ready now."""

    async def drained(self) -> bool:
        """Start nothing new and wait until nothing is under way; False when that takes too long (S14)."""

    def metrics(self) -> tuple[str, bytes]:
        """Content type and body of a scrape. Called in a thread: the first call may take long."""


def health_response(path: str, source: HealthSource) -> tuple[int, str, bytes]:
    """Status, content type and body for a path other than `/metrics`, whatever the method."""
    if path == "/healthz":
        return (200, _PLAIN, b"ok") if source.alive() else (503, _PLAIN, b"the dispatch loop does not move\n")
    if path == "/readyz":
        readiness = source.readiness()
        return 200 if readiness.ready else 503, "application/json", msgspec.json.encode(readiness)
    return 404, _PLAIN, b"use /healthz, /readyz, /metrics or /drain\n"


class _Server:
    """What the connections share: the source, and each other's number and tasks."""

    def __init__(self, source: HealthSource) -> None:
        self.source = source
        self.connections: set[_Connection] = set()
        self.answers: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Cut all connections and end the answers under way."""
        for connection in list(self.connections):
            connection.abort()
        for answer in self.answers:
            answer.cancel()
        if self.answers:
            await asyncio.wait(self.answers)


class _Connection(asyncio.Protocol):
    """Answers one request, then closes; a connection that asks too much, or nothing for too long, is cut."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._target = b""
        self._received = 0
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio's
        if len(self._server.connections) >= MAX_CONNECTIONS:
            self.abort()
            return
        self._server.connections.add(self)
        self._deadline = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._server.connections.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._respond(400, _PLAIN, b"not an HTTP request\n")
        if self._received > MAX_REQUEST_BYTES:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_message_complete(self) -> None:
        if self._answered:
            return
        self._answered = True
        path = self._target.decode("latin-1").partition("?")[0]
        if path == "/metrics":
            self._respond_later(self._scrape())
        elif path == "/drain":
            self._respond_later(self._drain())
        else:
            self._respond(*health_response(path, self._server.source))

    def _respond_later(self, answer: Coroutine[Any, Any, None]) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        task = asyncio.get_running_loop().create_task(answer)
        self._server.answers.add(task)
        task.add_done_callback(self._server.answers.discard)

    async def _drain(self) -> None:
        if await self._server.source.drained():
            self._respond(200, _PLAIN, b"drained\n")
        else:
            self._respond(503, _PLAIN, b"calls still run\n")

    async def _scrape(self) -> None:
        try:
            content_type, body = await asyncio.to_thread(self._server.source.metrics)
        except Exception as error:  # a scrape must not end the sidecar
            self._respond(500, _PLAIN, f"no metrics: {type(error).__name__}\n".encode())
        else:
            self._respond(200, content_type, body)

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
        if self._deadline is None:  # who does not read the answer is cut too
            self._deadline = asyncio.get_running_loop().call_later(REQUEST_TIMEOUT_S, self.abort)


@asynccontextmanager
async def serving_health(host: str, port: int, source: HealthSource) -> AsyncIterator[int]:
    """Serve the endpoints while the block runs; yields the port, which the system chooses when `port` is 0.

    Raises:
        HealthServerError: the address cannot be used.
    """
    served = _Server(source)
    try:
        server = await asyncio.get_running_loop().create_server(lambda: _Connection(served), host, port)
    except OSError as error:
        raise HealthServerError(f"cannot serve health at {host}:{port}: {error.strerror or error}") from error
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        try:
            await stop_listening(server)
        finally:
            await served.close()
            await server.wait_closed()
