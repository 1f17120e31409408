"""The sidecar's HTTP client for the framework's unix socket: few allocations, exact about what was sent.

An invocation must never run twice because of us. So a request is repeated only when not one byte of it was delivered:
when there is no socket, the connect is refused, or a kept-alive connection turns out to be closed at the first write.
Once bytes went out, whatever happens next is the final outcome of that attempt.
"""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Mapping
from types import TracebackType
from typing import ClassVar, Final, Self
from urllib.parse import quote

from framework.contract import DEFAULT_HEALTH_PATH, DEFAULT_INVOKE_PATH
from sidecar.connection import (
    BrokenResponseError,
    Connection,
    ConnectionLostError,
    NotDeliveredError,
    Response,
    ResponseTooLargeError,
)
from sidecar.messages import FailureClass
from sidecar.tracing import NO_HEADERS

HOST: Final = "serverless-framework"
HEALTH_TIMEOUT_S: Final = 2.0
IDLE_TIMEOUT_S: Final = 30.0
"""A connection that was not used for this long, at most twice as long, is closed."""
MAX_RESPONSE_BYTES: Final = 16 * 1024 * 1024
"""Above what a queue message can carry anyway."""


class FrameworkError(Exception):
    """The framework gave no usable answer; `failure_class` is the class of the result that says so."""

    failure_class: ClassVar[str] = FailureClass.FRAMEWORK_ERROR


class NeverSentError(FrameworkError):
    """Nobody listens at the socket; the request was not delivered and can be sent again."""


class UnsafeSocketError(NeverSentError):
    """What lies at the socket's path is no socket itself; the request was not delivered."""


class BrokenCallError(FrameworkError):
    """The request was delivered, at least in part, and got no complete answer; it must not be sent again."""


class FrameworkLostError(BrokenCallError):
    """The connection broke in the middle of the call: the framework ended, or gave the call up."""


class AnswerTooLargeError(BrokenCallError):
    """The answer is larger than what is read (S18); the request must not be sent again."""

    failure_class = FailureClass.RESULT_TOO_LARGE


class CallTimeoutError(FrameworkError):
    """No complete answer in time; the connection was closed, so the handler is cancelled."""

    failure_class = FailureClass.FRAMEWORK_TIMEOUT


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
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._invoke_head = (
            f"POST {quote(invoke_path)} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: "
        ).encode()
        self._health_request = f"GET {quote(health_path)} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        self.health_problem = ""
        """Why the last `health` was False, for people; empty when it was True."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for connection in list(self._open):
            connection.close()
        self._idle.clear()
        # The transports finish closing in the loop's next turn.
        await asyncio.sleep(0)

    async def health(self, timeout_s: float = HEALTH_TIMEOUT_S) -> bool:
        """Return whether the framework answers its health path with exactly 200 in time."""
        try:
            status = (await self._exchange_within(timeout_s, self._health_request)).status
        except FrameworkError as error:
            self.health_problem = str(error)
        else:
            self.health_problem = "" if status == 200 else f"the framework's health is HTTP {status}"
        return not self.health_problem

    async def invoke(
        self, body: bytes, timeout_s: float | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> Response:
        """Post one invocation; `timeout_s` None waits for ever. Cancelling closes the request, and so the handler.

        `headers` are sent as they are: names and values must be fit for HTTP, as those of `tracing.trace_headers`.

        Raises:
            NeverSentError: nothing was delivered.
            CallTimeoutError: no complete answer within `timeout_s` seconds.
            AnswerTooLargeError: the answer is larger than the limit.
            FrameworkLostError: closed or reset.
            BrokenCallError: not HTTP.
        """
        extra = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]).encode() if headers else b""
        request = b"%b%d\r\n%b\r\n%b" % (self._invoke_head, len(body), extra, body)
        if timeout_s is None:
            return await self._exchange(request)
        return await self._exchange_within(timeout_s, request)

    async def _exchange_within(self, timeout_s: float, request: bytes) -> Response:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(request)
        except TimeoutError as error:
            raise CallTimeoutError(f"the framework gave no complete answer within {timeout_s} s") from error

    async def _exchange(self, request: bytes) -> Response:
        connection, answer = self._send_on_idle(request) or await self._send_on_new(request)
        try:
            response = await answer
        except ResponseTooLargeError as error:
            raise AnswerTooLargeError(f"the framework's answer is too large: {error}") from error
        except ConnectionLostError as error:
            raise FrameworkLostError(f"the framework's answer was lost: {error}") from error
        except BrokenResponseError as error:
            raise BrokenCallError(f"the framework's answer was lost: {error}") from error
        except asyncio.CancelledError:
            connection.close()
            raise
        if connection.reusable and len(self._idle) < self._max_idle:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def _send_on_idle(self, request: bytes) -> tuple[Connection, asyncio.Future[Response]] | None:
        """Send on the connection that was used last; None when none is left that takes it."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                try:
                    return connection, connection.send(request)
                except NotDeliveredError:
                    continue  # closed while idle
        return None

    async def _send_on_new(self, request: bytes) -> tuple[Connection, asyncio.Future[Response]]:
        connection = await self._connect()
        try:
            return connection, connection.send(request)
        except NotDeliveredError as error:
            raise NeverSentError(f"the framework took no request at {self._socket_path}: {error}") from error

    async def _connect(self) -> Connection:
        """Connect; on a unix socket that happens at once or not at all."""
        self._require_socket()
        loop = asyncio.get_running_loop()
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise NeverSentError(_connect_problem(self._socket_path, error)) from error
        connection = Connection(sock, self._max_response_bytes, self._open.discard)
        self._open.add(connection)
        try:
            sock.setblocking(False)
            # Not loop.sock_connect: it takes the EAGAIN of a full backlog for a connection in progress.
            sock.connect(self._socket_path)
            await loop.create_unix_connection(lambda: connection, sock=sock)
        except BaseException as error:
            self._open.discard(connection)
            sock.close()
            if isinstance(error, OSError):
                raise NeverSentError(_connect_problem(self._socket_path, error)) from error
            raise
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(IDLE_TIMEOUT_S, self._sweep)
        return connection

    def _require_socket(self) -> None:
        """User code owns the directory: a link there could lead to any other socket that the sidecar can open."""
        try:
            mode = os.lstat(self._socket_path).st_mode
        except OSError as error:
            raise NeverSentError(_connect_problem(self._socket_path, error)) from error
        if not stat.S_ISSOCK(mode):
            what = "a symbolic link" if stat.S_ISLNK(mode) else "something else"
            raise UnsafeSocketError(f"{self._socket_path} is {what}: the framework must create a socket there itself")

    def _sweep(self) -> None:
        """Close the connections that nobody used since the last sweep."""
        self._sweep_timer = None
        unused = [connection for connection in self._idle if not connection.used]
        self._idle = [connection for connection in self._idle if connection.used]
        for connection in unused:
            connection.close()
        for connection in self._idle:
            connection.used = False
        if self._open:
            self._sweep_timer = asyncio.get_running_loop().call_later(IDLE_TIMEOUT_S, self._sweep)


def _connect_problem(socket_path: str, error: OSError) -> str:
    """What keeps us from the socket; without a shared group it is closed to another user's sidecar (S24)."""
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{socket_path} may not be opened: give both containers a group in common, such as a Pod's fsGroup"
    return f"no framework listens at {socket_path}: {error.strerror}"
