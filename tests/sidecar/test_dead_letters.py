"""Dead letters: always valid JSON, never too large, and as much of the caller as can be read (Q3, Q6, Q7, S27)."""

import base64
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dead_letters import (
    Origin,
    Recognised,
    dead_letter,
    decode_dispatch,
    recognise,
    rejected_result,
    safe_payload,
)
from sidecar.messages import MalformedMessageError

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ORIGIN = Origin(source="dispatch", subject="s", stream="S", consumer="c", sequence=9, consumer_sequence=3, attempt=2)


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        (b'{"a":1e400}', b'{"a":1e400}'),
        (b"null", b"null"),
        (b"not json", b'"not json"'),
        (b"", b'""'),
        (b'{"a":1} x', b'"{\\"a\\":1} x"'),
        (b"\xff\x00", b'{"base64":"/wA="}'),
        (b'"\xff"', b'{"base64":"Iv8i"}'),
    ],
)
def test_any_bytes_become_json(data: bytes, payload: bytes) -> None:
    assert bytes(safe_payload(data, 1000)) == payload


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=200))
def test_the_payload_is_valid_json_and_bounded(data: bytes, limit: int) -> None:
    raw = bytes(safe_payload(data, limit))
    msgspec.json.decode(raw.decode())
    assert len(raw) <= limit + 60


def test_what_is_too_large_is_cut_and_says_so() -> None:
    cut = msgspec.json.decode(bytes(safe_payload(b"[" + b"1," * 1000 + b"1]", 400)))
    assert cut["size"] == 2003
    assert base64.b64decode(cut["truncatedBase64"]) == (b"[" + b"1," * 1000)[:300]


@pytest.mark.parametrize(
    ("data", "known"),
    [
        (b"garbage", Recognised()),
        (b"[]", Recognised()),
        (b"{", Recognised()),
        (b"{}", Recognised()),
        (b'{"invocationID":"i"}', Recognised("i")),
        (b'{"invocationID":7,"serverlessRequestID":" Pool "}', Recognised("", "pool")),
        (b'{"invocationID":"a b","serverlessRequestID":"a.b"}', Recognised()),
        (
            b'{"invocationID":"i","serverlessRequestID":"p","replySubject":"_INBOX.1","mode":"sync","headers":7}',
            Recognised("i", "p", "_INBOX.1", "sync"),
        ),
        (
            b'{"invocationID":"i","serverlessRequestID":"p","workerName":"w","workerNamespace":"n","payload":[1]}',
            Recognised("i", "p", worker_name="w", worker_namespace="n"),
        ),
        (b'{"invocationID":"i","serverlessRequestID":"' + b"x" * 257 + b'"}', Recognised("i")),
        (b'{"invocationID":"i","mode":"' + b"x" * 10_000 + b'","replySubject":"a\\nb"}', Recognised("i")),
        (b'{"invocationID":"i","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}", Recognised()),
        (b'{"invocationID":"\\ud800"}', Recognised()),
    ],
)
def test_what_can_be_read_is_read(data: bytes, known: Recognised) -> None:
    assert recognise(data) == known


@pytest.mark.parametrize(
    ("known", "answerable"),
    [(Recognised(), False), (Recognised("i"), False), (Recognised("", "p"), False), (Recognised("i", "p"), True)],
)
def test_a_caller_is_answered_when_both_ids_are_known(known: Recognised, answerable: bool) -> None:
    assert known.answerable is answerable


@pytest.mark.parametrize("invocation_id", ["", " ", "a b", "a\\nb", "a\\u0000", "x" * 257, "é" * 129])
def test_ids_that_fit_no_header_are_malformed(invocation_id: str) -> None:
    data = f'{{"invocationID":"{invocation_id}","serverlessRequestID":"p","workerName":"w","workerNamespace":"n"}}'
    with pytest.raises(MalformedMessageError, match="invocationID"):
        decode_dispatch(data.encode())


def test_the_dead_letter_tells_where_it_came_from() -> None:
    known = Recognised("i", "p", worker_name="w", worker_namespace="n")
    letter = dead_letter(ORIGIN, known, b"x" * 10_000, "malformed_message", "bad", NOW, 9000)
    encoded = msgspec.json.encode(letter)
    assert len(encoded) < 9000
    fields = msgspec.json.decode(encoded)
    assert fields.pop("payload")["size"] == 10_000
    assert fields == {
        "version": "v1",
        "source": "dispatch",
        "state": "dead_lettered",
        "failureClass": "malformed_message",
        "invocationID": "i",
        "serverlessRequestID": "p",
        "workerName": "w",
        "workerNamespace": "n",
        "originalSubject": "s",
        "stream": "S",
        "consumer": "c",
        "streamSequence": 9,
        "consumerSequence": 3,
        "deliveryCount": 2,
        "error": "bad",
        "failedAt": "2026-03-04T05:06:07Z",
    }


def test_the_caller_gets_a_failed_result() -> None:
    result = rejected_result(Recognised("i", "p", "_INBOX.1", "sync"), "malformed_message", "bad", NOW, "w", "n")
    assert (result.state, result.failure_class, result.status_code) == ("failed", "malformed_message", 502)
    assert (result.invocation_id, result.serverless_request_id, result.reply_subject) == ("i", "p", "_INBOX.1")
    assert (result.started_at, result.completed_at, result.error) == (NOW, NOW, "bad")


def test_the_longest_dead_letter_fits_its_message() -> None:
    """Q7: whatever the original holds, its copy is published."""
    text = '"' * 256
    known = Recognised(text, "p" * 256, text, text, text, text)
    letter = dead_letter(ORIGIN, known, b"\xff" * 100_000, "malformed_message", "\x00" * 10_000, NOW, 50_000)
    assert 40_000 < len(msgspec.json.encode(letter)) < 50_000


def test_json_nested_beyond_reading_becomes_text() -> None:
    """Q6: the dead letter of such a message can be encoded too."""
    data = b"[" * 100_000 + b"]" * 100_000
    assert msgspec.json.decode(bytes(safe_payload(data, 1_000_000))) == data.decode()


def test_the_error_of_a_rejected_result_is_bounded() -> None:
    assert len(rejected_result(Recognised("i", "p"), "dispatch_error", "x" * 10_000, NOW).error) == 400
