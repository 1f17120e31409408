"""Dead letters: what can be read of them, and what becomes of their originals (contract 3.10, Q6, Q7)."""

import base64
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dead_letters import safe_payload
from sidecar.messages import DeadLetterMessage, InvocationMessage, WorkerDispatchMessage, encode
from sidecar.subjects import Subjects
from simulator.api.invocations_request import parse_invocation
from simulator.dead_letter_rules import (
    DeadLetter,
    NotRetryableError,
    Original,
    copied_original,
    is_same_work,
    names_original,
    read_letter,
    retried,
    retry_id,
)
from simulator.jetstream.stored import StoredMessage

THEN = datetime(2026, 3, 4, 5, 9, tzinfo=UTC)
NOW = datetime(2026, 3, 4, 6, 0, tzinfo=UTC)
SUBJECTS = Subjects()
DISPATCH = WorkerDispatchMessage(
    invocation_id="inv-7a01",
    serverless_request_id="tts-small",
    worker_name="tts-worker",
    worker_namespace="runtime-instance",
    mode="sync",
    state="dispatching",
    content_type="application/json",
    headers={"x-trace": "t-88"},
    attributes={"voice": "b2"},
    payload=msgspec.Raw(b'{"text": "hi", "n": 1e400}'),
    timeout_seconds=20,
    result_subject="elsewhere",
    metrics_subject="elsewhere",
    reply_subject="_INBOX.gone",
    enqueued_at=THEN,
    dispatched_at=THEN,
)


def letter(**changes: Any) -> DeadLetter:
    fields = {"sequence": 4121, "source": "dispatch", "pool": "tts-small", "message": message(), **changes}
    return DeadLetter(**fields)


def message(**changes: Any) -> DeadLetterMessage:
    fields: dict[str, Any] = {
        "source": "dispatch",
        "failure_class": "retry_exhausted",
        "error": "result could not be stored",
        "original_subject": "runtime.serverless.dispatch.tts-small.tts-worker",
        "stream": "RUNTIME_SERVERLESS",
        "stream_sequence": 4120,
        "failed_at": THEN,
    }
    return DeadLetterMessage(**fields | changes)


def whole(data: bytes) -> Original:
    return Original(data, len(data))


def stored(subject: str, data: bytes) -> StoredMessage:
    return StoredMessage(subject, 4121, data, {}, THEN)


@pytest.mark.parametrize("source", ["invocation", "dispatch", "result", "metric", "of-a-later-chapter"])
def test_a_dead_letter_of_any_source_is_read(source: str) -> None:
    body = encode(message(source=source))
    assert read_letter(stored(f"runtime.serverless.dlq.{source}.tts-small", body), SUBJECTS) == DeadLetter(
        4121, source, "tts-small", message(source=source)
    )


def test_s23_the_subject_says_whose_dead_letter_it_is() -> None:
    """A worker may write what it likes into a dead letter, but publish it only for its own pool."""
    body = encode(message(source="invocation", serverless_request_id="others"))
    read = read_letter(stored("runtime.serverless.dlq.dispatch.tts-small", body), SUBJECTS)
    assert read is not None
    assert (read.source, read.pool) == ("dispatch", "tts-small")


@pytest.mark.parametrize(
    "subject",
    [
        "runtime.serverless.invoke.dlq",
        "runtime.serverless.dispatch.dlq.invocation",
        "runtime.serverless.dlq.invocation",
        "other.prefix.dlq.invocation.tts-small",
        "runtime.serverlessdlq.invocation.tts-small",
    ],
)
def test_other_messages_are_no_dead_letters(subject: str) -> None:
    assert read_letter(stored(subject, encode(message())), SUBJECTS) is None


@pytest.mark.parametrize("data", [b"", b"garbage", b"\xff\x00", b"[]", b'{"source":"dispatch","failedAt":"now"}'])
def test_q6_a_dead_letter_that_cannot_be_read_is_one_all_the_same(data: bytes) -> None:
    read = read_letter(stored("runtime.serverless.dlq.result.unknown", data), SUBJECTS)
    assert read is not None
    assert (read.source, read.pool, read.message.failure_class) == ("result", "unknown", "malformed_message")
    assert "cannot be read" in read.message.error
    assert read.message.failed_at == THEN
    assert copied_original(read.message).data == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1e400, "a": 2}',
        b"not json",
        b"\xff\x00",
        b"",
        b"null",
        b"{}",
        b'{"size":3}',
        b'{"base64":7}',
        b'{"base64":"no base64!"}',
        '{"base64":"é"}'.encode(),
        b'{"base64":"/wA=","more":1}',
        b"[" * 5000 + b"]" * 5000,
    ],
)
def test_q6_the_copy_of_the_original_gives_its_bytes_back(data: bytes) -> None:
    assert copied_original(message(payload=safe_payload(data, 20_000))) == whole(data)


@given(st.binary(max_size=200))
def test_q6_any_bytes_come_back_but_those_of_a_json_string(data: bytes) -> None:
    copied = copied_original(message(payload=safe_payload(data, 1000)))
    assert copied.complete
    if copied.data != data:
        assert msgspec.json.decode(data) == copied.data.decode()


def test_q7_what_was_cut_is_known_in_part() -> None:
    cut = copied_original(message(payload=safe_payload(b"x" * 1000, 400)))
    assert (cut.data, cut.size, cut.complete) == (b"x" * 300, 1000, False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, True),
        ({"stream": "OTHER"}, False),
        ({"stream": ""}, False),
        ({"stream_sequence": 0}, False),
        ({"stream_sequence": 4121}, False),
        ({"stream_sequence": 2**64}, False),
    ],
)
def test_where_the_original_is_stored(changes: dict[str, Any], named: bool) -> None:
    assert names_original(letter(message=message(**changes)), "RUNTIME_SERVERLESS") is named


@pytest.mark.parametrize(
    ("invocation_id", "expected"),
    [
        ("inv-7a01", "retry-4121-inv-7a01"),
        ("order.1/é", "retry-4121-order-1"),
        ("a.b", "retry-4121-a-b"),
        ("", "retry-4121"),
        ("***", "retry-4121"),
        ("retry-80-order-1", "retry-4121-retry-80-order-1"),
        ("x" * 256, "retry-4121-" + "x" * 53),
    ],
)
def test_the_new_id_is_one_that_any_caller_could_have_chosen(invocation_id: str, expected: str) -> None:
    new = retry_id(4121, invocation_id)
    assert new == expected
    body = msgspec.json.encode({"serverlessRequestID": "tts", "invocationID": new})
    assert parse_invocation(body, "default").invocation_id == new


@given(st.integers(min_value=1, max_value=2**63), st.text())
def test_the_new_id_is_valid_and_names_the_dead_letter(sequence: int, invocation_id: str) -> None:
    assert re.fullmatch(rf"retry-{sequence}(-[A-Za-z0-9_-]+)?", retry_id(sequence, invocation_id))
    assert len(retry_id(sequence, invocation_id)) <= 64


def test_a_dispatch_becomes_a_new_async_invocation() -> None:
    assert retried(letter(), whole(encode(DISPATCH)), SUBJECTS, NOW) == InvocationMessage(
        invocation_id="retry-4121-inv-7a01",
        serverless_request_id="tts-small",
        mode="async",
        state="queued",
        content_type="application/json",
        headers={"x-trace": "t-88"},
        attributes={"voice": "b2"},
        payload=msgspec.Raw(b'{"text": "hi", "n": 1e400}'),
        timeout_seconds=20,
        result_subject="runtime.serverless.result.tts-small",
        metrics_subject="runtime.serverless.metrics.tts-small",
        enqueued_at=NOW,
    )


def test_an_earlier_retry_is_recognised_by_all_but_its_time() -> None:
    first = retried(letter(), whole(encode(DISPATCH)), SUBJECTS, THEN)
    again = retried(letter(), whole(encode(DISPATCH)), SUBJECTS, NOW)
    assert first != again
    assert is_same_work(encode(first), again)
    assert not is_same_work(encode(msgspec.structs.replace(first, payload=msgspec.Raw(b"1"))), again)
    assert not is_same_work(b"garbage", again)


def test_an_invocation_becomes_the_same() -> None:
    data = b'{"version":"v0","invocationID":"a","serverlessRequestID":" TTS-small ","replySubject":"_INBOX.1"}'
    again = retried(letter(source="invocation"), whole(data), SUBJECTS, NOW)
    assert (again.version, again.invocation_id, again.serverless_request_id) == ("v1", "retry-4121-a", "tts-small")
    assert (again.mode, again.reply_subject, again.enqueued_at) == ("async", "", NOW)


@pytest.mark.parametrize(
    ("changes", "original", "why"),
    [
        ({"source": "result"}, whole(encode(DISPATCH)), "it was a result"),
        ({"source": "metric"}, whole(encode(DISPATCH)), "it was a metric"),
        ({}, Original(b'{"invocationID":"a"', 900), "only the first 19 of its 900 bytes are known"),
        ({}, whole(b"garbage"), "not a InvocationMessage"),
        ({}, whole(b"\xff"), "not a InvocationMessage"),
        ({}, whole(b""), "not a InvocationMessage"),
        ({}, whole(b'{"serverlessRequestID":"tts-small"}'), "invocationID"),
        ({}, whole(b'{"invocationID":"a","serverlessRequestID":"tts-small","timeoutSeconds":"x"}'), "timeoutSeconds"),
        ({}, whole(b'{"invocationID":"a","serverlessRequestID":"tts small"}'), "request ID 'tts small'"),
        ({}, whole(b'{"invocationID":"a","serverlessRequestID":"others"}'), "pool others, but .* pool tts-small"),
        ({"pool": "unknown"}, whole(encode(DISPATCH)), "pool tts-small, but .* pool unknown"),
    ],
)
def test_what_cannot_be_queued_again_says_why(changes: dict[str, Any], original: Original, why: str) -> None:
    with pytest.raises(NotRetryableError, match=why):
        retried(letter(**changes), original, SUBJECTS, NOW)


def test_the_original_of_a_foreign_dead_letter_is_its_payload() -> None:
    """As the reference writes them: raw JSON, or nothing."""
    assert copied_original(message(payload=msgspec.Raw(b'{"a":1}'))) == whole(b'{"a":1}')
    assert copied_original(message()) == whole(b"")
    truncated = {"size": 10, "truncatedBase64": base64.b64encode(b"abc").decode()}
    assert copied_original(message(payload=msgspec.Raw(msgspec.json.encode(truncated)))) == Original(b"abc", 10)
