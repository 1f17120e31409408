"""Port-forward sessions: the connections of a client to ports of one pod, over SPDY or over WebSocket channels."""

import asyncio
import struct
from collections.abc import Sequence
from contextlib import aclosing, suppress
from typing import Final

from aiohttp import WSMsgType, web

from simulator.kube.pod_options import port_number
from simulator.kube.pod_streams import PodPorts, PortForwardError
from simulator.kube.spdy.connection import SpdyConnection, SpdyStream
from simulator.kube.stream_buffer import StreamBuffer

SPDY_PROTOCOL: Final = "portforward.k8s.io"
TUNNEL_PROTOCOL: Final = f"SPDY/3.1+{SPDY_PROTOCOL}"
CHANNEL_PROTOCOL: Final = "v4.channel.k8s.io"
MAX_PORTS: Final = 128
"""Each has two channels, and a channel is one byte."""
_PORT: Final = struct.Struct("<H")


class SpdyForwarding:
    """A session of kubectl: two streams for each connection, one with its data and one with what went wrong."""

    def __init__(self, ports: PodPorts) -> None:
        self._ports = ports
        self._waiting: dict[str, SpdyStream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, connection: SpdyConnection) -> None:
        """Forward what the client asks for, until it goes."""
        async with asyncio.TaskGroup() as group, aclosing(connection.accept()) as streams:
            async for stream in streams:
                if not _is_sound(stream.headers):
                    await stream.reset()
                elif (pair := self._pair(stream)) is not None:
                    task = group.create_task(self._forward(*pair))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
            for task in self._tasks:
                task.cancel()

    def _pair(self, stream: SpdyStream) -> tuple[SpdyStream, SpdyStream] | None:
        """The streams of data and of errors of one connection, once both are there."""
        request = _request_of(stream)
        other = self._waiting.pop(request, None)
        kind = stream.headers["streamtype"]
        if other is None or other.headers["streamtype"] == kind:
            self._waiting = {key: waits for key, waits in self._waiting.items() if not waits.done}
            self._waiting[request] = stream
            return None
        return (stream, other) if kind == "data" else (other, stream)

    async def _forward(self, data: SpdyStream, errors: SpdyStream) -> None:
        with suppress(ConnectionError):
            try:
                with suppress(ConnectionError):  # it has reset the stream, and waits for the end of the other one
                    await self._ports.forward(int(data.headers["port"]), data)
            except PortForwardError as problem:
                with suppress(ConnectionError):
                    await errors.write(str(problem).encode())
                await errors.end()
                await data.reset()
            else:
                data.received.drop()  # what still comes must not make other connections wait
                await data.end()
                await errors.end()


def _is_sound(headers: dict[str, str]) -> bool:
    return headers.get("streamtype") in ("data", "error") and port_number(headers.get("port", "")) is not None


def _request_of(stream: SpdyStream) -> str:
    """What the two streams of a connection have in common; without it their numbers, the first is that of errors."""
    by_number = stream.number if stream.headers["streamtype"] == "error" else stream.number - 2
    return stream.headers.get("requestid") or str(by_number)


class ChannelForwarding:
    """A session of other clients: one connection to each of some ports, with two channels for each.

    The first message of a channel is the port, little-endian. A client cannot close one direction only.
    """

    def __init__(self, ports: PodPorts, numbers: Sequence[int], socket: web.WebSocketResponse) -> None:
        self._ports = ports
        self._numbers = numbers
        self._socket = socket
        self._data = [_Channel(socket, 2 * place) for place in range(len(numbers))]

    async def run(self) -> None:
        """Forward until all connections have ended, or the client goes."""
        with suppress(ConnectionError):
            for number, data in zip(self._numbers, self._data, strict=True):
                await data.write(_PORT.pack(number))
                await data.write_error(_PORT.pack(number))
        async with asyncio.TaskGroup() as group:
            works = [group.create_task(self._receive()), group.create_task(self._forward_all())]
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            for work in works:
                work.cancel()
        await self._socket.close()

    async def _forward_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number, data in zip(self._numbers, self._data, strict=True):
                group.create_task(self._forward(number, data))

    async def _forward(self, number: int, data: "_Channel") -> None:
        with suppress(ConnectionError):
            try:
                await self._ports.forward(number, data)
            except PortForwardError as problem:
                await data.write_error(str(problem).encode())
            finally:
                data.received.drop()  # what still comes must not make other connections wait

    async def _receive(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, is_errors = divmod(message.data[0], 2)
            if is_errors or channel >= len(self._data):
                continue
            try:
                await self._data[channel].received.put(message.data[1:])
            except TimeoutError:
                return


class _Channel:
    """A channel with the data of one connection, and the one with its errors behind it."""

    def __init__(self, socket: web.WebSocketResponse, number: int) -> None:
        self._socket = socket
        self._number = number
        self.received = StreamBuffer()

    async def read(self) -> bytes:
        return await self.received.get()

    async def lost(self) -> None:
        """There is no way to tell that either."""
        await asyncio.Event().wait()

    async def write(self, data: bytes) -> None:
        await self._socket.send_bytes(bytes([self._number]) + data)

    async def write_error(self, data: bytes) -> None:
        await self._socket.send_bytes(bytes([self._number + 1]) + data)

    async def end(self) -> None:
        """There is no way to tell: the whole session ends with its last connection."""
