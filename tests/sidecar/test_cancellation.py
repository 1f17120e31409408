"""Cancel messages (S8): one usable ID, or a classified error."""

import pytest

from sidecar.cancellation import MAX_CANCEL_BYTES, decode_cancel
from sidecar.messages import MalformedMessageError


@pytest.mark.parametrize(
    "data",
    [b'{"invocationID":"inv-1"}', b' {"later":[1], "invocationID": "inv-1"} ', b'{"invocationID":"inv-1","a":null}'],
)
def test_the_invocation_is_named(data: bytes) -> None:
    assert decode_cancel(data) == "inv-1"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"inv-1",
        b'"inv-1"',
        b"{}",
        b"[]",
        b'{"invocationID":null}',
        b'{"invocationID":7}',
        b'{"invocationID":""}',
        b'{"invocationID":"a b"}',
        b'{"invocationID":"a\\u0000"}',
        b'{"invocationID":"\xff"}',
        b'{"invocationID":"' + b"x" * 257 + b'"}',
        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"invocationID":"inv-1"}' + b" " * MAX_CANCEL_BYTES,
    ],
)
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode_cancel(data)
