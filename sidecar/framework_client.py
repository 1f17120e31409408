"""The sidecar's HTTP client for the framework's unix socket: few allocations, exact about what was sent.

An invocation must never run twice because of us. So a request is repeated only when not one byte of it was delivered:
when there is no socket, the connect is refused, or a kept-alive connection turns out to be closed at the first write.
Once bytes went out, whatever happens next is the final outcome of that attempt.
"""

import asyncio
import socket
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from framework.contract import DEFAULT_HEALTH_PATH, DEFAULT_INVOKE_PATH
from sidecar.connection import BrokenResponseError, Connection, NotDeliveredError, Response

HOST: Final = "serverless-framework"
HEALTH_TIMEOUT_S: Final = 2.0
MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024
"""Above what a queue message can carry anyway; a larger answer is a framework error."""


class FrameworkError(Exception):
    """The framework gave no usable answer."""


class NeverSentError(FrameworkError):
    """Nobody listens at the socket; the request was not delivered and can be sent again."""


class BrokenCallError(FrameworkError):
    """The request was delivered, at least in part, and got no complete answer; it must not be sent again."""


class CallTimeoutError(FrameworkError):
    """No complete answer in time; the connection was closed, so the handler is cancelled."""


class FrameworkClient:
    """A pool of kept-alive connections to one framework; at most one request runs on each.

    Use it as an async context manager: at its end all connections are closed.
    """

    def __init__(
        self,
        socket_path: str,
        *,
        invoke_path: str = DEFAULT_INVOKE_PATH,
        health_path: str = DEFAULT_HEALTH_PATH,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        max_idle: int = 16,
    ) -> None:
        self._socket_path = socket_path
        self._max_response_bytes = max_response_bytes
        self._max_idle = max_idle
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._invoke_head = (
            f"POST {quote(invoke_path)} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._health_request = f"GET {quote(health_path)} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for connection in [*self._idle, *self._busy]:
            connection.close()
        self._idle.clear()
        # The transports finish closing in the loop's next turn.
        await asyncio.sleep(0)

    async def health(self, timeout_s: float = HEALTH_TIMEOUT_S) -> bool:
        """Return whether the framework answers its health path with exactly 200 in time."""
        try:
            return (await self._call(self._health_request, timeout_s)).status == 200
        except FrameworkError:
            return False

    async def invoke(self, body: bytes, timeout_s: float | None) -> Response:
        """Post one invocation; `timeout_s` None waits for ever. Cancelling closes the request.

        Raises:
            NeverSentError: nothing was delivered.
            CallTimeoutError: no complete answer within `timeout_s` seconds.
            BrokenCallError: closed, reset, not HTTP, or larger than the limit.
        """
        return await self._call(b"%b%d\r\n\r\n%b" % (self._invoke_head, len(body), body), timeout_s)

    async def _call(self, request: bytes, timeout_s: float | None) -> Response:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(request)
        except TimeoutError as error:
            raise CallTimeoutError(f"the framework gave no complete answer within {timeout_s} s") from error
        except BrokenResponseError as error:
            raise BrokenCallError(f"the framework's answer was lost: {error}") from error

    async def _exchange(self, request: bytes) -> Response:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                try:
                    return await self._run(connection, request)
                except NotDeliveredError:
                    continue  # closed while idle: the next one, or a new one
        connection = await self._connect()
        try:
            return await self._run(connection, request)
        except NotDeliveredError as error:
            raise NeverSentError(f"the framework took no request at {self._socket_path}: {error}") from error

    async def _run(self, connection: Connection, request: bytes) -> Response:
        self._busy.add(connection)
        try:
            response = await connection.request(request)
        finally:
            self._busy.discard(connection)
        if connection.reusable and len(self._idle) < self._max_idle:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    async def _connect(self) -> Connection:
        """Connect; on a unix socket that happens at once or not at all."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # Not loop.sock_connect: it takes the EAGAIN of a full backlog for a connection in progress.
            sock.connect(self._socket_path)
            connection = Connection(sock, self._max_response_bytes)
            await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=sock)
        except OSError as error:
            sock.close()
            raise NeverSentError(f"no framework listens at {self._socket_path}: {error.strerror}") from error
        except BaseException:
            sock.close()
            raise
        return connection
