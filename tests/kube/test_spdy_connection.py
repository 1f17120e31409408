"""The streams of a SPDY connection, over bytes that the test hands in."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from simulator.kube import stream_buffer
from simulator.kube.spdy import connection as spdy
from simulator.kube.spdy.connection import SpdyConnection, SpdyStream
from simulator.kube.spdy.frames import GoAwayStatus, ResetStatus, data_frame, go_away_frame, ping_frame, reset_frame
from simulator.kube.stream_buffer import LIMIT_BYTES, StreamBuffer
from tests.kube.spdy_client import Answers, Frame, SpdyClient

WAIT_S = 20


class Wire:
    """Bytes that the test sends, and the frames that it gets; a send of None is the end."""

    def __init__(self) -> None:
        self.client = SpdyClient()
        self.sent: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: asyncio.Queue[Frame] = asyncio.Queue()
        self.broken = False
        self._reader = Answers()

    async def read(self) -> bytes:
        return await self.sent.get() or b""

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise ConnectionResetError
        for frame in self._reader.feed(data):
            self.answers.put_nowait(frame)

    def send(self, *frames: bytes) -> None:
        self.sent.put_nowait(b"".join(frames))

    async def next(self) -> Frame:
        async with asyncio.timeout(WAIT_S):
            return await self.answers.get()


class Server:
    """A connection that is being served, and the streams that were opened."""

    def __init__(self, connection: SpdyConnection) -> None:
        self.connection = connection
        self.streams: asyncio.Queue[SpdyStream] = asyncio.Queue()

    async def run(self) -> None:
        async with aclosing(self.connection.accept()) as streams:
            async for stream in streams:
                self.streams.put_nowait(stream)

    async def opened(self) -> SpdyStream:
        async with asyncio.timeout(WAIT_S):
            return await self.streams.get()


@asynccontextmanager
async def served(wire: Wire) -> AsyncIterator[Server]:
    server = Server(SpdyConnection(wire))
    task = asyncio.create_task(server.run())
    try:
        yield server
        wire.sent.put_nowait(None)
        async with asyncio.timeout(WAIT_S):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_stream_is_accepted_read_and_written() -> None:
    wire = Wire()
    async with served(wire) as server:
        wire.send(wire.client.open(1, streamtype="data"), data_frame(1, b"to you"), data_frame(1, b"", fin=True))
        stream = await server.opened()
        assert stream.headers == {"streamtype": "data"}
        assert (await stream.read(), await stream.read()) == (b"to you", b"")
        await stream.write(b"x" * 70_000)  # after the client's end, in two frames
        await stream.end()
        await stream.end()
        told = [await wire.next() for _ in range(4)]
        assert [(what, number, len(data)) for what, number, data in told] == [
            ("reply", 1, 0), ("data", 1, 65_536), ("data", 1, 4_464), ("end", 1, 0)
        ]  # fmt: skip
        with pytest.raises(ConnectionError):
            await stream.write(b"more")
    assert wire.answers.empty()


async def test_a_reset_stream_is_at_its_end_for_reader_and_writer() -> None:
    wire = Wire()
    async with served(wire) as server:
        wire.send(wire.client.open(1), data_frame(1, b"not wanted"), reset_frame(1, ResetStatus.CANCEL))
        stream = await server.opened()
        wire.send(ping_frame(1))
        assert [await wire.next() for _ in range(2)] == [("reply", 1, b""), ("ping", 1, b"")]
        assert await stream.read() == b""
        with pytest.raises(ConnectionError):
            await stream.write(b"x")
        await stream.reset()
        wire.send(wire.client.open(3))
        await (await server.opened()).reset()
        assert [await wire.next() for _ in range(2)] == [("reply", 3, b""), ("reset", 3, b"")]


async def test_pings_of_the_client_are_answered() -> None:
    wire = Wire()
    async with served(wire):
        wire.send(ping_frame(2), ping_frame(7))
        assert await wire.next() == ("ping", 7, b"")


async def test_all_is_over_when_the_client_says_so() -> None:
    wire = Wire()
    async with served(wire) as server:
        wire.send(wire.client.open(1))
        stream = await server.opened()
        wire.send(go_away_frame(0, GoAwayStatus.OK))
        async with asyncio.timeout(WAIT_S):
            assert await stream.read() == b""


async def test_who_speaks_something_else_is_told() -> None:
    wire = Wire()
    async with served(wire) as server:
        wire.send(b"\x80GET / HTTP/1.1\r\n\r\n")
        assert await wire.next() == ("go away", 0, b"")
        assert server.streams.empty()


async def test_numbers_of_streams_are_odd_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spdy, "MAX_STREAMS", 2)
    wire = Wire()
    async with served(wire) as server:
        wire.send(*(wire.client.open(number) for number in (3, 3, 1, 4, 5, 7)))
        told = [await wire.next() for _ in range(6)]
        assert [frame[:2] for frame in told] == [
            ("reply", 3), ("reset", 3), ("reset", 1), ("reset", 4), ("reply", 5), ("reset", 7)
        ]  # fmt: skip
        await (await server.opened()).reset()
        wire.send(wire.client.open(9))
        assert [(await wire.next())[:2] for _ in range(2)] == [("reset", 3), ("reply", 9)]


async def test_a_stream_that_nobody_reads_makes_the_connection_wait_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_buffer, "STALL_S", 0.01)
    wire = Wire()
    async with served(wire) as server:
        wire.send(wire.client.open(1))
        stream = await server.opened()
        wire.send(data_frame(1, bytes(LIMIT_BYTES + 1)))
        wire.send(ping_frame(1))
        assert [(await wire.next())[:2] for _ in range(3)] == [("reply", 1), ("reset", 1), ("ping", 1)]
        assert await stream.read() == b""


async def test_who_fills_a_buffer_waits_for_room() -> None:
    buffer = StreamBuffer()
    await buffer.put(bytes(LIMIT_BYTES))
    full = asyncio.create_task(buffer.put(b"last"))
    await asyncio.sleep(0)
    assert not full.done()
    assert len(await buffer.get()) == LIMIT_BYTES
    async with asyncio.timeout(WAIT_S):
        await full
    buffer.end()
    await buffer.put(b"too late")
    assert (await buffer.get(), await buffer.get()) == (b"last", b"")


async def test_a_client_that_is_gone_ends_the_connection() -> None:
    wire = Wire()
    async with served(wire) as server:
        wire.send(wire.client.open(1))
        stream = await server.opened()
        wire.broken = True
        with pytest.raises(ConnectionError):
            await stream.write(b"x")
        wire.send(ping_frame(1))
        async with asyncio.timeout(WAIT_S):
            assert await stream.read() == b""
