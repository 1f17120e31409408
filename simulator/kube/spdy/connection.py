"""The server's end of a SPDY connection: the streams that its client opens, each to be read and written."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from simulator.kube.spdy.carriers import Carrier
from simulator.kube.spdy.frames import (
    MAX_DATA_BYTES,
    Data,
    Frame,
    FrameDecoder,
    GoAway,
    GoAwayStatus,
    Ping,
    ReplyEncoder,
    Reset,
    ResetStatus,
    SpdyError,
    SynStream,
    data_frame,
    go_away_frame,
    ping_frame,
    reset_frame,
)
from simulator.kube.stream_buffer import StreamBuffer

MAX_STREAMS: Final = 2000
"""How many streams a connection may have open: 1000 forwarded connections."""


class SpdyStream:
    """One stream; its `headers` say what it is for."""

    def __init__(self, connection: "SpdyConnection", number: int, headers: dict[str, str]) -> None:
        self.number = number
        self.headers = headers
        self.received = StreamBuffer()
        self.peer_done = self.done = False
        self._lost = asyncio.Event()
        self._connection = connection

    async def read(self) -> bytes:
        """What the client sends next; empty when it sends no more."""
        return await self.received.get()

    async def lost(self) -> None:
        """Return when the stream was reset, by whichever side, or the client is gone."""
        await self._lost.wait()

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises ConnectionError: the client has reset the stream, or is gone."""
        for begin in range(0, len(data), MAX_DATA_BYTES):
            if self.done:
                raise ConnectionResetError("the stream is closed")
            await self._connection.send(data_frame(self.number, data[begin : begin + MAX_DATA_BYTES]))

    async def end(self) -> None:
        """Send nothing more; what the client sends is still read. Raises ConnectionError."""
        if not self.done:
            self.done = True
            self._connection.forget_done(self)
            await self._connection.send(data_frame(self.number, b"", fin=True))

    async def reset(self, status: ResetStatus = ResetStatus.CANCEL) -> None:
        """End the stream in both directions. Raises ConnectionError."""
        if not (self.done and self.peer_done):
            self.lose()
            await self._connection.send(reset_frame(self.number, status))

    def lose(self) -> None:
        """The stream has ended in both directions."""
        self.done = self.peer_done = True
        self.received.drop()
        self._lost.set()
        self._connection.forget_done(self)


class SpdyConnection:
    """The streams of one client."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._decoder = FrameDecoder()
        self._replies = ReplyEncoder()
        self._streams: dict[int, SpdyStream] = {}
        self._last = 0

    async def accept(self) -> AsyncGenerator[SpdyStream, None]:
        """Yield each stream that the client opens, until it goes; meanwhile all streams get what it sends.

        A stream that nobody reads from makes all wait, as with a kubelet, but not for ever: it is reset then.
        """
        try:
            while data := await self._carrier.read():
                for frame in self._decoder.feed(data):
                    if isinstance(frame, GoAway):
                        return
                    if (stream := await self._take(frame)) is not None:
                        yield stream
        except SpdyError:
            with suppress(ConnectionError):
                await self.send(go_away_frame(self._last, GoAwayStatus.PROTOCOL_ERROR))
        except ConnectionError:
            pass
        finally:
            for stream in list(self._streams.values()):
                stream.lose()

    async def send(self, frame: bytes) -> None:
        """Send a frame. Raises ConnectionError when the client is gone."""
        await self._carrier.write(frame)

    async def go_away(self) -> None:
        """Tell the client that all is done. Raises ConnectionError."""
        await self.send(go_away_frame(self._last, GoAwayStatus.OK))

    def forget_done(self, stream: SpdyStream) -> None:
        """Forget a stream that has ended in both directions."""
        if stream.done and stream.peer_done:
            self._streams.pop(stream.number, None)

    async def _take(self, frame: Frame) -> SpdyStream | None:
        """Do what a frame says; returns the stream that it opens."""
        match frame:
            case SynStream():
                return await self._open(frame)
            case Data(number, data, fin) if stream := self._streams.get(number):
                try:
                    await stream.received.put(data)
                except TimeoutError:
                    await stream.reset(ResetStatus.FLOW_CONTROL_ERROR)
                if fin:
                    self._finish(stream)
            case Reset(number) if stream := self._streams.get(number):
                stream.lose()
            case Ping(number) if number % 2:
                await self.send(ping_frame(number))
        return None

    async def _open(self, frame: SynStream) -> SpdyStream | None:
        if frame.stream <= self._last or not frame.stream % 2:
            await self.send(reset_frame(frame.stream, ResetStatus.PROTOCOL_ERROR))
            return None
        self._last = frame.stream
        if len(self._streams) >= MAX_STREAMS:
            await self.send(reset_frame(frame.stream, ResetStatus.REFUSED_STREAM))
            return None
        stream = self._streams[frame.stream] = SpdyStream(self, frame.stream, frame.headers)
        await self.send(self._replies.reply(frame.stream))
        if frame.fin:
            self._finish(stream)
        return stream

    def _finish(self, stream: SpdyStream) -> None:
        """The client sends no more on it."""
        stream.peer_done = True
        stream.received.end()
        self.forget_done(stream)
