"""The cheapest NATS client that Python allows, as the floor that the others are measured against; for loopback only.

One `asyncio.Protocol`: what is published in one turn of the loop is written at once, the parser walks an index over
what was received, subscribers are plain callbacks, and all replies come through one subscription. No TLS, no
credentials, no reconnect: a lost connection fails what waits for it.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, cast

Callback = Callable[[bytes, bytes, bytes], None]
"""Called with subject, reply subject and body of a message. Headers are dropped: statuses have no reply subject."""

CONNECT_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 10.0

_CONNECT: Final = (
    b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"bench"}\r\nPING\r\n'
)
_MSG, _HMSG = b"M"[0], b"H"[0]


class LeanNatsError(Exception):
    """The server refused something, or the connection was lost."""


class LeanNats(asyncio.Protocol):
    """One connection; made by `connect`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._waiting: set[asyncio.Future[bytes]] = set()
        self._out: list[bytes] = []
        self._rest = b""
        self._callbacks: dict[bytes, Callback] = {}
        self._replies: dict[bytes, Callable[[bytes], None]] = {}
        self._last = 0
        self.inbox = b"_INBOX.%b." % secrets.token_hex(8).encode()
        self._inbox_length = len(self.inbox)

    @classmethod
    async def connect(cls, url: str) -> "LeanNats":
        """Connect to a server's `nats://host:port`; it must be up."""
        host, _, port = url.removeprefix("nats://").rpartition(":")
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, int(port))
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await connection._ready
        connection.subscribe(connection.inbox + b"*", connection._on_reply)
        return connection

    def close(self) -> None:
        """Write what is left and close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def subscribe(self, subject: bytes, callback: Callback) -> None:
        """Have `callback` called with each message from now on."""
        self._last += 1
        number = b"%d" % self._last
        self._callbacks[number] = callback
        self._send(b"SUB %b %b\r\n" % (subject, number))

    def publish(self, subject: bytes, body: bytes, *, reply: bytes = b"", message_id: bytes = b"") -> None:
        """Publish at the end of this turn of the loop."""
        if message_id:
            head = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % message_id
            sizes = (len(head), len(head) + len(body))
            self._send(b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, *sizes, head, body))
        else:
            self._send(b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(body), body))

    def ask(self, subject: bytes, body: bytes, callback: Callable[[bytes], None], message_id: bytes = b"") -> None:
        """Publish, and have `callback` called with the body of the one reply; it is empty when nobody listens."""
        self._last += 1
        token = b"%d" % self._last
        self._replies[token] = callback
        self.publish(subject, body, reply=self.inbox + token, message_id=message_id)

    async def request(self, subject: bytes, body: bytes) -> bytes:
        """Publish and return the body of the one reply.

        Raises:
            LeanNatsError: the connection was lost.
            TimeoutError: no reply in ten seconds.
        """
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting.add(future)
        self.ask(subject, body, future.set_result)
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                return await future
        finally:
            self._waiting.discard(future)

    def _on_reply(self, subject: bytes, _reply: bytes, body: bytes) -> None:
        self._replies.pop(subject[self._inbox_length :])(body)

    def _send(self, data: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(_CONNECT)

    def connection_lost(self, error: Exception | None) -> None:
        lost = LeanNatsError(f"the connection to nats-server was lost: {error}")
        if not self._ready.done():
            self._ready.set_exception(lost)
        for future in self._waiting:
            if not future.done():
                future.set_exception(lost)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        position, end = 0, len(data)
        while (line_end := data.find(b"\r\n", position)) >= 0:
            kind = data[position]
            if kind != _MSG and kind != _HMSG:
                self._control(data[position:line_end])
                position = line_end + 2
                continue
            words = data[position:line_end].split()
            start = line_end + 2
            stop = start + int(words[-1])
            if stop + 2 > end:
                break
            position = stop + 2
            fixed = 4
            if kind == _HMSG:
                fixed = 5
                start += int(words[-2])
            reply = words[3] if len(words) > fixed else b""
            self._callbacks[words[2]](words[1], reply, data[start:stop])
        self._rest = data[position:]

    def _control(self, line: bytes) -> None:
        if line == b"PING":
            self._send(b"PONG\r\n")
        elif line == b"PONG" and not self._ready.done():
            self._ready.set_result(None)
        elif line.startswith(b"-ERR"):
            raise LeanNatsError(line.decode())
