"""The frames of SPDY/3.1 as bytes, and back: what a server sends and receives."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from simulator.kube.spdy.dictionary import DICTIONARY

VERSION: Final = 3
MAX_CONTROL_BYTES: Final = 1 << 16
MAX_HEADER_BYTES: Final = 1 << 16
"""What a control frame, and its headers once they are expanded, may take here; clients use some 100 bytes."""
MAX_DATA_BYTES: Final = 1 << 16
"""What one frame of ours carries; the format allows 16 MiB."""

_CONTROL: Final = 1 << 31
_FIN: Final = 1
_HEADER: Final = struct.Struct(">II")
_NUMBER: Final = struct.Struct(">I")
_PAIR: Final = struct.Struct(">II")


class _Kind(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    PING = 6
    GOAWAY = 7
    HEADERS = 8


class ResetStatus(IntEnum):
    """Why a stream is reset."""

    PROTOCOL_ERROR = 1
    REFUSED_STREAM = 3
    CANCEL = 5
    FLOW_CONTROL_ERROR = 7


class GoAwayStatus(IntEnum):
    """Why a connection ends."""

    OK = 0
    PROTOCOL_ERROR = 1


class SpdyError(ValueError):
    """The peer does not speak SPDY/3.1."""


@dataclass(frozen=True, slots=True)
class SynStream:
    """The peer opens a stream; `fin`: it will send nothing on it."""

    stream: int
    headers: dict[str, str]
    fin: bool


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream, which may be a part of one frame; `fin`: the last ones."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True, slots=True)
class Reset:
    """The peer has done with a stream, in both directions."""

    stream: int


@dataclass(frozen=True, slots=True)
class Ping:
    """To be sent back, if the peer made up the number."""

    number: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """The peer ends the connection."""


Frame = SynStream | Data | Reset | Ping | GoAway


class FrameDecoder:
    """Takes bytes as they come and yields the frames among them, but for those that a server has no use for.

    Flow control (WINDOW_UPDATE) is among these: kubectl and kubelets send no such frames and heed none.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflater = zlib.decompressobj(zdict=DICTIONARY)
        self._open = Data(0, b"", fin=False)  # the data frame that the buffer begins in the middle of
        self._left = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield what is complete.

        Raises:
            SpdyError: the bytes make no sense, or a frame is too long.
        """
        self._buffer += data
        while True:
            if self._left:
                if not self._buffer:
                    return
                yield self._part_of_data()
            elif len(self._buffer) < _HEADER.size:
                return
            elif self._buffer[0] & 0x80:
                body = self._control_body()
                if body is None:
                    return
                if (frame := self._control(*body)) is not None:
                    yield frame
            else:
                stream, rest = _HEADER.unpack(self._take(_HEADER.size))
                self._open, self._left = Data(stream, b"", fin=bool(rest >> 24 & _FIN)), rest & 0xFFFFFF
                if not self._left:
                    yield self._open

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _part_of_data(self) -> Data:
        data = self._take(self._left)
        self._left -= len(data)
        return Data(self._open.stream, data, fin=self._open.fin and not self._left)

    def _control_body(self) -> tuple[int, int, bytes] | None:
        """The type, flags and body of the control frame that the buffer begins with, or None if it is not all there."""
        first, rest = _HEADER.unpack_from(self._buffer)
        size = rest & 0xFFFFFF
        if first >> 16 & 0x7FFF != VERSION or size > MAX_CONTROL_BYTES:
            raise SpdyError(f"a frame of version {first >> 16 & 0x7FFF} and {size} bytes")
        if len(self._buffer) < _HEADER.size + size:
            return None
        return first & 0xFFFF, rest >> 24, self._take(_HEADER.size + size)[_HEADER.size :]

    def _control(self, kind: int, flags: int, body: bytes) -> Frame | None:
        try:
            match kind:
                case _Kind.SYN_STREAM:
                    headers = self._headers(body[10:])
                    return SynStream(_NUMBER.unpack_from(body)[0], headers, fin=bool(flags & _FIN))
                case (
                    _Kind.SYN_REPLY | _Kind.HEADERS
                ):  # not for a server, but the compression goes on from one block to the next
                    self._headers(body[4:])
                case _Kind.RST_STREAM:
                    return Reset(_PAIR.unpack(body)[0])
                case _Kind.PING:
                    return Ping(_NUMBER.unpack(body)[0])
                case _Kind.GOAWAY:
                    return GoAway()
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise SpdyError(f"a frame of type {kind} that cannot be read: {error}") from error
        return None

    def _headers(self, block: bytes) -> dict[str, str]:
        text = self._inflater.decompress(block, MAX_HEADER_BYTES)
        if self._inflater.unconsumed_tail:
            raise SpdyError(f"headers of more than {MAX_HEADER_BYTES} bytes")
        (count,) = _NUMBER.unpack_from(text)
        place = _NUMBER.size
        words: list[str] = []
        for _ in range(2 * min(count, MAX_HEADER_BYTES)):
            (size,) = _NUMBER.unpack_from(text, place)
            words.append(text[place + 4 : place + 4 + size].decode())
            place += 4 + size
        return dict(zip(words[::2], words[1::2], strict=True))


class ReplyEncoder:
    """Makes the replies to streams, none of which has headers; their compression goes on from one to the next."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj(zdict=DICTIONARY)

    def reply(self, stream: int) -> bytes:
        """The frame that accepts a stream."""
        none = self._deflater.compress(_NUMBER.pack(0)) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        return _control_frame(_Kind.SYN_REPLY, _NUMBER.pack(stream) + none)


def data_frame(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """A frame with at most `MAX_DATA_BYTES`."""
    return _HEADER.pack(stream, (_FIN if fin else 0) << 24 | len(data)) + data


def reset_frame(stream: int, status: ResetStatus) -> bytes:
    """A frame that ends a stream in both directions."""
    return _control_frame(_Kind.RST_STREAM, _PAIR.pack(stream, status))


def ping_frame(number: int) -> bytes:
    """The answer to a ping."""
    return _control_frame(_Kind.PING, _NUMBER.pack(number))


def go_away_frame(last_stream: int, status: GoAwayStatus) -> bytes:
    """A frame that says that the connection is at its end."""
    return _control_frame(_Kind.GOAWAY, _PAIR.pack(last_stream, status))


def _control_frame(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(_CONTROL | VERSION << 16 | kind, len(body)) + body
