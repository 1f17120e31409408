"""The frames of SPDY/3.1, as kubectl 1.32 sent them, and as it has to read ours."""

import struct
import zlib

import pytest

from simulator.kube.spdy.dictionary import DICTIONARY
from simulator.kube.spdy.frames import (
    MAX_CONTROL_BYTES,
    MAX_HEADER_BYTES,
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

KUBECTL = bytes.fromhex(
    "80030001000000400000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a024cc6a68616061c0c0c0"
    "c0590489c74c50fa663400000000ffff"
    "0000000101000000"
    "800300010000001800000003000000000000c2aa1b54102512a119000000ffff"
    "0000000300000008474554202f0d0a0d"
    "80030003000000080000000300000005"
    "800300060000000400000001"
)
"""One connection of `kubectl port-forward`, with a shorter request, and a ping."""
FORWARDED: list[Frame] = [
    SynStream(1, {"streamtype": "error", "port": "18080", "requestid": "0"}, fin=False),
    Data(1, b"", fin=True),
    SynStream(3, {"streamtype": "data", "port": "18080", "requestid": "0"}, fin=False),
    Data(3, b"GET /\r\n\r", fin=False),
    Reset(3),
    Ping(1),
]


def test_the_dictionary_is_that_of_the_protocol() -> None:
    # The check sum that a compressor writes down for the dictionary: kubectl's frames begin with it.
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)


def test_what_kubectl_sends() -> None:
    assert list(FrameDecoder().feed(KUBECTL)) == FORWARDED


def test_frames_may_come_in_pieces() -> None:
    decoder = FrameDecoder()
    frames = [frame for byte in KUBECTL for frame in decoder.feed(bytes([byte]))]
    assert [frame for frame in frames if not isinstance(frame, Data)] == [
        frame for frame in FORWARDED if not isinstance(frame, Data)
    ]
    data = [frame for frame in frames if isinstance(frame, Data) and frame.stream == 3]
    assert b"".join(frame.data for frame in data) == b"GET /\r\n\r"
    assert not any(frame.fin for frame in data)


def test_the_last_part_of_a_last_frame_is_the_end() -> None:
    decoder = FrameDecoder()
    frame = data_frame(5, b"abcd", fin=True)
    assert list(decoder.feed(frame[:10])) == [Data(5, b"ab", fin=False)]
    assert list(decoder.feed(frame[10:])) == [Data(5, b"cd", fin=True)]


def test_what_is_of_no_use_is_passed_over() -> None:
    settings = struct.pack(">IIIII", 0x80030004, 12, 1, 4, 100)
    window = struct.pack(">IIII", 0x80030009, 8, 1, 1 << 16)
    assert list(FrameDecoder().feed(settings + window + go_away_frame(0, GoAwayStatus.OK))) == [GoAway()]


def test_our_frames() -> None:
    assert data_frame(3, b"hi", fin=True) == bytes.fromhex("00000003010000026869")
    assert reset_frame(3, ResetStatus.CANCEL) == bytes.fromhex("80030003000000080000000300000005")
    assert ping_frame(1) == bytes.fromhex("800300060000000400000001")
    assert go_away_frame(3, GoAwayStatus.PROTOCOL_ERROR) == bytes.fromhex("80030007000000080000000300000001")


def test_replies_have_no_headers_and_one_compression() -> None:
    encoder, inflater = ReplyEncoder(), zlib.decompressobj(zdict=DICTIONARY)
    for stream in (1, 3, 5):
        reply = encoder.reply(stream)
        kind, size, number = struct.unpack_from(">III", reply)
        assert (kind, size, number) == (0x80030002, len(reply) - 8, stream)
        assert inflater.decompress(reply[12:]) == bytes(4)


def opening(headers: bytes, *, compressed: bytes | None = None) -> bytes:
    """A frame that opens stream 1 with these headers."""
    deflater = zlib.compressobj(zdict=DICTIONARY)
    block = compressed or deflater.compress(headers) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return struct.pack(">IIIIH", 0x80030001, len(block) + 10, 1, 0, 0) + block


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (bytes.fromhex("8002000600000004"), "version 2"),
        (b"\x80\x03\x00\x01" + (MAX_CONTROL_BYTES + 1).to_bytes(4, "big"), "65537 bytes"),
        (opening(b"", compressed=b"no deflate"), "cannot be read"),
        (opening(struct.pack(">I", 2)), "cannot be read"),
        (opening(bytes(MAX_HEADER_BYTES + 1)), "headers of more than"),
        (opening(struct.pack(">II", 1, 1) + b"\xff" + bytes(4)), "cannot be read"),
        (bytes.fromhex("800300030000000400000001"), "cannot be read"),
        (bytes.fromhex("8003000600000000"), "cannot be read"),
    ],
)
def test_what_makes_no_sense(frame: bytes, problem: str) -> None:
    with pytest.raises(SpdyError, match=problem):
        list(FrameDecoder().feed(frame))
