"""The streams of a command over SPDY, the protocol `v4.channel.k8s.io`: kubectl before 1.31, and other old clients."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Final, Literal

import msgspec

from simulator.kube.exec_channels import terminal_size
from simulator.kube.kinds import Object
from simulator.kube.pod_streams import StreamOptions, TerminalSize
from simulator.kube.spdy.connection import SpdyConnection, SpdyStream

PROTOCOL: Final = "v4.channel.k8s.io"
OPENING_TIMEOUT_S: Final = 30.0
"""For the client to open all streams that it has asked for."""


class ExecStreams:
    """A client's end of a command."""

    def __init__(self, connection: SpdyConnection, streams: dict[str, SpdyStream], gone: asyncio.Event) -> None:
        self._connection = connection
        self._streams = streams
        self._gone = gone

    async def received(self) -> AsyncGenerator[bytes | TerminalSize, None]:
        """What the client sends: standard input, where b"" is its end, and sizes of its window, until it goes."""
        items: asyncio.Queue[bytes | TerminalSize | None] = asyncio.Queue(1)
        readers = [asyncio.create_task(self._read_into(items)), asyncio.create_task(self._size_into(items))]
        readers.append(asyncio.create_task(self._end_into(items)))
        try:
            while (item := await items.get()) is not None:
                yield item
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read_into(self, items: "asyncio.Queue[bytes | TerminalSize | None]") -> None:
        if stdin := self._streams.get("stdin"):
            while data := await stdin.read():
                await items.put(data)
            await items.put(b"")

    async def _size_into(self, items: "asyncio.Queue[bytes | TerminalSize | None]") -> None:
        if sizes := self._streams.get("resize"):
            while text := await sizes.read():
                if (size := terminal_size(text)) is not None:
                    await items.put(size)

    async def _end_into(self, items: "asyncio.Queue[bytes | TerminalSize | None]") -> None:
        await self._gone.wait()
        await items.put(None)

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Give the client output. Raises ConnectionError when it is gone."""
        if stream in self._streams:
            await self._streams[stream].write(data)

    async def end(self, status: Object) -> None:
        """Tell the client how the command ended. Raises ConnectionError when it is gone."""
        await self._streams["error"].write(msgspec.json.encode(status))
        for stream in self._streams.values():
            await stream.end()
        await self._connection.go_away()


@asynccontextmanager
async def exec_streams(connection: SpdyConnection, options: StreamOptions) -> AsyncIterator[ExecStreams]:
    """The client's streams, once it has opened them.

    Raises:
        ConnectionError: it has not, or is gone.
    """
    streams: dict[str, SpdyStream] = {}
    complete, gone = asyncio.Event(), asyncio.Event()
    expected = {"error"} | {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
    if options.tty:
        expected = expected - {"stderr"} | {"resize"}

    async def accept() -> None:
        async with aclosing(connection.accept()) as opened:
            async for stream in opened:
                streams.setdefault(stream.headers.get("streamtype", ""), stream)
                if expected <= streams.keys():
                    complete.set()
        gone.set()
        complete.set()

    accepting = asyncio.create_task(accept())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                await complete.wait()
        if not expected <= streams.keys():
            raise ConnectionResetError("the client has not opened its streams")
        yield ExecStreams(connection, streams, gone)
    finally:
        accepting.cancel()
        await asyncio.gather(accepting, return_exceptions=True)
