"""The proxy's parser: whatever the cuts in the stream of bytes, the same frames, and not a byte changed."""

import pytest

from tests.proof.nats_frames import Frame, FrameParser

INFO = b'INFO {"server_id":"X Y","max_payload":1048576}\r\n'
PING = b"PING\r\n"
PUB = b"PUB a.b 5\r\nx\r\ny!\r\n"
REQUEST = b"PUB  a.b  _INBOX.1  0\r\n\r\n"
HPUB = b"HPUB a.b _INBOX.1 24 26\r\nNATS/1.0\r\nNats-X: 12\r\n\r\n{}\r\n"
MSG = b"MSG a.b 7 $JS.ACK.s.c.1.2.3.4.5 2\r\n{}\r\n"
HMSG = b"hmsg _INBOX.1 7 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"

FRAMES = [
    Frame("INFO", INFO),
    Frame("PING", PING),
    Frame("PUB", PUB, "a.b", "", b"x\r\ny!"),
    Frame("PUB", REQUEST, "a.b", "_INBOX.1", b""),
    Frame("HPUB", HPUB, "a.b", "_INBOX.1", b"{}"),
    Frame("MSG", MSG, "a.b", "$JS.ACK.s.c.1.2.3.4.5", b"{}"),
    Frame("HMSG", HMSG, "_INBOX.1", "", b""),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 4096])
def test_frames_do_not_depend_on_how_the_bytes_arrive(size: int) -> None:
    data = b"".join(frame.raw for frame in FRAMES)
    parser = FrameParser()
    found = [frame for start in range(0, len(data), size) for frame in parser.feed(data[start : start + size])]
    assert found == FRAMES


def test_an_incomplete_frame_is_kept_back() -> None:
    parser = FrameParser()
    assert parser.feed(PUB[:-1]) == []
    assert parser.feed(PUB[-1:]) == [FRAMES[2]]
