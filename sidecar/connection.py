"""One HTTP/1.1 client connection over a unix socket: one request at a time, then idle or closed."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec

MAX_HEADER_BYTES: Final = 64 * 1024
MAX_FRAMING_RATIO: Final = 8
"""Received bytes per body byte: a chunked body in pieces of one byte needs six."""


class Response(msgspec.Struct, frozen=True):
    """A complete HTTP response."""

    status: int
    body: bytes


class NotDeliveredError(Exception):
    """No byte of the request reached the server: sending it again is safe."""


class BrokenResponseError(Exception):
    """The request went out, but no complete and acceptable response came back."""


class ConnectionLostError(BrokenResponseError):
    """The server closed the connection before the response was complete."""


class ResponseTooLargeError(BrokenResponseError):
    """The response's body went beyond the limit; the rest was not read (S18)."""


class Connection(asyncio.Protocol):
    """Sends one request and collects one response; knows when it may be used again.

    `on_lost` is called with the connection once its socket is closed.
    """

    __slots__ = (
        "_answer",
        "_buffered",
        "_chunks",
        "_delimited",
        "_in_body",
        "_keep_alive",
        "_max_body_bytes",
        "_on_lost",
        "_parser",
        "_received",
        "_size",
        "_socket",
        "_transport",
        "used",
    )

    def __init__(self, sock: socket.socket, max_body_bytes: int, on_lost: Callable[["Connection"], object]) -> None:
        self._socket = sock
        self._max_body_bytes = max_body_bytes
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Response] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self.used = True
        self._chunks: list[bytes] = []
        self._size = 0
        self._received = 0
        self._buffered = False
        self._in_body = False
        self._delimited = False
        self._keep_alive = False

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: idle, open, everything of the last exchange read and written."""
        transport = self._transport
        return (
            self._answer is None
            and self._keep_alive
            and transport is not None
            and not transport.is_closing()
            and not (self._buffered and transport.get_write_buffer_size())
        )

    def send(self, data: bytes) -> asyncio.Future[Response]:
        """Send a whole request; the future gets its response, or `BrokenResponseError`.

        Whoever stops waiting for the response must `close` the connection.

        Raises:
            NotDeliveredError: the server had closed the connection before it took the first byte.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            raise NotDeliveredError("the connection is closed")
        self._reset()
        # The first bytes go out past the transport: only so it is known whether a closed server took any of them.
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            transport.abort()
            raise NotDeliveredError(f"the server closed the connection: {error.strerror}") from error
        self._answer = answer = asyncio.get_running_loop().create_future()
        if sent < len(data):
            self._buffered = True
            transport.write(memoryview(data)[sent:])
        return answer

    def close(self) -> None:
        """Close at once; a request that waits for its response fails."""
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: BrokenResponseError) -> None:
        self._keep_alive = False
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)
            answer.exception()  # read once: a waiter that is cancelled in this very turn never reads it
        self.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio's

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._answer is None:
            self._fail(BrokenResponseError("bytes that answer no request"))
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BrokenResponseError(f"not an HTTP response: {error}"))
            return
        if self._received > MAX_HEADER_BYTES + MAX_FRAMING_RATIO * self._size:
            self._fail(BrokenResponseError(f"more than {MAX_HEADER_BYTES} bytes of headers"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._in_body and not self._delimited and exc is None:
            self._complete()  # a body without a length ends where the connection ends
        reason = f": {exc}" if exc else ""
        self._fail(ConnectionLostError(f"the connection closed before the response was complete{reason}"))
        self._on_lost(self)

    # httptools

    def on_message_begin(self) -> None:
        """Called by httptools."""
        if self._answer is None:
            self._fail(BrokenResponseError("a second response to one request"))

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
            self._chunks.clear()
            self._fail(ResponseTooLargeError(f"its body is larger than {self._max_body_bytes} bytes"))
            return
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Called by httptools; also at the end of each informational (1xx) response."""
        if not self._in_body:
            self._delimited = False
            return
        if self._answer is not None:
            self._keep_alive = self._parser.should_keep_alive()
            self._complete()

    def _complete(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(Response(self._parser.get_status_code(), b"".join(self._chunks)))
