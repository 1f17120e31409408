"""The routes of dead letters over a stream in memory, which answers as JetStream does."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from sidecar.deliveries import Consumer
from sidecar.messages import InvocationMessage, decode
from sidecar.queue import (
    MessageTooLargeError,
    QueueRefusedError,
    QueueUnavailableError,
)
from sidecar.stored import MESSAGE_ID_HEADER
from tests.api.dead_letter_stub import INVOCATION, PARENT, THEN, Client, Message, StubStream, app_of, call, listed


@pytest.fixture
def stream() -> StubStream:
    return StubStream()


@pytest.fixture
async def client(stream: StubStream) -> AsyncIterator[Client]:
    async with TestClient(TestServer(app_of(stream))) as client:
        yield client


async def test_no_dead_letters_are_an_empty_list(client: Client, stream: StubStream) -> None:
    stream.add("invoke.tts", INVOCATION)
    assert await call(client, "GET", "") == (200, [])


async def test_a_dead_letter_is_listed_with_all_but_its_payload(client: Client, stream: StubStream) -> None:
    sequence = stream.bury(b"garbage", invocation_id="order-1", consumer="runtime-activator", delivery_count=1)
    assert await call(client, "GET", "") == (
        200,
        [
            {
                "sequence": sequence,
                "source": "invocation",
                "serverlessRequestID": "tts",
                "invocationID": "order-1",
                "failureClass": "malformed_message",
                "error": "bad",
                "failedAt": "2026-03-04T05:09:00Z",
                "originalSubject": "runtime.serverless.invoke.tts",
                "stream": "RUNTIME_SERVERLESS",
                "streamSequence": sequence - 1,
                "consumer": "runtime-activator",
                "deliveryCount": 1,
            }
        ],
    )


async def test_those_of_every_source_are_listed_the_newest_first(client: Client, stream: StubStream) -> None:
    """Q3: nothing consumes dead letters in the reference."""
    sources = ("invocation", "dispatch", "result", "metric", "of-a-later-chapter")
    sequences = [stream.bury(b"{", source=source) for source in sources]
    sequences.append(stream.add("dlq.result.unknown", b"garbage"))
    assert await listed(client) == sequences[::-1]
    assert [reader.closed for reader in stream.readers] == [True]


async def test_filters_and_limit(client: Client, stream: StubStream) -> None:
    a, b, c = (stream.bury(b"{", pool=pool) for pool in ("tts", "unknown", "tts"))
    d = stream.bury(b"{", source="dispatch")
    assert await listed(client, "?source=dispatch") == [d]
    assert await listed(client, "?source=metric") == []
    assert await listed(client, "?serverlessRequestID=TTS") == [d, c, a]
    assert await listed(client, "?serverlessRequestID=unknown") == [b]
    assert await listed(client, "?source=invocation&serverlessRequestID=tts&limit=1") == [c]
    assert await listed(client, "?limit=3") == [d, c, b]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("source=worker", "source"),
        ("source=", "source"),
        ("serverlessRequestID=a.b", "serverlessRequestID"),
        ("serverlessRequestID=*", "serverlessRequestID"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
    ],
)
async def test_a_wrong_parameter_is_named(client: Client, query: str, field: str) -> None:
    status, (code, message) = await call(client, "GET", f"?{query}")
    assert (status, code) == (400, "invalid_request")
    assert message.startswith(f"{field}: ")


async def test_what_is_dropped_while_it_is_listed_is_left_out(client: Client, stream: StubStream) -> None:
    first, last = stream.bury(b"{"), stream.bury(b"{")
    reads = stream.reader

    async def reader(subject: str, start_sequence: int, **options: Any) -> Consumer:
        del stream.messages[last]
        return await reads(subject, start_sequence, **options)

    stream.reader = reader  # type: ignore[method-assign]
    assert await listed(client) == [first]


async def test_a_delivery_lost_on_its_way_is_no_shorter_list(client: Client, stream: StubStream) -> None:
    for _ in range(4):
        stream.bury(b"{")
    reads = stream.reader

    async def reader(subject: str, start_sequence: int, **options: Any) -> Consumer:
        await reads(subject, start_sequence, **options)
        del stream.readers[-1].batches[0]
        return stream.readers[-1]

    stream.reader = reader  # type: ignore[method-assign]
    status, (code, _) = await call(client, "GET", "")
    assert (status, code) == (503, "service_unavailable")
    assert stream.readers[-1].closed


@pytest.mark.parametrize(
    ("original", "stored", "expected"),
    [
        (INVOCATION, True, {"retryable": True, "payload": json.loads(INVOCATION)}),
        (INVOCATION, False, {"retryable": True}),
        (b"\xff\x00", True, {"retryable": False, "payload": {"base64": "/wA="}}),
        (b"no json", False, {"retryable": False, "payload": "no json"}),
        (b"x" * 5000, True, {"retryable": False, "originalSize": 5000}),
    ],
)
async def test_one_is_shown_whole_with_the_bytes_of_its_original(
    client: Client, stream: StubStream, original: bytes, stored: bool, expected: dict[str, Any]
) -> None:
    sequence = stream.bury(original, stored=stored)
    status, shown = await call(client, "GET", f"/{sequence}")
    assert (status, shown["sequence"], shown["error"]) == (200, sequence, "bad")
    assert base64.b64decode(shown["originalBase64"]) == original
    assert shown["originalSize"] == len(original)
    assert shown | expected == shown
    assert ("notRetryable" in shown) is not expected["retryable"]


async def test_q7_a_cut_original_is_whole_as_long_as_the_stream_has_it(client: Client, stream: StubStream) -> None:
    long = INVOCATION[:-1] + b',"attributes":{"a":"' + b"x" * 500 + b'"}}'
    kept, lost = stream.bury(long), stream.bury(long, stored=False)
    assert (await call(client, "GET", f"/{kept}"))[1]["retryable"]
    _, cut = await call(client, "GET", f"/{lost}")
    assert (cut["retryable"], cut["originalSize"]) == (False, len(long))
    assert base64.b64decode(cut["originalBase64"]) == long[:150]
    status, (code, message) = await call(client, "POST", f"/{lost}/retry")
    assert (status, code) == (409, "not_retryable")
    assert f"only the first 150 of its {len(long)} bytes are known" in message
    assert (await call(client, "POST", f"/{kept}/retry"))[0] == 202


async def test_another_message_where_the_original_should_be_is_not_taken_for_it(
    client: Client, stream: StubStream
) -> None:
    sequence = stream.bury(INVOCATION, original_subject="runtime.serverless.invoke.other")
    stream.messages[sequence - 1] = Message("runtime.serverless.result.tts", b"private", {})
    _, shown = await call(client, "GET", f"/{sequence}")
    assert base64.b64decode(shown["originalBase64"]) == INVOCATION


async def test_a_retry_queues_a_new_async_invocation_and_deletes_the_dead_letter(
    client: Client, stream: StubStream
) -> None:
    sequence = stream.bury(INVOCATION)
    status, receipt = await call(client, "POST", f"/{sequence}/retry")
    assert status == 202
    assert receipt.pop("acceptedAt") > "2026"
    assert receipt == {
        "deadLetter": sequence,
        "invocationID": "retry-2-order-1",
        "serverlessRequestID": "tts",
        "mode": "async",
        "subject": "runtime.serverless.invoke.tts",
        "resultSubject": "runtime.serverless.result.tts",
        "metricsSubject": "runtime.serverless.metrics.tts",
        "stream": "RUNTIME_SERVERLESS",
        "sequence": 3,
        "duplicate": False,
    }
    assert sorted(stream.messages) == [1, 3]
    queued = stream.messages[3]
    assert queued.subject == "runtime.serverless.invoke.tts"
    assert queued.headers == {MESSAGE_ID_HEADER: "retry-2-order-1", "traceparent": PARENT}
    message = decode(queued.data, InvocationMessage)
    assert (message.mode, message.reply_subject, bytes(message.payload)) == ("async", "", b'{"n": 1.50}')
    assert message.enqueued_at > THEN
    assert (await call(client, "POST", f"/{sequence}/retry"))[0] == 404


async def test_a_retry_that_was_interrupted_is_finished_by_the_next(client: Client, stream: StubStream) -> None:
    sequence = stream.bury(INVOCATION)
    stream.failures["MSG.DELETE"] = [QueueUnavailableError("no answer")]
    status, (code, message) = await call(client, "POST", f"/{sequence}/retry")
    assert (status, code) == (503, "service_unavailable")
    assert "queued again as retry-2-order-1" in message
    status, receipt = await call(client, "POST", f"/{sequence}/retry")
    assert (status, receipt["duplicate"], receipt["sequence"]) == (200, True, 3)
    assert sorted(stream.messages) == [1, 3]


async def test_what_became_too_large_cannot_be_retried(client: Client, stream: StubStream) -> None:
    sequence = stream.bury(INVOCATION)
    stream.failures["publish"] = [MessageTooLargeError("too large")]
    status, (code, message) = await call(client, "POST", f"/{sequence}/retry")
    assert (status, code) == (409, "not_retryable")
    assert "larger than the queue takes" in message
    assert sequence in stream.messages


async def test_an_id_that_a_caller_took_is_no_retry(client: Client, stream: StubStream) -> None:
    sequence = stream.bury(INVOCATION)
    stream.add("invoke.tts", INVOCATION, {MESSAGE_ID_HEADER: "retry-2-order-1"})
    status, (code, message) = await call(client, "POST", f"/{sequence}/retry")
    assert (status, code) == (409, "not_retryable")
    assert "another invocation has the ID retry-2-order-1" in message
    assert sequence in stream.messages


@pytest.mark.parametrize(
    ("source", "original", "why"),
    [
        ("result", INVOCATION, "it was a result"),
        ("metric", INVOCATION, "it was a metric"),
        ("invocation", b'{"invocationID":7}', "invocationID"),
        ("dispatch", b"\xff", "not a InvocationMessage"),
        ("dispatch", INVOCATION.replace(b"tts", b"other"), "it is for pool other"),
    ],
)
async def test_what_cannot_be_retried_stays(
    client: Client, stream: StubStream, source: str, original: bytes, why: str
) -> None:
    sequence = stream.bury(original, source=source)
    status, (code, message) = await call(client, "POST", f"/{sequence}/retry")
    assert (status, code) == (409, "not_retryable")
    assert why in message
    assert sorted(stream.messages) == [sequence - 1, sequence]


async def test_a_drop_deletes_the_dead_letter_only(client: Client, stream: StubStream) -> None:
    first, second = stream.bury(b"{"), stream.bury(b"{")
    assert await call(client, "DELETE", f"/{first}") == (204, None)
    assert sorted(stream.messages) == [first - 1, second - 1, second]


async def test_what_somebody_else_dropped_just_now_is_404(client: Client, stream: StubStream) -> None:
    sequence = stream.bury(b"{")
    answers = stream.request

    async def request(subject: str, body: bytes, timeout_s: float = 5) -> bytes:
        if "MSG.DELETE" in subject:
            del stream.messages[sequence]
        return await answers(subject, body, timeout_s)

    stream.request = request  # type: ignore[method-assign]
    status, (code, _) = await call(client, "DELETE", f"/{sequence}")
    assert (status, code) == (404, "dead_letter_not_found")


@pytest.mark.parametrize("sequence", [1, 3, 4, 9_223_372_036_854_775_807])
@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("POST", "/retry"), ("DELETE", "")])
async def test_other_messages_are_never_touched(
    client: Client, stream: StubStream, sequence: int, method: str, action: str
) -> None:
    stream.bury(INVOCATION)
    stream.add("result.dlq", b"{}")
    status, (code, message) = await call(client, method, f"/{sequence}{action}")
    assert (status, code) == (404, "dead_letter_not_found")
    assert str(sequence) in message
    assert sorted(stream.messages) == [1, 2, 3]
    assert "MSG.DELETE" not in stream.requests


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "01", "%2B1", "1_0", "\N{ARABIC-INDIC DIGIT ONE}", "9" * 20])
@pytest.mark.parametrize(("method", "action"), [("GET", ""), ("POST", "/retry"), ("DELETE", "")])
async def test_what_is_no_sequence_is_400(client: Client, text: str, method: str, action: str) -> None:
    status, (code, message) = await call(client, method, f"/{text}{action}")
    assert (status, code) == (400, "invalid_request")
    assert message.startswith("sequence: ")


@pytest.mark.parametrize(
    ("method", "path", "operation", "fallback"),
    [
        ("GET", "", "MSG.GET", "list_dead_letters_failed"),
        ("GET", "/2", "MSG.GET", "get_dead_letter_failed"),
        ("POST", "/2/retry", "publish", "retry_dead_letter_failed"),
        ("POST", "/2/retry", "MSG.DELETE", "retry_dead_letter_failed"),
        ("DELETE", "/2", "MSG.DELETE", "drop_dead_letter_failed"),
    ],
)
@pytest.mark.parametrize(
    ("failure", "expected"),
    [(QueueRefusedError("not permitted"), (500, None)), (QueueUnavailableError("gone"), (503, "service_unavailable"))],
)
async def test_a_queue_that_fails_is_said(
    client: Client,
    stream: StubStream,
    method: str,
    path: str,
    operation: str,
    fallback: str,
    failure: Exception,
    expected: tuple[int, str | None],
) -> None:
    stream.bury(INVOCATION)
    stream.failures[operation] = [failure]
    status, (code, message) = await call(client, method, path)
    assert (status, code) == (expected[0], expected[1] or fallback)
    assert str(failure) in message
    assert 2 in stream.messages


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/2"), ("POST", "/2/retry"), ("DELETE", "/2")])
async def test_without_a_queue_it_is_503(client: Client, stream: StubStream, method: str, path: str) -> None:
    stream.up = False
    async with TestClient(TestServer(app_of(None))) as bare:
        for each in (client, bare):
            status, (code, _) = await call(each, method, path)
            assert (status, code) == (503, "service_unavailable")
    assert stream.requests == []
