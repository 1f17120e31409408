"""What a call's end means (contract 7.3 step 5)."""

from datetime import UTC, datetime

import msgspec
import pytest

from sidecar.messages import WorkerDispatchMessage
from sidecar.outcome import EXCERPT_CHARACTERS, answered, ended_event, failed, framework_request, started_event

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
    ("status", "body", "named"),
    [
        (503, b"model is loading", "HTTP 503: model is loading"),
        (404, b"", "HTTP 404"),
        (302, b"{}", "HTTP 302: {}"),
        (199, b"{}", "HTTP 199"),
        (200, b"", "no envelope"),
        (200, b"<html>", "no envelope"),
        (200, b"[]", "no envelope"),
        (200, b'{"statusCode":"x"}', "statusCode"),
        (200, b'{"statusCode":1.5}', "statusCode"),
        (200, b'{"headers":{"a":1}}', "headers"),
        (200, b'{"body":"\xff"}', "no envelope"),
        (200, b'{"statusCode":99}', "99 is outside 100 to 599"),
        (200, b'{"statusCode":600}', "600 is outside 100 to 599"),
        (200, b'{"statusCode":-1}', "-1 is outside 100 to 599"),
    ],
)
def test_anything_else_is_a_framework_error(status: int, body: bytes, named: str) -> None:
    result = fields(answered(DISPATCH, status, body, STARTED, ENDED))
    error = str(result.pop("error"))
    assert named in error
    assert result == COPIED | {"state": "failed", "failureClass": "framework_error", "statusCode": 502}


def test_the_excerpt_is_short_and_printable() -> None:
    error = answered(DISPATCH, 500, b"\x00\x1b[31m  a\n\nb " + b"x" * 10_000, STARTED, ENDED).error
    assert len(error) < EXCERPT_CHARACTERS + 60
    assert error.isprintable()
    assert "a b xxx" in error


@pytest.mark.parametrize(
    ("failure_class", "state", "status"), [("framework_error", "failed", 502), ("framework_timeout", "expired", 504)]
)
def test_failures_without_an_answer(failure_class: str, state: str, status: int) -> None:
    result = failed(DISPATCH, "gone", STARTED, ENDED, failure_class=failure_class)
    assert fields(result) == COPIED | {
        "state": state,
        "failureClass": failure_class,
        "statusCode": status,
        "error": "gone",
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
