"""Whatever arrives, a reader returns a value or one classified error, and a dead letter of it can be written.

Golden messages are damaged as wires, disks, other people's encoders and attackers damage them. The examples are the
same in every run.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures import wire
from fixtures.wire.message_schemas import MESSAGES
from framework.contract import InvocationResponse
from sidecar.dead_letters import Origin, dead_letter, decode_dispatch, recognise, rejected_result, safe_payload
from sidecar.deadline import queue_wait_s
from sidecar.messages import (
    DeadLetterMessage,
    FailureClass,
    InvocationResultMessage,
    MalformedMessageError,
    decode,
    encode,
)
from sidecar.outcome import AnswerError, read_envelope
from sidecar.subjects import normalise_request_id

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ORIGIN = Origin(
    source="dispatch",
    subject="runtime.serverless.dispatch.tts-small.w",
    stream="RUNTIME_SERVERLESS",
    consumer="serverless-sidecar-w",
    sequence=2**64 - 1,
    consumer_sequence=2**64 - 1,
    attempt=9,
)
CUT_FORM_BYTES: Final = 80
"""What `safe_payload` needs, beyond its bound, to say that a message was cut."""

GOLDENS = [case for message_type in wire.MESSAGE_TYPES for case in wire.golden(message_type)]
FRAGMENTS = [
    *(b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xef\xbb\xbf", b"\x00", b"\x1f", b"\x7f"),
    *(rb"\ud800", rb"\udc00\ud800", rb"\u0000", rb"\uD83D", b"\\", b'"', b"{", b"}", b"[", b"]", b",", b":", b" "),
    *(b"NaN", b"-Infinity", b"1e400", b"-0", b"0x1", b"9" * 5000, b"1." + b"0" * 400, b"null", b"{}" * 3),
    *(b"[" * 2000, b'{"a":' * 2000, b"]" * 2000, b'"payload":', b'"invocationID":"i",', b'"serverlessRequestID":"p",'),
    *("\u202e\u2028\U0001f600".encode(), b"p" * 3000, b"/**/", b"\r\n"),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        0,
        -1,
        1.5,
        1e400,
        2**31,
        2**63,
        2**64,
        -(2**64),
        10**400,
        "",
        " ",
        "x" * 300,
        "\ud800",
        "\0",
        "é" * 200,
    ),
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-03-04T05:06:07"),
    *([], {}, [[[[]]]], {"a": {"b": None}}, {"": ""}, {"payload": {"invocationID": "inner"}}),
]
ERRORS = ["", "refused", *(text * 3000 for text in ("x", '"', "\0", "\U0001f600"))]
Damage = Callable[[bytes], bytes]


def put(fragment: bytes, at: float, removed: int) -> Damage:
    """Insert bytes at a fraction of the message's length, in place of `removed` ones."""

    def damage(data: bytes) -> bytes:
        start = int(at * len(data))
        return data[:start] + fragment + data[start + removed :]

    return damage


def flip(at: float, bit: int) -> Damage:
    """Flip one bit of the byte at a fraction of the message's length."""

    def damage(data: bytes) -> bytes:
        start = int(at * len(data))
        return data[:start] + bytes([data[start] ^ 1 << bit]) + data[start + 1 :] if data else data

    return damage


def swap(path: list[int], value: Any) -> Damage:
    """Put `value` in place of what lies at a path in the message's JSON; the steps choose among what there is."""

    def damage(data: bytes) -> bytes:
        try:
            root = json.loads(data)
        except (ValueError, RecursionError):
            return data
        holder: Any = {"root": root}
        key: Any = "root"
        for step in path:
            inner = holder[key]
            if not isinstance(inner, dict | list) or not inner:
                break
            holder, key = inner, sorted(inner)[step % len(inner)] if isinstance(inner, dict) else step % len(inner)
        holder[key] = value
        return json.dumps(root if holder is not root or key != "root" else value).encode()

    return damage


def nest(depth: int, closed: bool) -> Damage:
    """Put the whole message that many levels down."""
    return lambda data: b'{"a":[' * depth + data + b"]}" * (depth if closed else 0)


def repeat_fields(data: bytes) -> bytes:
    """Have every field twice."""
    return data[:-1] + b"," + data[1:] if len(data) > 2 else data


FRACTION = st.floats(min_value=0, max_value=0.999)
DAMAGES = st.one_of(
    st.builds(put, st.sampled_from(FRAGMENTS), FRACTION, st.integers(0, 8)),
    st.builds(put, st.binary(max_size=8), FRACTION, st.integers(0, 8)),
    st.builds(put, st.just(b""), FRACTION, st.integers(1, 10_000)),
    st.builds(put, st.sampled_from(GOLDENS).map(lambda case: case.data), FRACTION, st.integers(0, 50)),
    st.builds(flip, FRACTION, st.integers(0, 7)),
    st.builds(swap, st.lists(st.integers(0, 30), min_size=1, max_size=3), st.sampled_from(VALUES)),
    st.builds(nest, st.sampled_from([1, 50, 400, 600, 5000]), st.booleans()),
    st.just(repeat_fields),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A golden message with one to three damages, or none."""
    data = draw(st.sampled_from(GOLDENS)).data
    for damage in draw(st.lists(DAMAGES, max_size=3)):
        data = damage(data)
    return data


bounded = settings(max_examples=200, deadline=None, derandomize=True)


@given(damaged())
@bounded
def test_decoding_gives_a_message_that_can_be_written_or_a_malformed_message(data: bytes) -> None:
    for message_type in MESSAGES.values():
        try:
            message = decode(data, message_type)
        except MalformedMessageError:
            continue
        written = encode(message)
        assert written.decode()
        assert decode(written, message_type) == message


@given(damaged())
@bounded
def test_a_decoded_dispatch_can_be_answered(data: bytes) -> None:
    """S7: its times, too, can be compared with ours."""
    try:
        dispatch = decode_dispatch(data)
    except MalformedMessageError:
        return
    assert dispatch.invocation_id.isprintable()
    waited_s = queue_wait_s(dispatch, NOW)
    assert waited_s is None or waited_s >= 0


@given(damaged())
@bounded
def test_whoever_is_recognised_can_be_answered(data: bytes) -> None:
    """S27."""
    known = recognise(data)
    if known.answerable:
        assert normalise_request_id(known.request_id) == known.request_id
        result = rejected_result(known, FailureClass.MALFORMED_MESSAGE, "refused", NOW)
        assert decode(encode(result), InvocationResultMessage) == result


@given(damaged(), st.sampled_from([199, 200, 204, 299, 500]))
@bounded
def test_an_answer_is_an_envelope_or_has_a_class(data: bytes, status: int) -> None:
    """S17, S18."""
    failure_class, error, envelope = FailureClass.NONE, "", InvocationResponse()
    try:
        envelope = read_envelope(status, data)
    except AnswerError as refusal:
        failure_class, error = refusal.failure_class, str(refusal)
    if 200 <= status <= 299:
        expected = {FailureClass.NONE, FailureClass.MALFORMED_ANSWER, FailureClass.INVALID_STATUS_CODE}
        assert failure_class in expected
    else:
        assert failure_class == FailureClass.FRAMEWORK_REFUSED
    assert len(error) < 1000
    assert envelope.status_code == 0 or 100 <= envelope.status_code <= 599
    assert encode(envelope).decode()


@given(damaged() | st.binary(max_size=400), st.integers(0, 3000))
@bounded
def test_a_safe_payload_is_valid_json_within_its_bound(data: bytes, limit: int) -> None:
    """Q6, Q7."""
    payload = bytes(safe_payload(data, limit))
    assert len(payload) <= max(limit, CUT_FORM_BYTES + limit)
    assert payload.decode()
    msgspec.json.decode(payload, type=msgspec.Raw)


@given(damaged() | st.binary(max_size=400), st.sampled_from([20_000, 65_536, 1_048_576]), st.sampled_from(ERRORS))
@bounded
def test_any_bytes_have_a_dead_letter_that_fits(data: bytes, max_bytes: int, error: str) -> None:
    """Q6, Q7."""
    letter = dead_letter(ORIGIN, recognise(data), data, FailureClass.MALFORMED_MESSAGE, error, NOW, max_bytes)
    written = encode(letter)
    assert len(written) <= max_bytes
    assert written.decode()
    assert decode(written, DeadLetterMessage).failure_class == FailureClass.MALFORMED_MESSAGE
