"""The messages of contract section 3: golden JSON in and out, required and optional fields, what is refused."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from framework.contract import ZERO_TIME, InvocationRequest, InvocationResponse
from sidecar.messages import (
    DeadLetterMessage,
    InvocationMessage,
    InvocationResultMessage,
    MalformedMessageError,
    WorkerDispatchMessage,
    WorkerMetricMessage,
    decode,
    encode,
    utc_now,
)

INV = "inv-5d0c1a7be2f94c63a1b07f2e88d4310f"
UNIT = "unit-tts-small-worker-5d0c1a7b"
IDENTITY = f'"version":"v1","invocationID":"{INV}","serverlessRequestID":"tts-small"'
WORKER = f'"workerName":"{UNIT}","workerNamespace":"runtime-instance"'
SUBJECTS = (
    '"resultSubject":"runtime.serverless.result.tts-small","metricsSubject":"runtime.serverless.metrics.tts-small",'
    '"replySubject":"_INBOX.Qf3xY0"'
)

GOLDEN: list[tuple[type[msgspec.Struct], str]] = [
    (
        InvocationMessage,
        "{" + IDENTITY + ',"mode":"sync","contentType":"application/json","headers":{"x-trace":"t-88"},'
        '"attributes":{"voice":"b2"},"payload":{"text":"good morning"},"timeoutSeconds":20,'
        + SUBJECTS
        + ',"enqueuedAt":"2026-03-04T05:06:07.25Z"}',
    ),
    (
        WorkerDispatchMessage,
        "{" + IDENTITY + "," + WORKER + ',"mode":"sync","contentType":"application/json","attributes":{"voice":"b2"},'
        '"payload":{"text":"good morning"},"timeoutSeconds":20,'
        + SUBJECTS
        + ',"dispatchedAt":"2026-03-04T05:06:07.31Z"}',
    ),
    (
        InvocationRequest,
        "{" + IDENTITY + "," + WORKER + ',"mode":"sync","contentType":"application/json","attributes":{"voice":"b2"},'
        '"payload":{"text":"good morning"},"timeoutSeconds":20,"dispatchedAt":"2026-03-04T05:06:07.31Z"}',
    ),
    (
        InvocationResponse,
        '{"statusCode":201,"contentType":"application/json","headers":{"x-engine":"v7"},"body":{"audioKey":"out/77.ogg"}}',
    ),
    (
        InvocationResultMessage,
        "{" + IDENTITY + ',"mode":"sync","state":"succeeded","replySubject":"_INBOX.Qf3xY0",' + WORKER + ","
        '"statusCode":201,"contentType":"application/json","headers":{"x-engine":"v7"},'
        '"body":{"audioKey":"out/77.ogg"},"startedAt":"2026-03-04T05:06:07.4Z","completedAt":"2026-03-04T05:06:08.9Z"}',
    ),
    (
        WorkerMetricMessage,
        '{"version":"v1","serverlessRequestID":"tts-small",' + WORKER + f',"invocationID":"{INV}",'
        '"eventType":"invocation_finished","inflight":1,"statusCode":201,"reportedAt":"2026-03-04T05:06:08.9Z"}',
    ),
    (
        DeadLetterMessage,
        '{"version":"v1","source":"dispatch","state":"dead_lettered","failureClass":"retry_exhausted",'
        '"invocationID":"inv-7a01","serverlessRequestID":"tts-small","workerName":"unit-tts-small-worker-7a01",'
        '"workerNamespace":"runtime-instance",'
        '"originalSubject":"runtime.serverless.dispatch.tts-small.unit-tts-small-worker-7a01",'
        '"stream":"RUNTIME_SERVERLESS","consumer":"serverless-sidecar-unit-tts-small-worker-7a01","streamSequence":4120,'
        '"consumerSequence":9,"deliveryCount":5,"error":"result could not be stored",'
        '"payload":{"version":"v1","invocationID":"inv-7a01"},"failedAt":"2026-03-04T05:09:00Z"}',
    ),
]


def comparable(text: str | bytes) -> dict[str, object]:
    """The JSON object with its times as instants: `07.25Z` and `07.250000Z` are the same RFC 3339 time."""
    fields: dict[str, object] = json.loads(text)
    return {k: datetime.fromisoformat(str(v)) if k.endswith("At") else v for k, v in fields.items()}


@pytest.mark.parametrize(("kind", "golden"), GOLDEN, ids=[kind.__name__ for kind, _ in GOLDEN])
def test_golden_messages_come_out_as_they_went_in(kind: type[msgspec.Struct], golden: str) -> None:
    message = decode(golden.encode(), kind)
    assert comparable(encode(message)) == comparable(golden)
    assert decode(encode(message), kind) == message


@pytest.mark.parametrize(("kind", "golden"), GOLDEN, ids=[kind.__name__ for kind, _ in GOLDEN])
def test_fields_of_newer_peers_are_ignored(kind: type[msgspec.Struct], golden: str) -> None:
    assert decode(golden[:-1].encode() + b',"later":{"x":[1]}}', kind) == decode(golden.encode(), kind)


MINIMAL: list[tuple[msgspec.Struct, set[str]]] = [
    (
        InvocationMessage(invocation_id="i", serverless_request_id="p"),
        {"version", "invocationID", "serverlessRequestID", "mode", "enqueuedAt"},
    ),
    (
        WorkerDispatchMessage(invocation_id="i", serverless_request_id="p", worker_name="w", worker_namespace="n"),
        {"version", "invocationID", "serverlessRequestID", "workerName", "workerNamespace", "mode", "dispatchedAt"},
    ),
    (
        InvocationRequest(invocation_id="i"),
        {"version", "invocationID", "serverlessRequestID", "workerName", "workerNamespace", "mode", "dispatchedAt"},
    ),
    (InvocationResponse(), set()),
    (
        InvocationResultMessage(invocation_id="i", serverless_request_id="p"),
        {"version", "invocationID", "serverlessRequestID", "mode", "startedAt", "completedAt"},
    ),
    (
        WorkerMetricMessage(serverless_request_id="p", worker_name="w", worker_namespace="n", event_type="heartbeat"),
        {"version", "serverlessRequestID", "workerName", "workerNamespace", "eventType", "reportedAt"},
    ),
    (
        DeadLetterMessage(source="dispatch"),
        {"version", "source", "state", "failureClass", "originalSubject", "error", "failedAt"},
    ),
]


@pytest.mark.parametrize(("message", "written"), MINIMAL, ids=[type(message).__name__ for message, _ in MINIMAL])
def test_required_fields_are_always_written_and_empty_ones_left_out(message: msgspec.Struct, written: set[str]) -> None:
    assert set(json.loads(encode(message))) == written


@pytest.mark.parametrize("payload", [b"null", b'{"b":1,"a":1, "a":2}', b"1e400", b'"<&>"', b"[1.10]", b"false"])
def test_payloads_pass_byte_for_byte(payload: bytes) -> None:
    data = b'{"invocationID":"i","serverlessRequestID":"p","payload":' + payload + b"}"
    message = decode(data, InvocationMessage)
    assert bytes(message.payload) == payload
    assert b'"payload":' + payload in encode(message)


def test_the_unset_time_is_read_and_written() -> None:
    data = b'{"invocationID":"i","serverlessRequestID":"p","enqueuedAt":"0001-01-01T00:00:00Z"}'
    message = decode(data, InvocationMessage)
    assert message.enqueued_at == ZERO_TIME
    assert json.loads(encode(message))["enqueuedAt"] == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("fraction", ["", ".2", ".25", ".250000", ".250000001"])
def test_times_may_have_any_fraction(fraction: str) -> None:
    data = f'{{"invocationID":"i","serverlessRequestID":"p","enqueuedAt":"2026-03-04T05:06:07{fraction}Z"}}'
    microsecond = int(fraction[1:7].ljust(6, "0") or "0")
    expected = datetime(2026, 3, 4, 5, 6, 7, microsecond, tzinfo=UTC)
    assert decode(data.encode(), InvocationMessage).enqueued_at == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeoutSeconds", "1.5"),
        ("timeoutSeconds", "2147483648"),
        ("timeoutSeconds", '"20"'),
        ("headers", '{"a":1}'),
        ("headers", "[]"),
        ("mode", "7"),
        ("invocationID", "null"),
        ("enqueuedAt", '"yesterday"'),
        ("enqueuedAt", "1"),
    ],
)
def test_a_wrong_type_is_refused_and_named(field: str, value: str) -> None:
    fields = {"invocationID": '"i"', "serverlessRequestID": '"p"', field: value}
    data = "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"
    with pytest.raises(MalformedMessageError, match=field):
        decode(data.encode(), InvocationMessage)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b'{"serverlessRequestID":"p"}'])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessageError, match="not a InvocationMessage"):
        decode(data, InvocationMessage)


def test_our_times_are_utc() -> None:
    assert utc_now().tzinfo is UTC
