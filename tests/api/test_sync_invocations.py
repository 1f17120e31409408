"""Sync invocations over a queue that records: result, mirrored status, time-out, used IDs (contract 4.3; P1 to P4)."""

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from simulator.api import calls, invocations
from simulator.api.calls import SYNC_GRACE_S, Calls
from simulator.api.request_body import read_body
from simulator.ledger.events import Dispatched, Queued

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp import web

    from sidecar.messages import InvocationMessage
    from tests.api.conftest import Api, StubFollower, StubQueue

RESULT = (
    b'{"version":"v1","invocationID":"call-1","serverlessRequestID":"tts","mode":"sync","state":"succeeded",'
    b'"replySubject":"_INBOX.stub","workerName":"tts","workerNamespace":"runtime-instance","statusCode":502,'
    b'"body":{"n": 1.50},"startedAt":"2026-03-04T05:06:07.4Z","completedAt":"2026-03-04T05:06:08.9Z","later":[1]}'
)


async def test_a_sync_invocation_answers_200_with_the_workers_result(api: "Api", queue: "StubQueue") -> None:
    queue.reply = RESULT
    answer = await api.invoke(mode="sync", invocationID="call-1")
    assert answer.status == 200
    expected = msgspec.json.decode(RESULT)
    del expected["version"], expected["replySubject"]
    assert answer.data == expected
    assert queue.sent == []


async def test_a_sync_result_keeps_the_bytes_of_its_body(api: "Api", queue: "StubQueue") -> None:
    queue.reply = RESULT
    async with api.session.post(
        f"{api.url}/api/v1/serverless/invocations", json={"serverlessRequestID": "tts", "mode": "sync"}
    ) as response:
        assert b'"body":{"n": 1.50}' in await response.read()


async def test_a_sync_status_is_200_whatever_the_result_says(api: "Api", queue: "StubQueue") -> None:
    queue.reply = RESULT
    answers = [await api.invoke(mode="sync"), await api.invoke_mirrored("FALSE", mode="sync")]
    assert [answer.status for answer in answers] == [200, 200]


@pytest.mark.parametrize(
    ("status_code", "status"),
    [("502", 502), ("201", 201), ("599", 599), ("0", 200), ("99", 502), ("199", 502), ("600", 502), ("-1", 502)],
)
async def test_p4_the_status_of_the_result_is_mirrored_where_that_is_asked_for(
    api: "Api", queue: "StubQueue", status_code: str, status: int
) -> None:
    queue.reply = RESULT.replace(b'"statusCode":502', b'"statusCode":' + status_code.encode())
    answer = await api.invoke_mirrored("true", mode="sync")
    assert (answer.status, answer.data["statusCode"]) == (status, int(status_code))


async def test_p4_a_mirrored_status_without_a_body_has_none(api: "Api", queue: "StubQueue") -> None:
    queue.reply = RESULT.replace(b'"statusCode":502', b'"statusCode":204')
    answer = await api.invoke_mirrored("True", mode="sync")
    assert (answer.status, answer.body) == (204, None)


async def test_p4_another_wish_than_true_or_false_is_400(api: "Api", queue: "StubQueue") -> None:
    answer = await api.invoke_mirrored("yes", mode="sync")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith("Serverless-Mirror-Status: ")
    assert queue.publications == []


async def test_p4_a_call_that_is_not_waited_for_has_no_status_to_mirror(api: "Api") -> None:
    assert (await api.invoke_mirrored("true")).status == 202


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sync calls with the default budget have waited long enough when they have begun."""
    monkeypatch.setattr(invocations, "SYNC_GRACE_S", -30)


@pytest.mark.usefixtures("impatient")
async def test_p1_a_sync_timeout_is_504_with_the_invocation_id(api: "Api", queue: "StubQueue") -> None:
    answer = await api.invoke(mode="sync", invocationID="call-1")
    assert (answer.status, answer.code) == (504, "invocation_timeout")
    assert "call-1" in answer.message
    assert answer.headers["Invocation-Id"] == "call-1"
    assert queue.sent == []  # it may still finish: the caller was told where to look


@pytest.mark.usefixtures("impatient")
async def test_p1_a_result_whose_reply_was_lost_is_answered_at_the_end_of_the_wait(
    api: "Api", queue: "StubQueue", follower: "StubFollower"
) -> None:
    follower.end("call-1", "tts", RESULT)
    answer = await api.invoke(mode="sync", invocationID="call-1")
    assert (answer.status, answer.data["workerName"]) == (200, "tts")


async def test_q3_a_lost_reply_is_made_up_for_by_the_stored_result(
    api: "Api", queue: "StubQueue", follower: "StubFollower", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "LATE_REPLY_S", 0.01)
    call = asyncio.create_task(api.invoke(mode="sync", invocationID="call-1", timeoutSeconds=3600))
    async with asyncio.timeout(10):
        await queue.published.wait()
        follower.take(Dispatched("call-1", "tts", 2, "tts"))
        follower.end("call-1", "tts", RESULT)
        answer = await call
    assert (answer.status, answer.data["workerName"]) == (200, "tts")


@pytest.mark.usefixtures("impatient")
async def test_p1_a_ledger_that_is_behind_changes_no_timeout(
    api: "Api", queue: "StubQueue", follower: "StubFollower"
) -> None:
    follower.late = True
    assert (await api.invoke(mode="sync")).status == 504


@pytest.mark.parametrize(("asked", "budget"), [(7, 7), (0, 30)])
async def test_p1_the_caller_waits_longer_than_the_worker_may_work(
    api: "Api", monkeypatch: pytest.MonkeyPatch, asked: int, budget: int
) -> None:
    waits: list[tuple[int, float]] = []

    async def call(
        _calls: Calls, message: "InvocationMessage", _trace: "Mapping[str, str]", deadline: float, *, fresh_id: bool
    ) -> bytes:
        waits.append((message.timeout_seconds, deadline - asyncio.get_running_loop().time()))
        assert fresh_id
        return RESULT

    monkeypatch.setattr(Calls, "call", call)
    await api.invoke(mode="sync", timeoutSeconds=asked)
    [(worker_s, wait_s)] = waits
    assert worker_s == budget < wait_s <= budget + SYNC_GRACE_S


async def test_p1_the_wait_begins_when_the_whole_call_is_there(api: "Api", monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []
    reading = asyncio.Event()
    last_sent = 0.0

    async def read(request: "web.Request", most: int) -> bytes:
        reading.set()
        return await read_body(request, most)

    async def call(_calls: Calls, _message: object, _trace: object, deadline: float, *, fresh_id: bool) -> bytes:
        assert fresh_id
        deadlines.append(deadline)
        return RESULT

    async def slowly() -> "AsyncIterator[bytes]":
        nonlocal last_sent
        yield b'{"serverlessRequestID":"tts","mode":"sync",'
        await reading.wait()
        last_sent = asyncio.get_running_loop().time()
        yield b'"timeoutSeconds":7}'

    monkeypatch.setattr(invocations, "read_body", read)
    monkeypatch.setattr(Calls, "call", call)
    headers = {"Content-Type": "application/json"}
    async with (
        asyncio.timeout(10),
        api.session.post(f"{api.url}/api/v1/serverless/invocations", data=slowly(), headers=headers) as response,
    ):
        assert response.status == 200
    [deadline] = deadlines
    assert deadline >= last_sent + 7 + SYNC_GRACE_S


async def test_p2_a_sync_duplicate_is_a_conflict_at_once(
    api: "Api", queue: "StubQueue", follower: "StubFollower"
) -> None:
    await api.invoke(invocationID="call-1")
    follower.take(Queued("call-1", "tts", 1))
    answer = await api.invoke(mode="sync", invocationID="call-1", timeoutSeconds=3600)
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert "call-1" in answer.message
    assert len(queue.publications) == 1
    assert queue.sent == []


async def test_p2_a_sync_duplicate_of_an_ended_call_gets_the_stored_result(
    api: "Api", queue: "StubQueue", follower: "StubFollower"
) -> None:
    await api.invoke(invocationID="call-1")
    follower.end("call-1", "tts", RESULT)
    answer = await api.invoke(mode="sync", invocationID="call-1", timeoutSeconds=3600)
    expected = msgspec.json.decode(RESULT)
    del expected["version"], expected["replySubject"]
    assert (answer.status, answer.data) == (200, expected)
    assert (await api.invoke_mirrored("true", mode="sync", invocationID="call-1")).status == 502


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("has_ended", [False, True])
async def test_p3_an_id_that_was_used_in_another_pool_is_a_conflict(
    api: "Api", queue: "StubQueue", follower: "StubFollower", mode: str, has_ended: bool
) -> None:
    await api.invoke(invocationID="call-1", serverlessRequestID="stt")
    if has_ended:
        follower.end("call-1", "stt", RESULT)
    answer = await api.invoke(mode=mode, invocationID="call-1")
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert "another pool" in answer.message
    assert "stt" not in answer.message
    assert len(queue.publications) == 1
