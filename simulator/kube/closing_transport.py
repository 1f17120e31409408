"""HTTP requests that leave no connection behind when they are cancelled."""

from typing import Any

import httpx2


class ClosingTransport(httpx2.AsyncHTTPTransport):
    """httpx2's own transport, which closes a connection also if it is cancelled in the middle of the TLS handshake.

    httpcore2 closes the stream there after an `Exception` only, which a cancellation is not; nobody else knows the
    stream yet. Its `trace` extension tells of both.
    """

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        request.extensions = {**request.extensions, "trace": _Handshake().trace}
        return await super().handle_async_request(request)


class _Handshake:
    """What one request has opened and not yet secured."""

    def __init__(self) -> None:
        self._stream: Any = None

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Called by httpcore2 before and after each of its steps."""
        if event == "connection.connect_tcp.complete":
            self._stream = info["return_value"]
        elif event == "connection.start_tls.failed":
            await self._stream.aclose()
