"""HTTP requests that leave no connection behind when they are cancelled."""

import asyncio
import ssl
from typing import Any

import httpx2


class ClosingTransport(httpx2.AsyncHTTPTransport):
    """httpx2's own transport, which closes a connection also if it is cancelled in the middle of the TLS handshake.

    httpcore2 closes the stream there after an `Exception` only, which a cancellation is not; nobody else knows the
    stream yet. Its `trace` extension tells of both. A second cancellation can interrupt any close: what is still open
    at the end is dropped then.
    """

    def __init__(self, verify: ssl.SSLContext | bool) -> None:
        super().__init__(verify)
        self._opened: list[asyncio.Transport] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        request.extensions = {**request.extensions, "trace": _Handshake(self._opened).trace}
        return await super().handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections, and wait for the end of none."""
        try:
            await super().aclose()
        finally:
            for transport in self._opened:
                transport.abort()
            self._opened.clear()
            await asyncio.sleep(0)  # they are closed in the loop's next turn


class _Handshake:
    """What one request has opened and not yet secured."""

    def __init__(self, opened: list[asyncio.Transport]) -> None:
        self._opened = opened
        self._stream: Any = None

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore2 before and after each of its steps."""
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
            # Neither httpcore2 nor anyio shows it, and their own close does nothing once it was begun.
            transport = getattr(getattr(self._stream, "_stream", None), "_transport", None)
            if transport is not None:
                self._opened[:] = [*(known for known in self._opened if _is_open(known)), transport]
        elif event == "connection.start_tls.failed":
            await self._stream.aclose()


def _is_open(transport: asyncio.Transport) -> bool:
    connection = transport.get_extra_info("socket")
    return connection is not None and connection.fileno() != -1
