"""Reading what became of an invocation, and taking it back, over a queue and a ledger in memory (P5, S8)."""

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from sidecar.cancellation import CancelMessage, decode_cancel
from sidecar.messages import InvocationResultMessage, encode
from sidecar.queue import QueueRefusedError, QueueUnavailableError
from simulator.api import lookup
from simulator.api.views import listed_view
from simulator.ledger import follower
from simulator.ledger.events import Dispatched, Queued, Started

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubFollower, StubQueue

RESULT = (
    b'{"version":"v1","invocationID":"call-1","serverlessRequestID":"tts","mode":"sync","state":"failed",'
    b'"replySubject":"_INBOX.stub","workerName":"tts","statusCode":502,"body":{"n": 1.50},"error":"no",'
    b'"startedAt":"2026-03-04T05:06:07.4Z","completedAt":"2026-03-04T05:06:08.9Z","later":[1]}'
)
SEEN = {k: v for k, v in msgspec.json.decode(RESULT).items() if k not in ("version", "replySubject")}

ROUTES = [("GET", "/call-1"), ("DELETE", "/call-1"), ("GET", "?serverlessRequestID=tts")]


def result_of(invocation_id: str, **fields: object) -> bytes:
    return encode(InvocationResultMessage(invocation_id=invocation_id, serverless_request_id="tts", **fields))  # type: ignore[arg-type]


async def test_p5_an_open_invocation_shows_where_it_is(api: "Api", follower: "StubFollower") -> None:
    follower.take(Queued("call-1", "tts", 1))
    seen = [(await api.look("/call-1")).data]
    follower.take(Dispatched("call-1", "tts", 2, "unit-a"))
    seen.append((await api.look("/call-1")).data)
    follower.take(Started("call-1"))
    seen.append((await api.look("/call-1")).data)
    same = {"invocationID": "call-1", "serverlessRequestID": "tts"}
    assert seen == [
        {**same, "state": "queued"},
        {**same, "state": "dispatched", "workerName": "unit-a"},
        {**same, "state": "running", "workerName": "unit-a"},
    ]


async def test_p5_an_ended_invocation_shows_the_whole_result(
    api: "Api", queue: "StubQueue", follower: "StubFollower"
) -> None:
    follower.end("call-1", "tts", RESULT)
    assert (await api.look("/call-1")).data == SEEN
    async with api.session.get(f"{api.url}/api/v1/serverless/invocations/call-1") as response:
        assert b'"body":{"n": 1.50}' in await response.read()


async def test_p5_what_no_ledger_remembers_is_in_the_result_store(api: "Api", queue: "StubQueue") -> None:
    queue.results["tts.call-1"] = RESULT
    assert (await api.look("/call-1")).data == SEEN


async def test_p5_what_the_stream_forgot_is_in_the_result_store(
    api: "Api", queue: "StubQueue", follower: "StubFollower"
) -> None:
    follower.end("call-1", "tts", RESULT)
    queue.stored.clear()
    queue.results["tts.call-1"] = RESULT
    assert (await api.look("/call-1")).data == SEEN


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("invocation_id", ["none", "a%2Fb", "%20", "tts.%3E", "*", "x" * 300])
async def test_p5_an_unknown_invocation_is_404(api: "Api", queue: "StubQueue", method: str, invocation_id: str) -> None:
    queue.results["tts.call-1"] = RESULT
    answer = await api.call(method, f"/serverless/invocations/{invocation_id}")
    assert (answer.status, answer.code) == (404, "invocation_not_found")
    assert queue.sent == []


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "succeeded"),
        ({"error": "no"}, "failed"),
        ({"error": "late", "failure_class": "framework_timeout"}, "expired"),
        ({"error": "late", "failure_class": "deadline_exceeded"}, "expired"),
        ({"state": "failed"}, "failed"),
    ],
)
async def test_a_stored_result_always_has_a_terminal_state(
    api: "Api", follower: "StubFollower", fields: dict[str, object], state: str
) -> None:
    follower.end("call-1", "tts", result_of("call-1", **fields))
    assert (await api.look("/call-1")).data["state"] == state


async def test_waiting_ends_with_the_invocation(api: "Api", queue: "StubQueue", follower: "StubFollower") -> None:
    follower.take(Queued("call-1", "tts", 1))
    waits = [asyncio.create_task(api.look("/call-1?wait=60s")) for _ in range(3)]
    async with asyncio.timeout(10):
        for _ in waits:
            assert await follower.waits.get() == "call-1"
        follower.end("call-1", "tts", RESULT)
        answers = await asyncio.gather(*waits)
    assert [(answer.status, answer.data) for answer in answers] == [(200, SEEN)] * 3
    assert follower._endings == {}


@pytest.mark.parametrize("wait", ["0", "0s", "10ms"])
async def test_at_the_end_of_the_wait_the_state_is_answered(api: "Api", follower: "StubFollower", wait: str) -> None:
    follower.take(Queued("call-1", "tts", 1))
    answer = await api.look(f"/call-1?wait={wait}")
    assert (answer.status, answer.data["state"]) == (200, "queued")


async def test_waiting_for_an_ended_or_unknown_invocation_takes_no_time(api: "Api", follower: "StubFollower") -> None:
    follower.end("call-1", "tts", RESULT)
    async with asyncio.timeout(10):
        assert (await api.look("/call-1?wait=60s")).data == SEEN
        assert (await api.look("/none?wait=60s")).status == 404


@pytest.mark.parametrize("wait", ["", "10", "-1s", "61s", "1m1s", "soon", "1e3s", "%D9%A1s", "999999999h"])
async def test_a_wait_that_is_none_is_400(api: "Api", wait: str) -> None:
    answer = await api.look(f"/call-1?wait={wait}")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith("wait: ")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "serverlessRequestID"),
        ("?serverlessRequestID=", "serverlessRequestID"),
        ("?serverlessRequestID=a.b", "serverlessRequestID"),
        *(
            (f"?serverlessRequestID=tts&limit={limit}", "limit")
            for limit in ("", "0", "1001", "-1", "1.5", "x", "%D9%A1")
        ),
    ],
)
async def test_a_wrong_parameter_of_the_list_is_400(api: "Api", query: str, field: str) -> None:
    answer = await api.look(query)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith(f"{field}: ")


async def test_the_list_is_cut_before_any_result_is_read(
    api: "Api", queue: "StubQueue", follower: "StubFollower"
) -> None:
    for number in (1, 2, 3):
        follower.take(Queued(f"call-{number}", "tts", number))
    follower.take(Queued("other", "stt", 4))
    listed = (await api.look("?serverlessRequestID=TTS&limit=2")).data
    assert [(each["invocationID"], each["state"]) for each in listed] == [("call-3", "queued"), ("call-2", "queued")]


@pytest.mark.parametrize("started", [False, True])
async def test_an_open_invocation_is_taken_back(
    api: "Api", queue: "StubQueue", follower: "StubFollower", started: bool
) -> None:
    follower.take(Queued("call-1", "tts", 1))
    if started:
        follower.take(Dispatched("call-1", "tts", 2, "unit-a"))
        follower.take(Started("call-1"))
    answer = await api.call("DELETE", "/serverless/invocations/call-1")
    assert (answer.status, answer.data["state"]) == (202, "running" if started else "queued")
    [(subject, body)] = queue.sent
    assert subject == "runtime.serverless.cancel.tts"
    assert decode_cancel(body) == CancelMessage(invocation_id="call-1")


async def test_an_ended_invocation_is_not_taken_back(api: "Api", queue: "StubQueue", follower: "StubFollower") -> None:
    follower.end("call-1", "tts", RESULT)
    answer = await api.call("DELETE", "/serverless/invocations/call-1")
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert queue.sent == []


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_ledger_that_is_behind_is_503_rather_than_a_wrong_answer(
    api: "Api", queue: "StubQueue", follower: "StubFollower", method: str, path: str
) -> None:
    queue.store("runtime.serverless.invoke.tts", b"{}")
    follower.late = True
    answer = await api.call(method, f"/serverless/invocations{path}")
    assert (answer.status, answer.code) == (503, "service_unavailable")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_p11_without_a_queue_or_while_it_is_away_nothing_is_told(
    api: "Api", bare_api: "Api", queue: "StubQueue", method: str, path: str
) -> None:
    queue.up = False
    for client in (api, bare_api):
        answer = await client.call(method, f"/serverless/invocations{path}")
        assert (answer.status, answer.code) == (503, "service_unavailable")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/call-1", "get_serverless_invocation_failed"),
        ("DELETE", "/call-1", "cancel_serverless_invocation_failed"),
        ("GET", "?serverlessRequestID=tts", "list_serverless_invocations_failed"),
    ],
)
async def test_failures_of_the_queue_carry_the_routes_code(
    api: "Api", queue: "StubQueue", method: str, path: str, code: str
) -> None:
    queue.failure = QueueRefusedError("no permission")
    answer = await api.call(method, f"/serverless/invocations{path}")
    assert (answer.status, answer.code, answer.message) == (500, code, "no permission")
    queue.failure = QueueUnavailableError("no answer")
    assert (await api.call(method, f"/serverless/invocations{path}")).status == 503


def test_a_listed_result_keeps_nothing_of_its_body_in_memory() -> None:
    message = bytes(bytearray(RESULT))
    holders = sys.getrefcount(message)
    view = listed_view(message)
    assert sys.getrefcount(message) == holders
    assert msgspec.json.decode(msgspec.json.encode(view)) == {k: v for k, v in SEEN.items() if k != "body"}


async def test_one_listing_at_a_time_reads_results(api: "Api", monkeypatch: pytest.MonkeyPatch) -> None:
    asked, under_way, most, ended = 0, 0, 0, 0
    all_asked, go_on = asyncio.Event(), asyncio.Event()

    async def last_sequence(_queue: object) -> int:
        nonlocal asked
        asked += 1
        if asked == 3:
            all_asked.set()
        return 0

    async def recent_results(*_: object) -> list[object]:
        nonlocal under_way, most, ended
        under_way += 1
        most = max(most, under_way)
        await go_on.wait()
        under_way -= 1
        ended += 1
        return []

    monkeypatch.setattr(follower, "last_sequence", last_sequence)
    monkeypatch.setattr(lookup, "recent_results", recent_results)
    listings = [asyncio.create_task(api.look("?serverlessRequestID=tts")) for _ in range(3)]
    async with asyncio.timeout(10):
        await all_asked.wait()
        assert under_way == 1
        go_on.set()
        assert [(await each).status for each in listings] == [200] * 3
    assert (most, ended) == (1, 3)
