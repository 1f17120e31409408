"""The client's side of SPDY, for tests."""

import struct
import zlib

from simulator.kube.spdy.dictionary import DICTIONARY


class SpdyClient:
    """Makes the frames that open streams; their compression goes on from one to the next."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj(zdict=DICTIONARY)

    def open(self, stream: int, **headers: object) -> bytes:
        """The frame that opens a stream."""
        words = [str(word).encode() for item in headers.items() for word in item]
        text = struct.pack(">I", len(headers)) + b"".join(struct.pack(">I", len(word)) + word for word in words)
        block = self._deflater.compress(text) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">IIIIH", 0x80030001, len(block) + 10, stream, 0, 0) + block


Frame = tuple[str, int, bytes]
_KINDS = {2: "reply", 3: "reset", 6: "ping", 7: "go away"}


class Answers:
    """Reads the frames of a server: (what, stream or number, data)."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= 8:
            first, rest = struct.unpack_from(">II", self._buffer)
            size = rest & 0xFFFFFF
            if len(self._buffer) < 8 + size:
                break
            body, self._buffer = self._buffer[8 : 8 + size], self._buffer[8 + size :]
            if first >> 31:
                (number,) = struct.unpack_from(">I", body)
                frames.append((_KINDS[first & 0xFFFF], number, b""))
            else:
                frames.append(("end" if rest >> 24 else "data", first, body))
        return frames
