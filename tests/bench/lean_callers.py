"""Callers of a runtime API that cost as little as Python allows: a connection each, and one call after the other.

`lean_http` cannot stand here: it knows unix sockets and the status 200 only, and a refused call must be told apart from
an accepted one. httptools parses, callbacks drive; the time of a call is from its write to its answer's end.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urlsplit

import httptools
import msgspec

PATH: Final = "/api/v1/serverless/invocations"
ACCEPTED: Final = (200, 202)
_SHOWN: Final = 200
"""So many bytes of a refusal are shown."""

Answered = Callable[[int, bytes], None]
"""Called with the status and the body of an answer."""


class CallersError(Exception):
    """The API closed a connection on which a call waited for its answer."""


class _Data(msgspec.Struct):
    invocation_id: str = msgspec.field(name="invocationID")
    state: str = ""


class _Answer(msgspec.Struct):
    data: _Data


@dataclass(slots=True)
class Calls:
    """What became of calls: the seconds of each, the IDs of those accepted, and what was said to the others."""

    seconds: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way; httptools calls the `on_` methods."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport | None = None
        self._chunks: list[bytes] = []
        self._answered: Answered | None = None

    def send(self, request: bytes, answered: Answered) -> None:
        """Write a request now, and have `answered` called when its answer is there."""
        self._answered = answered
        if self._transport is None:
            self._lost()
        else:
            self._transport.write(request)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answered is not None:
            self._lost()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        body = b"".join(self._chunks)
        self._chunks.clear()
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(self._parser.get_status_code(), body)


class Callers:
    """So many callers of one API; made by `connect`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._connections: list[Connection] = []
        self._decoder = msgspec.json.Decoder(_Answer)
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, url: str, number: int) -> "Callers":
        """Connect to an API that listens, once for each caller."""
        address = urlsplit(url).netloc
        host, _, port = address.rpartition(":")
        callers, loop = cls(address), asyncio.get_running_loop()
        for _ in range(number):
            _, connection = await loop.create_connection(lambda: Connection(callers._on_lost), host, int(port))
            callers._connections.append(connection)
        return callers

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.close()

    async def call(self, body: bytes, count: int) -> Calls:
        """Call `count` times with the same body, each caller again as soon as it has its answer.

        Raises:
            CallersError: the API closed a connection meanwhile.
        """
        head = f"POST {PATH} HTTP/1.1\r\nHost: {self._address}\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._done = asyncio.get_running_loop().create_future()
        calls, left = Calls(), count

        def send(connection: Connection) -> None:
            nonlocal left
            if left:
                left -= 1
                began = time.perf_counter()
                connection.send(request, lambda status, answer: answered(connection, began, status, answer))

        def answered(connection: Connection, began: float, status: int, answer: bytes) -> None:
            calls.seconds.append(time.perf_counter() - began)
            self._note(calls, status, answer)
            if len(calls.seconds) == count and self._done is not None and not self._done.done():
                self._done.set_result(None)
            send(connection)

        for connection in self._connections:
            send(connection)
        await self._done
        return calls

    def _note(self, calls: Calls, status: int, answer: bytes) -> None:
        if status not in ACCEPTED:
            calls.refused.append(f"{status} {answer[:_SHOWN].decode(errors='replace')}")
            return
        try:
            data = self._decoder.decode(answer).data
        except msgspec.DecodeError as error:
            calls.refused.append(f"{status}, but {error}")
            return
        calls.accepted.append(data.invocation_id)
        if status == 200 and data.state != "succeeded":
            calls.refused.append(f"{data.invocation_id} ended as {data.state or 'nothing'}")

    def _on_lost(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(CallersError("the API closed a connection on which a call waited"))
