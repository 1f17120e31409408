"""Where our aiohttp servers listen."""

import asyncio
import contextlib
from asyncio.sslproto import SSLProtocol
from ssl import SSLContext
from typing import cast

from aiohttp import web

from sidecar.listening import stop_listening


class Site(web.TCPSite):
    """A TCP site that forgets nobody whom it accepted just before its end."""

    __slots__ = ()

    async def stop(self) -> None:
        """Called by the runner's `cleanup`."""
        if self._server is not None:
            await stop_listening(cast("asyncio.Server", self._server))
        await super().stop()


class TlsSite(Site):
    """A site that speaks TLS, and can end each connection whatever its client does.

    asyncio closes a TLS connection only when the peer has confirmed that, or after 30 s, and knows no way to reach one
    whose handshake is under way: both would outlive the server. So the connections underneath are kept here.
    """

    __slots__ = ("_connections", "_context")

    def __init__(self, runner: web.AppRunner, host: str, port: int, context: SSLContext) -> None:
        super().__init__(runner, host, port, ssl_context=context)
        self._context = context
        self._connections = _Connections()

    async def start(self) -> None:
        """Listen. Raises OSError."""
        await web.BaseSite.start(self)
        application = self._runner.server
        assert application is not None, "the runner is set up"
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _TlsConnection(loop, application(), self._context, self._connections),
            self._host,
            self._port,
            backlog=self._backlog,
        )

    async def end_connections(self, grace_s: float) -> None:
        """After the runner's `cleanup`: wait `grace_s` seconds for clients to go, then drop those who have not."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._connections.none.wait()
        finally:
            self._connections.abort()
        await asyncio.sleep(0)  # protocols are told


class _Connections:
    """The connections of one server that are open, be they closing; `none` is set while there are none."""

    def __init__(self) -> None:
        self._open: set[asyncio.Transport] = set()
        self.none = asyncio.Event()
        self.none.set()

    def add(self, transport: asyncio.Transport) -> None:
        self._open.add(transport)
        self.none.clear()

    def discard(self, transport: asyncio.Transport) -> None:
        self._open.discard(transport)
        if not self._open:
            self.none.set()

    def abort(self) -> None:
        for transport in self._open:
            transport.abort()


class _TlsConnection(SSLProtocol):
    """The server's side of TLS between a plain connection and the protocol of the application."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        application: asyncio.BaseProtocol,
        context: SSLContext,
        connections: _Connections,
    ) -> None:
        super().__init__(loop, application, context, None, server_side=True)  # type: ignore[arg-type]  # nobody waits
        self._connections = connections
        self._plain: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._plain = cast("asyncio.Transport", transport)
        self._connections.add(self._plain)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self._plain is not None:
            self._connections.discard(self._plain)
