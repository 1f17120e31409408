"""Calls while they run: how many, what they know of themselves, and how a plain one learns that it may stop."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import aiohttp
import msgspec
import pytest

from framework import call
from framework.app import create_app
from framework.call import TraceContext
from framework.contract import InvocationRequest

Serve = Callable[..., AbstractAsyncContextManager["asyncio.Task[None]"]]
CALL = msgspec.json.encode({"invocationID": "inv-1"})
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


async def post(client: aiohttp.ClientSession, **headers: str) -> tuple[int, str]:
    async with client.post("/invoke", data=CALL, headers=headers) as response:
        return response.status, await response.text()


async def test_a_call_beyond_the_limit_is_refused_at_once_and_health_stays(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    running, release = asyncio.Semaphore(0), asyncio.Event()

    async def work(_request: InvocationRequest) -> object:
        running.release()
        await release.wait()
        return None

    async with asyncio.timeout(20), serve(work, max_concurrency=2), asyncio.TaskGroup() as tasks:
        first = [tasks.create_task(post(client)) for _ in range(2)]
        for _ in first:
            await running.acquire()
        status, text = await post(client)
        assert (status, text) == (503, "busy: as many calls run as may\n")
        async with client.get("/healthz") as response:
            assert response.status == 200
        release.set()
        assert [(await task)[0] for task in first] == [200, 200]
        assert (await post(client))[0] == 200


async def test_a_plain_handler_learns_that_its_caller_is_gone_and_keeps_its_place_until_it_ends(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    begun, told, release = threading.Event(), threading.Event(), threading.Event()

    def work(_request: InvocationRequest) -> object:
        if not begun.is_set():
            begun.set()
            if call.current().cancelled.wait(20):
                told.set()
            release.wait(20)
        return None

    async with asyncio.timeout(20), serve(work, max_concurrency=1):
        first = asyncio.create_task(post(client))
        await asyncio.to_thread(begun.wait, 20)
        first.cancel()
        assert await asyncio.to_thread(told.wait, 20)
        assert (await post(client))[0] == 503
        release.set()
        while (await post(client))[0] == 503:
            pass


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_allows_no_call_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        create_app(lambda _request: None, max_concurrency=limit)


def test_what_cannot_be_called_is_no_handler() -> None:
    with pytest.raises(TypeError, match="__call__"):
        create_app(object())  # type: ignore[arg-type]


def _plain(_request: InvocationRequest) -> object:
    return _seen()


async def _async(_request: InvocationRequest) -> object:
    return _seen()


def _seen() -> list[object]:
    now = call.current()
    return [now.trace and [now.trace.trace_id, now.trace.state], now.cancelled.is_set()]


@pytest.mark.parametrize("handler", [_plain, _async])
async def test_a_handler_sees_the_trace_of_its_call(
    serve: Serve, client: aiohttp.ClientSession, handler: Callable[[InvocationRequest], object]
) -> None:
    """S30: the sidecar's trace context reaches the user's code, outside of the envelope."""
    async with serve(handler):
        _, traced = await post(client, traceparent=f"00-{TRACE_ID}-{PARENT_ID}-01", tracestate="v=1")
        _, untraced = await post(client)
    assert msgspec.json.decode(traced)["body"] == [[TRACE_ID, "v=1"], False]
    assert msgspec.json.decode(untraced)["body"] == [None, False]


@pytest.mark.parametrize(
    ("traceparent", "sampled"),
    [
        (f"00-{TRACE_ID}-{PARENT_ID}-01", True),
        (f" 00-{TRACE_ID}-{PARENT_ID}-00 ", False),
        (f"00-{TRACE_ID}-{PARENT_ID}-fe", False),
        (f"cc-{TRACE_ID}-{PARENT_ID}-03-of-the-future", True),
    ],
)
def test_a_traceparent_is_read(traceparent: str, sampled: bool) -> None:
    assert TraceContext.parse(traceparent, "a=b") == TraceContext(TRACE_ID, PARENT_ID, sampled, "a=b")


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-1",
        f"00-{TRACE_ID}-{PARENT_ID}-01-more",
    ],
)
def test_an_invalid_traceparent_is_no_trace(traceparent: str) -> None:
    assert TraceContext.parse(traceparent) is None


def test_outside_of_a_call_there_is_none() -> None:
    with pytest.raises(LookupError, match="ask in the handler"):
        call.current()


@pytest.mark.parametrize("shown", [True, False])
async def test_a_traceback_is_shown_only_when_asked_for(
    serve: Serve, client: aiohttp.ClientSession, shown: bool
) -> None:
    async def fails(_request: InvocationRequest) -> object:
        raise ValueError("secret reason")

    async with serve(fails, include_traceback=shown):
        _, text = await post(client)
    envelope = msgspec.json.decode(text)
    assert envelope["error"] == "secret reason"
    assert ("fails" in envelope["body"].get("traceback", "")) is shown
    assert ("test_running_calls.py" in text) is shown
