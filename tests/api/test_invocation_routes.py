"""Invoking a pool over a queue that records (contract 4.3 and the weaknesses of 4.4)."""

import re
from typing import TYPE_CHECKING

import pytest

from framework.contract import ZERO_TIME
from sidecar.queue import MessageTooLargeError, QueueRefusedError, QueueUnavailableError
from simulator.api.calls import ENVELOPE_RESERVE_BYTES

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubQueue

RESULT = (
    b'{"version":"v1","invocationID":"call-1","serverlessRequestID":"tts","mode":"sync","state":"succeeded",'
    b'"replySubject":"_INBOX.stub","workerName":"tts","workerNamespace":"runtime-instance","statusCode":502,'
    b'"body":{"n": 1.50},"startedAt":"2026-03-04T05:06:07.4Z","completedAt":"2026-03-04T05:06:08.9Z","later":[1]}'
)
LIMIT = 4096
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_an_async_invocation_is_queued_and_answered_202(api: "Api", queue: "StubQueue") -> None:
    answer = await api.invoke(invocationID="call-1", payload={"text": "hi"}, timeoutSeconds=9, headers={"x": "y"})
    assert answer.status == 202
    accepted_at = answer.data.pop("acceptedAt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", accepted_at)
    assert answer.data == {
        "invocationID": "call-1",
        "serverlessRequestID": "tts",
        "mode": "async",
        "subject": "runtime.serverless.invoke.tts",
        "resultSubject": "runtime.serverless.result.tts",
        "metricsSubject": "runtime.serverless.metrics.tts",
        "stream": "RUNTIME_SERVERLESS",
        "sequence": 1,
        "duplicate": False,
    }
    [publication] = queue.publications
    message = publication.message
    assert (publication.subject, publication.message_id) == ("runtime.serverless.invoke.tts", "call-1")
    assert (message.invocation_id, message.mode, message.timeout_seconds) == ("call-1", "async", 9)
    assert (message.result_subject, message.metrics_subject) == (
        "runtime.serverless.result.tts",
        "runtime.serverless.metrics.tts",
    )
    assert message.reply_subject == ""
    assert bytes(message.payload) == b'{"text":"hi"}'


@pytest.mark.parametrize(
    ("http", "own", "expected"),
    [
        ({"traceparent": PARENT, "tracestate": "v=1"}, {}, {"traceparent": PARENT, "tracestate": "v=1"}),
        ({}, {"traceparent": PARENT}, {"traceparent": PARENT}),
        ({"Traceparent": PARENT}, {"traceparent": PARENT.replace("b7", "c7")}, {"traceparent": PARENT}),
        ({"traceparent": "nonsense"}, {}, {}),
        ({}, {}, {}),
    ],
)
async def test_s30_the_callers_trace_context_goes_into_the_queue(
    api: "Api", queue: "StubQueue", http: dict[str, str], own: dict[str, str], expected: dict[str, str]
) -> None:
    body = {"serverlessRequestID": "tts", "headers": own}
    async with api.session.post(f"{api.url}/api/v1/serverless/invocations", json=body, headers=http) as answer:
        assert answer.status == 202
    [publication] = queue.publications
    assert publication.headers == expected


async def test_an_invocation_without_an_id_gets_a_fresh_one(api: "Api", queue: "StubQueue") -> None:
    ids = [(await api.invoke()).data["invocationID"] for _ in range(2)]
    assert all(re.fullmatch(r"inv-[0-9a-f]{32}", invocation_id) for invocation_id in ids)
    assert [publication.message_id for publication in queue.publications] == ids
    assert ids[0] != ids[1]


async def test_an_async_duplicate_answers_200_with_the_first_sequence(api: "Api", queue: "StubQueue") -> None:
    await api.invoke()
    first = await api.invoke(invocationID="call-1")
    again = await api.invoke(invocationID="call-1")
    assert (again.status, again.data["duplicate"], again.data["sequence"]) == (200, True, first.data["sequence"])
    assert len(queue.publications) == 2


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_p6_enqueued_at_is_set(api: "Api", queue: "StubQueue", mode: str) -> None:
    queue.reply = RESULT
    await api.invoke(mode=mode)
    assert queue.publications[0].message.enqueued_at > ZERO_TIME


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_p7_a_message_larger_than_the_queue_takes_is_413(api: "Api", queue: "StubQueue", mode: str) -> None:
    queue.limit = LIMIT
    answer = await api.invoke(mode=mode, payload="x" * (LIMIT - ENVELOPE_RESERVE_BYTES))
    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert queue.publications == []


async def test_p7_the_largest_message_that_is_accepted_fits_with_its_envelope(api: "Api", queue: "StubQueue") -> None:
    queue.limit = LIMIT
    await api.invoke(payload="")
    room = LIMIT - ENVELOPE_RESERVE_BYTES - queue.publications[0].size
    # The time's fraction may be some digits shorter or longer from one call to the next.
    assert (await api.invoke(payload="x" * (room - 8))).status == 202
    assert (await api.invoke(payload="x" * (room + 8))).status == 413
    assert queue.publications[1].size <= LIMIT - ENVELOPE_RESERVE_BYTES
    assert len(queue.publications) == 2


async def test_p7_a_body_larger_than_the_queue_takes_is_not_even_read(api: "Api", queue: "StubQueue") -> None:
    queue.limit = LIMIT
    answer = await api.call("POST", "/serverless/invocations", raw=b"x" * (LIMIT + 1))
    assert (answer.status, answer.code) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("mode", "fallback"),
    [("async", "enqueue_serverless_invocation_failed"), ("sync", "invoke_serverless_sync_failed")],
)
@pytest.mark.parametrize(
    ("failure", "status", "code", "text"),
    [
        (QueueUnavailableError("no answer"), 503, "service_unavailable", "call-1"),
        (QueueRefusedError("no stream takes it"), 500, None, "no stream takes it"),
        (MessageTooLargeError("too large"), 413, "payload_too_large", "too large"),
        (RuntimeError("secret"), 500, None, "internal error; the API's log has the cause"),
    ],
)
async def test_a_failed_publish_is_answered_at_once(
    api: "Api",
    queue: "StubQueue",
    mode: str,
    fallback: str,
    failure: Exception,
    status: int,
    code: str | None,
    text: str,
) -> None:
    queue.failure = failure
    answer = await api.invoke(mode=mode, invocationID="call-1")
    assert (answer.status, answer.code) == (status, code or fallback)
    assert text in answer.message
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)
    assert answer.headers.get("Invocation-Id") == ("call-1" if status == 503 else None)


async def test_a_reply_that_is_no_result_is_500(api: "Api", queue: "StubQueue") -> None:
    queue.reply = b"{}"
    answer = await api.invoke(mode="sync")
    assert (answer.status, answer.code) == (500, "invoke_serverless_sync_failed")


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_p11_a_queue_that_is_away_is_503_until_it_is_back(api: "Api", queue: "StubQueue", mode: str) -> None:
    queue.up = False
    queue.reply = RESULT
    answer = await api.invoke(mode=mode)
    assert (answer.status, answer.code) == (503, "service_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert queue.publications == []
    queue.up = True
    assert (await api.invoke(mode=mode)).status in (200, 202)


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_without_a_queue_valid_requests_are_503_and_wrong_ones_400(bare_api: "Api", mode: str) -> None:
    answer = await bare_api.invoke(mode=mode)
    assert (answer.status, answer.code) == (503, "service_unavailable")
    assert (await bare_api.invoke(mode=mode, timeoutSeconds=-1)).status == 400
