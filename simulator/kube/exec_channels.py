"""The streams of a command over a WebSocket: the protocols `v5.channel.k8s.io` and, without a half-close, `v4`.

Each message is one byte that names the channel, and data. The command's end is told on the channel of errors, by a
Status.
"""

from collections.abc import AsyncGenerator
from typing import Final, Literal

import msgspec
from aiohttp import WSMsgType, web

from simulator.kube.kinds import Object
from simulator.kube.pod_streams import TerminalSize

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
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
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY:
                continue
            match message.data[:1], message.data[1:]:
                case (b"\x00", data) if data:
                    yield data
                case (b"\xff", b"\x00") if self._socket.ws_protocol == PROTOCOLS[0]:
                    yield b""
                case (b"\x04", text) if (size := _size(text)) is not None:
                    yield size

    async def send(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        """Give the client output. Raises ConnectionError when it is gone."""
        await self._socket.send_bytes(bytes([_OUTPUT[stream]]) + data)

    async def end(self, status: Object) -> None:
        """Tell the client how the command ended. Raises ConnectionError when it is gone."""
        await self._socket.send_bytes(bytes([ERROR]) + msgspec.json.encode(status))
        await self._socket.close()


def exit_status(code: int) -> Object:
    """The Status of a command's exit code."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _size(text: bytes) -> TerminalSize | None:
    try:
        size = msgspec.json.decode(text, type=_Size)
    except msgspec.DecodeError:
        return None
    fits = all(0 <= number <= 0xFFFF for number in (size.width, size.height))
    return TerminalSize(size.width, size.height) if fits else None
