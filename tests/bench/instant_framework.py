"""A framework whose handler takes no time: `python -m tests.bench.instant_framework`, settings as the contract's.

httptools and uvloop and little else, so that a measurement sees the sidecar and not its framework. It answers each
invocation with its payload.
"""

import asyncio
import os
import signal
from typing import Final, cast

import httptools
import msgspec
import uvloop

from framework.contract import SOCKET_PATH_ENV

BACKLOG: Final = 1024
"""As many connections as may come at once; uvloop's 100 would refuse a burst of them."""

_ANSWER_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_HEALTHY: Final = b'{"ok":true}'


class Invocation(msgspec.Struct):
    """The part of a request that the handler reads."""

    payload: msgspec.Raw


class Answer(msgspec.Struct):
    """The envelope."""

    statusCode: int  # noqa: N815 - as in the contract
    contentType: str  # noqa: N815 - as in the contract
    body: msgspec.Raw


class Connection(asyncio.Protocol):
    """One client connection; requests come one after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._decoder = msgspec.json.Decoder(Invocation)
        self._encoder = msgspec.json.Encoder()
        self._transport: asyncio.WriteTransport | None = None
        self._chunks: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        answer = _HEALTHY
        if self._chunks:
            invocation = self._decoder.decode(b"".join(self._chunks))
            self._chunks.clear()
            answer = self._encoder.encode(Answer(200, "application/json", invocation.payload))
        if self._transport is not None:
            self._transport.write(_ANSWER_HEAD % (len(answer), answer))


async def main() -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_unix_server(Connection, os.environ[SOCKET_PATH_ENV], backlog=BACKLOG)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
