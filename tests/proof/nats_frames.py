"""The NATS client protocol cut into its frames, byte for byte: what a proxy needs to know of it. No I/O."""

from dataclasses import dataclass
from typing import Final

_CRLF: Final = b"\r\n"
_LEADING: Final = {b"PUB": 1, b"HPUB": 1, b"MSG": 2, b"HMSG": 2}
"""The verbs that carry a message: how many words come before the optional reply subject."""
_SIZES: Final = {b"PUB": 1, b"HPUB": 2, b"MSG": 1, b"HMSG": 2}
"""How many numbers end the line: the size of the headers, if the verb has them, and that of headers and payload."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One protocol operation; `raw` are its bytes as they came, payload and line ends included."""

    verb: str
    raw: bytes
    subject: str = ""
    reply: str = ""
    payload: bytes = b""


class FrameParser:
    """Collects the bytes of one direction of one connection and gives out complete frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take some bytes, return the frames that they complete."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        line_end = self._buffer.find(_CRLF)
        if line_end < 0:
            return None
        words = bytes(self._buffer[:line_end]).split()
        verb = words[0].upper() if words else b""
        body_start = line_end + len(_CRLF)
        if verb not in _LEADING:
            return Frame(verb.decode(), self._take(body_start))
        leading, sizes = _LEADING[verb], _SIZES[verb]
        body_end = body_start + int(words[-1])
        if len(self._buffer) < body_end + len(_CRLF):
            return None
        header_size = int(words[-2]) if sizes == 2 else 0
        payload = bytes(self._buffer[body_start + header_size : body_end])
        reply = words[1 + leading].decode() if len(words) == 2 + leading + sizes else ""
        return Frame(verb.decode(), self._take(body_end + len(_CRLF)), words[1].decode(), reply, payload)

    def _take(self, size: int) -> bytes:
        raw = bytes(self._buffer[:size])
        del self._buffer[:size]
        return raw
