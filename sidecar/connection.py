"""One HTTP/1.1 client connection over a unix socket: one request at a time, then idle or closed."""

import asyncio
import socket
from dataclasses import dataclass
from typing import Final, cast

import httptools

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_FRAMING_RATIO: Final = 8
"""Received bytes per body byte: a chunked body in pieces of one byte needs six."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete HTTP response."""

    status: int
    body: bytes


class NotDeliveredError(Exception):
    """No byte of the request reached the server: sending it again is safe."""


class BrokenResponseError(Exception):
    """The request went out, but no complete and acceptable response came back."""


class Connection(asyncio.Protocol):
    """Sends one request and collects one response; knows when it may be used again."""

    def __init__(self, sock: socket.socket, max_body_bytes: int) -> None:
        self._socket = sock
        self._max_body_bytes = max_body_bytes
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Response] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._received = 0
        self._in_body = False
        self._delimited = False
        self._keep_alive = False

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: idle, open, everything of the last exchange read and written."""
        return (
            self._waiter is None
            and self._keep_alive
            and self._transport is not None
            and not self._transport.is_closing()
            and self._transport.get_write_buffer_size() == 0
        )

    async def request(self, data: bytes) -> Response:
        """Send a whole request and return the response; on cancellation the connection is closed.

        Raises:
            NotDeliveredError: the server had closed the connection before it took the first byte.
            BrokenResponseError: anything that fails later.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise NotDeliveredError("the connection is closed")
        self._reset()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            self._send(transport, data)
            return await self._waiter
        except BaseException:
            transport.abort()
            raise
        finally:
            self._waiter = None

    def _send(self, transport: asyncio.Transport, data: bytes) -> None:
        """Send the first bytes ourselves: only so it is known whether a closed server took any of them."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise NotDeliveredError(f"the server closed the connection: {error.strerror}") from error
        if sent < len(data):
            transport.write(memoryview(data)[sent:])

    def close(self) -> None:
        """Close at once; a waiting request fails."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, text: str) -> None:
        self._keep_alive = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(BrokenResponseError(text))
        self.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._waiter is None or self._waiter.done():
            self._fail("bytes that answer no request")
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(f"not an HTTP response: {error}")
            return
        if self._received > MAX_HEADER_BYTES + MAX_FRAMING_RATIO * self._size:
            self._fail(f"more than {MAX_HEADER_BYTES} bytes of headers")

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._in_body and not self._delimited and exc is None and self._size <= self._max_body_bytes:
            self._complete()  # a body without a length ends where the connection ends
        reason = f": {exc}" if exc else ""
        self._fail(f"the connection closed before the response was complete{reason}")

    # httptools

    def on_message_begin(self) -> None:
        """Called by httptools."""
        if self._waiter is None or self._waiter.done():
            self._fail("a second response to one request")

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Called by httptools."""
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._delimited = True

    def on_headers_complete(self) -> None:
        """Called by httptools."""
        self._in_body = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """Called by httptools."""
        self._size += len(body)
        if self._size > self._max_body_bytes:
            self._fail(f"the response body is larger than {self._max_body_bytes} bytes")
            return
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Called by httptools; also at the end of each informational (1xx) response."""
        if not self._in_body:
            self._delimited = False
            return
        if self._waiter is not None and not self._waiter.done():
            self._keep_alive = self._parser.should_keep_alive()
            self._complete()

    def _complete(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Response(self._parser.get_status_code(), b"".join(self._chunks)))
