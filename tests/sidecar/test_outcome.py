"""What a call's end means (contract 7.3 step 5)."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.messages import InvocationResultMessage, WorkerDispatchMessage
from sidecar.outcome import (
    EXCERPT_CHARACTERS,
    MAX_EVENT_ERROR_CHARACTERS,
    answered,
    cancelled,
    ended_event,
    failed,
    framework_request,
    started_event,
    timed_out,
    too_late,
    without_body,
)

STARTED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
ENDED = datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC)
DISPATCH = WorkerDispatchMessage(
    invocation_id="inv-1",
    serverless_request_id="pool",
    worker_name="w1",
    worker_namespace="ns",
    mode="sync",
    content_type="text/x",
    headers={"h": "1"},
    attributes={"a": "2"},
    payload=msgspec.Raw(b'{"x":  1e400}'),
    timeout_seconds=7,
    result_subject="secret.result",
    metrics_subject="secret.metrics",
    reply_subject="_INBOX.1",
    dispatched_at=STARTED,
)
COPIED = {
    "version": "v1",
    "invocationID": "inv-1",
    "serverlessRequestID": "pool",
    "mode": "sync",
    "replySubject": "_INBOX.1",
    "workerName": "w1",
    "workerNamespace": "ns",
    "startedAt": "2026-03-04T05:06:07Z",
    "completedAt": "2026-03-04T05:06:08Z",
}


def fields(message: msgspec.Struct) -> dict[str, object]:
    decoded: dict[str, object] = msgspec.json.decode(msgspec.json.encode(message))
    return decoded


def test_the_framework_is_told_all_but_the_subjects() -> None:
    encoded = msgspec.json.encode(framework_request(DISPATCH))
    assert b'"payload":{"x":  1e400}' in encoded
    assert b"secret" not in encoded
    assert b"_INBOX" not in encoded
    request = framework_request(DISPATCH)
    assert (request.invocation_id, request.state, request.timeout_seconds) == ("inv-1", "running", 7)
    assert (request.headers, request.attributes, request.dispatched_at) == ({"h": "1"}, {"a": "2"}, STARTED)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"{}", {"state": "succeeded", "statusCode": 200}),
        (299, b'{"statusCode":0}', {"state": "succeeded", "statusCode": 200}),
        (200, b'{"statusCode":503}', {"state": "succeeded", "statusCode": 503}),
        (
            200,
            b'{"statusCode":201,"contentType":"c","headers":{"k":"v"},"body":[1]}',
            {"state": "succeeded", "statusCode": 201, "contentType": "c", "headers": {"k": "v"}, "body": [1]},
        ),
        (200, b'{"body":null,"error":null,"headers":null}', {"state": "succeeded", "statusCode": 200, "body": None}),
        (200, b'{"later":1}', {"state": "succeeded", "statusCode": 200}),
        (
            200,
            b'{"statusCode":500,"error":"no memory","body":{"e":1}}',
            {
                "state": "failed",
                "failureClass": "handler_error",
                "statusCode": 500,
                "error": "no memory",
                "body": {"e": 1},
            },
        ),
        (
            200,
            b'{"error":"partly"}',
            {"state": "failed", "failureClass": "handler_error", "statusCode": 200, "error": "partly"},
        ),
    ],
)
def test_a_sound_envelope_passes_through(status: int, body: bytes, expected: dict[str, object]) -> None:
    assert fields(answered(DISPATCH, status, body, STARTED, ENDED)) == COPIED | expected


@pytest.mark.parametrize(
    ("failure_class", "status", "body", "named"),
    [
        ("framework_refused", 503, b"model is loading", "HTTP 503: model is loading"),
        ("framework_refused", 404, b"", "HTTP 404"),
        ("framework_refused", 302, b"{}", "HTTP 302: {}"),
        ("framework_refused", 199, b"{}", "HTTP 199"),
        ("framework_refused", 500, b"\xff\xfe", "HTTP 500"),
        ("malformed_answer", 200, b"", "no envelope"),
        ("malformed_answer", 204, b"", "no envelope"),
        ("malformed_answer", 200, b"<html>", "no envelope"),
        ("malformed_answer", 200, b"[]", "no envelope"),
        ("malformed_answer", 200, b"null", "no envelope"),
        ("malformed_answer", 200, b"{} {}", "no envelope"),
        ("malformed_answer", 200, b'{"statusCode":200', "no envelope"),
        ("malformed_answer", 200, b'{"statusCode":"x"}', "statusCode"),
        ("malformed_answer", 200, b'{"statusCode":1.5}', "statusCode"),
        ("malformed_answer", 200, b'{"statusCode":1e400}', "statusCode"),
        ("malformed_answer", 200, b'{"statusCode":' + b"9" * 5000 + b"}", "statusCode"),
        ("malformed_answer", 200, b'{"statusCode":true}', "statusCode"),
        ("malformed_answer", 200, b'{"headers":{"a":1}}', "headers"),
        ("malformed_answer", 200, b'{"headers":[]}', "headers"),
        ("malformed_answer", 200, b'{"contentType":7}', "contentType"),
        ("malformed_answer", 200, b'{"error":{"text":"x"}}', "error"),
        ("malformed_answer", 200, b'{"error":"\\ud800"}', "no envelope"),
        ("malformed_answer", 200, b'{"body":"\xff"}', "no envelope"),
        ("malformed_answer", 200, b'{"body":1,}', "no envelope"),
        ("malformed_answer", 200, b'{"body":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no envelope"),
        ("malformed_answer", 200, b"\xef\xbb\xbf{}", "no envelope"),
        ("invalid_status_code", 200, b'{"statusCode":99}', "99 is outside 100 to 599"),
        ("invalid_status_code", 200, b'{"statusCode":600}', "600 is outside 100 to 599"),
        ("invalid_status_code", 200, b'{"statusCode":-1}', "-1 is outside 100 to 599"),
        ("invalid_status_code", 200, b'{"statusCode":' + b"9" * 300 + b',"error":"x"}', "999 is outside 100 to 599"),
    ],
)
def test_each_bad_answer_has_its_class(failure_class: str, status: int, body: bytes, named: str) -> None:
    """S17: the range of the status code is checked. S18: a refusal is told with an excerpt of its body."""
    result = fields(answered(DISPATCH, status, body, STARTED, ENDED))
    error = str(result.pop("error"))
    assert named in error
    assert result == COPIED | {"state": "failed", "failureClass": failure_class, "statusCode": 502}


@given(st.integers(min_value=100, max_value=599), st.binary(max_size=200))
def test_no_bytes_of_a_framework_can_raise(status: int, body: bytes) -> None:
    result = answered(DISPATCH, status, body, STARTED, ENDED)
    assert result.state in {"succeeded", "failed"}
    msgspec.json.decode(msgspec.json.encode(result))


@pytest.mark.parametrize("headers", [{"a": "\x00"}, {"": ""}, {"x-é": "\r\nx: y"}, {f"h{i}": "v" for i in range(5000)}])
def test_any_map_of_strings_passes_as_headers(headers: dict[str, str]) -> None:
    """They are JSON all the way: what no HTTP header could hold is the business of whoever makes one of it."""
    body = msgspec.json.encode({"headers": headers})
    assert answered(DISPATCH, 200, body, STARTED, ENDED).headers == headers


def test_the_excerpt_is_short_and_printable() -> None:
    error = answered(DISPATCH, 500, b"\x00\x1b[31m  a\n\nb " + b"x" * 10_000, STARTED, ENDED).error
    assert len(error) < EXCERPT_CHARACTERS + 60
    assert error.isprintable()
    assert "a b xxx" in error


@pytest.mark.parametrize(
    ("failure_class", "state", "status"),
    [
        ("framework_error", "failed", 502),
        ("result_too_large", "failed", 502),
        ("framework_timeout", "expired", 504),
        ("deadline_exceeded", "expired", 504),
        ("cancelled", "failed", 499),
    ],
)
def test_failures_without_an_answer(failure_class: str, state: str, status: int) -> None:
    result = failed(DISPATCH, "gone", STARTED, ENDED, failure_class=failure_class)
    assert fields(result) == COPIED | {
        "state": state,
        "failureClass": failure_class,
        "statusCode": status,
        "error": "gone",
    }


@pytest.mark.parametrize(
    ("result", "failure_class", "named"),
    [
        (timed_out(DISPATCH, STARTED, ENDED), "framework_timeout", "7 s"),
        (too_late(DISPATCH, ENDED), "deadline_exceeded", "did not run"),
        (cancelled(DISPATCH, STARTED, ENDED), "cancelled", "cancelled"),
    ],
)
def test_ends_by_the_clock_and_by_the_caller_say_what_happened(
    result: InvocationResultMessage, failure_class: str, named: str
) -> None:
    """S7: too late is told apart from too slow. S8: a cancelled call has a result as well."""
    assert result.failure_class == failure_class
    assert named in result.error
    assert result.completed_at == ENDED


@pytest.mark.parametrize(
    "body", [b'{"body":[1]}', b'{"statusCode":500,"error":"e","headers":{"a":"b"},"contentType":"c"}']
)
def test_a_result_that_no_message_can_carry_becomes_a_failure(body: bytes) -> None:
    """S9: it is a final result, so nothing runs again."""
    result = without_body(answered(DISPATCH, 200, body, STARTED, ENDED), "too large")
    assert fields(result) == COPIED | {
        "state": "failed",
        "failureClass": "result_too_large",
        "statusCode": 502,
        "error": "too large",
    }


IDENTITY = {
    "version": "v1",
    "serverlessRequestID": "pool",
    "workerName": "w1",
    "workerNamespace": "ns",
    "invocationID": "inv-1",
}


def test_the_started_event() -> None:
    assert fields(started_event(DISPATCH, 3, STARTED)) == IDENTITY | {
        "eventType": "invocation_started",
        "inflight": 3,
        "reportedAt": "2026-03-04T05:06:07Z",
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"statusCode":404}', {"eventType": "invocation_finished", "statusCode": 404}),
        (b'{"statusCode":500,"error":"bad"}', {"eventType": "invocation_failed", "statusCode": 500, "error": "bad"}),
    ],
)
def test_the_event_of_the_end(body: bytes, expected: dict[str, object]) -> None:
    result = answered(DISPATCH, 200, body, STARTED, ENDED)
    assert fields(ended_event(result, 0)) == IDENTITY | {"reportedAt": "2026-03-04T05:06:08Z"} | expected
    assert fields(ended_event(result, 2))["inflight"] == 2


def test_the_event_has_only_the_beginning_of_a_long_error() -> None:
    """An event must fit a message, whatever a handler writes into its error."""
    body = msgspec.json.encode({"error": "x" * 100_000})
    result = answered(DISPATCH, 200, body, STARTED, ENDED)
    assert len(result.error) == 100_000
    assert len(ended_event(result, 0).error) == MAX_EVENT_ERROR_CHARACTERS
