"""What is refused before anything is published, and what is taken back when a caller leaves (P8, P12, S8)."""

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from sidecar.cancellation import CancelMessage, decode_cancel
from sidecar.queue import QueueUnavailableError
from simulator.api import admission
from simulator.api.app import ApiServer
from simulator.api.settings import ApiSettings
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.ledger.events import Dispatched, Queued
from tests.api.conftest import StubCluster, running_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from simulator.kube.kinds import Object
    from tests.api.conftest import Api, StubFollower, StubQueue


class StubUnits(Informer):
    """Units as an informer knows them."""

    def __init__(self, *units: "Object") -> None:
        super().__init__(StubCluster(), GPUUNIT, ACTIVE_NAMESPACE)
        self._synced.set()
        for unit in units:
            self.put(unit)

    def put(self, unit: "Object") -> None:
        key = (ACTIVE_NAMESPACE, unit["metadata"]["name"])
        self._objects[key] = unit
        self._announce(key)

    def remove(self, name: str) -> None:
        self._objects.pop((ACTIVE_NAMESPACE, name))
        self._announce((ACTIVE_NAMESPACE, name))


def unit(name: str, **serverless: object) -> "Object":
    return {"metadata": {"name": name, "namespace": ACTIVE_NAMESPACE}, "spec": {"serverless": serverless}}


@pytest.mark.parametrize("mode", ["async", "sync"])
@pytest.mark.parametrize("settings", [ApiSettings(backlog_limit=2)])
async def test_a_pool_over_its_backlog_limit_takes_no_more(
    api: "Api", queue: "StubQueue", follower: "StubFollower", mode: str
) -> None:
    for number in (1, 2):
        follower.take(Queued(f"call-{number}", "tts", number))
    answer = await api.invoke(mode=mode)
    assert (answer.status, answer.code) == (503, "backpressure")
    assert int(answer.headers["Retry-After"]) > 0
    assert queue.publications == []
    assert (await api.invoke(serverlessRequestID="stt")).status == 202  # another pool's backlog is its own
    follower.take(Dispatched("call-1", "tts", 3, "unit-a"))
    assert (await api.invoke()).status == 202


@pytest.mark.parametrize("settings", [ApiSettings(max_requests=2)])
async def test_p12_requests_in_hand_are_bounded(api: "Api", queue: "StubQueue", follower: "StubFollower") -> None:
    follower.take(Queued("call-1", "tts", 1))
    waits = [asyncio.create_task(api.look("/call-1?wait=60s")) for _ in range(2)]
    async with asyncio.timeout(10):
        for _ in waits:
            assert await follower.waits.get() == "call-1"
        refused = [await api.invoke(), await api.invoke(mode="sync"), await api.call("GET", "/gpu-units")]
        assert {(answer.status, answer.code) for answer in refused} == {(503, "service_unavailable")}
        assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
        assert queue.publications == []
        assert (await api.call("GET", "/health")).status == 200  # whether it works can always be asked
        follower.end("call-1", "tts", b'{"invocationID":"call-1","serverlessRequestID":"tts"}')
        assert [(await wait).status for wait in waits] == [200, 200]
    assert (await api.invoke()).status == 202


@pytest.mark.parametrize("settings", [ApiSettings(max_requests=1)])
async def test_p12_a_place_is_free_again_after_a_failure(api: "Api", queue: "StubQueue") -> None:
    queue.failure = QueueUnavailableError("no answer")
    assert [(await api.invoke(**body)).status for body in ({}, {"mode": "no"}, {})] == [503, 400, 503]
    queue.failure = None
    assert (await api.invoke()).status == 202


async def test_p8_an_unknown_pool_is_taken_unless_that_is_forbidden(api: "Api") -> None:
    assert (await api.invoke(serverlessRequestID="nobody")).status == 202


@pytest.fixture
def units() -> StubUnits:
    return StubUnits(unit("a", requestID="TTS"), unit("b"), unit("broken", enabled=True))


@pytest.fixture
async def strict_api(queue: "StubQueue", follower: "StubFollower", units: StubUnits) -> "AsyncIterator[Api]":
    settings = ApiSettings(require_pool=True)
    async with running_api(None, queue, follower=follower, settings=settings, units=units) as client:
        yield client


@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_p8_a_pool_without_a_unit_is_404_where_that_is_wanted(
    strict_api: "Api", queue: "StubQueue", units: StubUnits, mode: str
) -> None:
    assert (await strict_api.invoke()).status == 202
    answer = await strict_api.invoke(mode=mode, serverlessRequestID="stt")
    assert (answer.status, answer.code) == (404, "pool_not_found")
    assert len(queue.publications) == 1
    units.put(unit("c", requestID="stt"))
    assert (await strict_api.invoke(serverlessRequestID="stt")).status == 202
    units.remove("a")
    assert (await strict_api.invoke()).status == 404


async def test_p8_units_that_are_not_known_yet_are_503(
    strict_api: "Api", units: StubUnits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "UNITS_TIMEOUT_S", 0.01)
    units._synced.clear()
    assert (await strict_api.invoke()).status == 503
    units._synced.set()
    assert (await strict_api.invoke()).status == 202


def test_p8_the_check_needs_units(queue: "StubQueue") -> None:
    with pytest.raises(ValueError, match="units"):
        ApiServer(None, queue, settings=ApiSettings(require_pool=True))


async def leave(api: "Api", queue: "StubQueue", **body: object) -> None:
    """Begin a sync call, and close the connection while it waits."""
    call = asyncio.create_task(api.invoke(mode="sync", timeoutSeconds=3600, **body))
    await queue.published.wait()
    call.cancel()
    await asyncio.wait([call])


@pytest.mark.parametrize("invocation_id", ["call-1", ""])
async def test_s8_the_call_of_a_caller_who_left_is_taken_back_if_it_did_not_start(
    api: "Api", queue: "StubQueue", invocation_id: str
) -> None:
    async with asyncio.timeout(10):
        await leave(api, queue, invocationID=invocation_id)
        await queue.was_sent.wait()
    [(subject, body)] = queue.sent
    assert subject == "runtime.serverless.cancel.tts"
    assert decode_cancel(body) == CancelMessage(invocation_id=queue.publications[0].message_id, if_not_started=True)


async def test_s8_a_call_that_may_be_stored_is_taken_back_too(api: "Api", queue: "StubQueue") -> None:
    queue.hangs = True
    async with asyncio.timeout(10):
        await leave(api, queue)
        await queue.was_sent.wait()
    assert decode_cancel(queue.sent[0][1]).if_not_started


async def test_s8_what_may_be_another_callers_is_not_taken_back(queue: "StubQueue", follower: "StubFollower") -> None:
    """Whether this ID was used before is known only when the queue has answered."""
    queue.hangs = True
    async with asyncio.timeout(10):
        async with running_api(None, queue, follower=follower) as api:
            await leave(api, queue, invocationID="call-1")
    assert queue.sent == []


async def test_s8_a_queue_that_is_away_when_the_caller_leaves_harms_nothing(
    queue: "StubQueue", follower: "StubFollower"
) -> None:
    async with asyncio.timeout(10):
        with capture_logs() as logs:
            async with running_api(None, queue, follower=follower) as api:
                call = asyncio.create_task(api.invoke(mode="sync", timeoutSeconds=3600, invocationID="call-1"))
                await queue.published.wait()
                queue.failure = QueueUnavailableError("away")
                call.cancel()
                await asyncio.wait([call])
    assert [(each["log_level"], each["invocationID"]) for each in logs] == [("warning", "call-1")]
