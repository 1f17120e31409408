"""The streams of a command over a WebSocket: the protocols `v5.channel.k8s.io` and, without a half-close, `v4`.

Each message is one byte that names the channel, and data. The command's end is told on the channel of errors, by a
Status.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final, Literal

import msgspec
from aiohttp import WSMsgType, web

from simulator.kube.kinds import Object
from simulator.kube.pod_streams import TerminalSize

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PING_S: Final = 5.0
"""How often a client is pinged: as often as kubectl does it."""
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_OUTPUT: Final = {"stdout": STDOUT, "stderr": STDERR}


class _Size(msgspec.Struct):
    width: int = msgspec.field(name="Width")
    height: int = msgspec.field(name="Height")


class ExecChannels:
    """A client's end of a command."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def received(self) -> AsyncGenerator[bytes | TerminalSize, None]:
        """What the client sends: standard input, where b"" is its end, and sizes of its window, until it goes."""
        pinging = asyncio.create_task(self._ping())
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.BINARY:
                    continue
                match message.data[:1], message.data[1:]:
                    case (b"\x00", data) if data:
                        yield data
                    case (b"\xff", b"\x00") if self._socket.ws_protocol == PROTOCOLS[0]:
                        yield b""
                    case (b"\x04", text) if (size := terminal_size(text)) is not None:
                        yield size
        finally:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)

    async def _ping(self) -> None:
        """Have the connection fail if the client is gone: while nobody takes what it sent, nothing is read from it."""
        while True:
            await asyncio.sleep(PING_S)
            await self._socket.ping()

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Give the client output. Raises ConnectionError when it is gone."""
        await self._socket.send_bytes(bytes([_OUTPUT[stream]]) + data)

    async def end(self, status: Object) -> None:
        """Tell the client how the command ended. Raises ConnectionError when it is gone."""
        await self._socket.send_bytes(bytes([ERROR]) + msgspec.json.encode(status))
        await self._socket.close()


SUCCESS: Final[Object] = {"metadata": {}, "status": "Success"}
"""The Status of what has ended as it should."""


def exit_status(code: int) -> Object:
    """The Status of a command's exit code."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def terminal_size(text: bytes) -> TerminalSize | None:
    """The size that a client sends, or None if it makes no sense."""
    try:
        size = msgspec.json.decode(text, type=_Size)
    except msgspec.DecodeError:
        return None
    fits = all(0 <= number <= 0xFFFF for number in (size.width, size.height))
    return TerminalSize(size.width, size.height) if fits else None
