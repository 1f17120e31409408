"""One HTTP connection with bounds: how large headers may be and how long they may take, and the same for a body."""

import asyncio
from typing import Any, Final

from aiohttp import web

HEADER_TIMEOUT_S: Final = 5.0
"""From the first byte of a request to the end of its headers (contract section 8)."""

BODY_TIMEOUT_S: Final = 10.0
"""From the end of the headers to the end of the body: through a unix socket even the largest takes milliseconds."""

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""NATS advises against messages above 8 MiB, so no well-run platform sends more."""

_CONNECTION_OPTIONS: Final[dict[str, Any]] = {
    "max_line_size": 8190,
    "max_field_size": 8190,
    "max_headers": 64,
    "lingering_time": 5.0,  # how long the rest of a refused body is read, so that the caller gets to the answer
    "auto_decompress": False,
    "tcp_keepalive": False,
    "access_log": None,
}
_HEADERS_LATE: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n"
    b"Connection: close\r\n\r\nthe headers are late\n"
)


class RefusedError(Exception):
    """A request that is answered with this status and one line of plain text."""

    def __init__(self, status: int, text: str, *, close: bool = False) -> None:
        super().__init__(text)
        self._status = status
        self._close = close

    def response(self) -> web.Response:
        """The answer; it ends the connection when the rest of the request cannot be expected."""
        answer = web.Response(status=self._status, text=f"{self}\n")
        if self._close:
            answer.force_close()
        return answer


class BoundedConnection(web.RequestHandler):
    """aiohttp's connection, which has no time limit for headers, with one.

    It starts with a request's first bytes: a connection that only waits, as a pool's do, may wait.
    """

    __slots__ = ("_header_deadline", "_header_timeout_s")

    def __init__(self, server: web.Server, *, header_timeout_s: float = HEADER_TIMEOUT_S) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **_CONNECTION_OPTIONS)
        self._header_timeout_s = header_timeout_s
        self._header_deadline: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        super().data_received(data)
        # As in aiohttp's own idle time limit: it waits for a request until all headers of one have come.
        incomplete = self._waiter is not None and not self._waiter.done()
        if not incomplete:
            self._stop_header_deadline()
        elif self._header_deadline is None:
            self._header_deadline = self._loop.call_later(self._header_timeout_s, self._headers_are_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by asyncio."""
        self._stop_header_deadline()
        super().connection_lost(exc)

    def _stop_header_deadline(self) -> None:
        if self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None

    def _headers_are_late(self) -> None:
        if self.transport is not None:
            self.transport.write(_HEADERS_LATE)
        self.force_close()


async def read_body(request: web.Request, max_bytes: int, timeout_s: float) -> bytes:
    """Read the whole body; never more than `max_bytes` are held.

    Raises:
        RefusedError: 413 above `max_bytes`, 408 after `timeout_s` seconds, 400 for a body that breaks HTTP's rules.
    """
    try:
        if request.content.is_eof():
            body = request.content.read_nowait()
        elif (request.content_length or 0) > max_bytes:
            raise _too_large(max_bytes)
        else:
            async with asyncio.timeout(timeout_s):
                body = await _read_all(request, max_bytes)
    except TimeoutError:
        raise RefusedError(408, f"the body did not come within {timeout_s:g} s", close=True) from None
    except web.RequestPayloadError as error:
        raise RefusedError(400, f"the body is not HTTP: {error}", close=True) from None
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


async def _read_all(request: web.Request, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await request.content.readany():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> RefusedError:
    return RefusedError(413, f"the body is larger than {max_bytes} bytes", close=True)
