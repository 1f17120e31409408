"""Health and invoke over a real socket: every row of contract section 8."""

import asyncio
import contextlib
import inspect
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import aiohttp
import msgspec
import pytest

from framework.app import Options, create_app, decode_request
from framework.contract import ContractError, InvocationRequest, InvocationResponse
from framework.handlers import HANDLER_FAILED, Handler, encoded_body
from framework.server import Framework

Serve = Callable[..., AbstractAsyncContextManager["asyncio.Task[None]"]]
CALL = {"invocationID": "inv-1"}


async def name_it(request: InvocationRequest) -> object:
    return {"id": request.invocation_id}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 405),
        ("POST", "/healthz", 405),
        ("GET", "/invoke", 405),
        ("PUT", "/invoke", 405),
        ("GET", "/", 404),
        ("GET", "/healthz/", 404),
        ("POST", "/invoke/more", 404),
    ],
)
async def test_only_the_two_routes_answer(
    serve: Serve, client: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with serve(name_it), client.request(method, path) as response:
        assert response.status == status
        assert "Allow" not in response.headers
        if status == 200:
            assert response.content_type == "application/json"
            assert await response.read() == b'{"ok":true}'
        else:
            assert response.content_type == "text/plain"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b'{"invocationID":""}',
        b'{"invocationID":"  "}',
        b'{"invocationID":7}',
        b'{"invocationID":"a","timeoutSeconds":"soon"}',
        b'{"invocationID":"a","headers":[]}',
        b'{"invocationID":"a","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
async def test_what_is_no_invocation_is_refused(serve: Serve, client: aiohttp.ClientSession, body: bytes) -> None:
    calls: list[str] = []
    async with (
        serve(lambda request: calls.append(request.invocation_id)),
        client.post("/invoke", data=body) as response,
    ):
        assert response.status == 400
        assert response.content_type == "text/plain"
    assert calls == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"invocationID":"a"}',
        b'{"invocationID":"a","later":{"field":1}}',
        b'{"invocationID":"a"} trailing',
        b' \n{"invocationID":"a"}{"invocationID":"b"}',
        b'{"invocationID":"a","payload":null,"dispatchedAt":"0001-01-01T00:00:00Z"}',
    ],
)
def test_only_the_invocation_id_is_required_and_the_rest_ignored(body: bytes) -> None:
    assert decode_request(body).invocation_id == "a"


def _plain(_request: InvocationRequest) -> object:
    return threading.current_thread() is threading.main_thread()


class _Callable:
    async def __call__(self, request: InvocationRequest) -> object:
        return request.mode


def _raises(_request: InvocationRequest) -> object:
    raise StopIteration("plain went wrong")


async def _raises_async(_request: InvocationRequest) -> object:
    raise LookupError


async def _exits(_request: InvocationRequest) -> object:
    raise SystemExit("out of order")


async def _cannot_be_encoded(_request: InvocationRequest) -> object:
    return object()


async def _full(_request: InvocationRequest) -> InvocationResponse:
    return InvocationResponse(
        status_code=201, content_type="text/x", headers={"k": "v"}, body=encoded_body("b"), error="partly"
    )


async def _bare(_request: InvocationRequest) -> InvocationResponse:
    return InvocationResponse(content_type="  ")


JSON_200 = {"statusCode": 200, "contentType": "application/json"}
FAILED = {"statusCode": 500, "contentType": "application/json", "body": {"error": HANDLER_FAILED}}


@pytest.mark.parametrize(
    ("handler", "envelope"),
    [
        (name_it, JSON_200 | {"body": {"id": "inv-1"}}),
        (_plain, JSON_200 | {"body": False}),
        (_Callable(), JSON_200 | {"body": "async"}),
        (lambda _request: None, JSON_200 | {"body": None}),
        (_bare, JSON_200),
        (_full, {"statusCode": 201, "contentType": "text/x", "headers": {"k": "v"}, "body": "b", "error": "partly"}),
        (_raises, FAILED | {"error": "plain went wrong"}),
        (_raises_async, FAILED | {"error": "LookupError"}),
        (_exits, FAILED | {"error": "out of order"}),
        (lambda _request: sys.exit("out of order"), FAILED | {"error": "out of order"}),
    ],
)
async def test_what_a_handler_does_becomes_the_envelope(
    serve: Serve, client: aiohttp.ClientSession, handler: Handler, envelope: dict[str, object]
) -> None:
    async with serve(handler), client.post("/invoke", data=msgspec.json.encode(CALL)) as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        assert await response.json() == envelope


async def test_an_answer_that_cannot_be_encoded_is_the_handlers_failure(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    async with serve(_cannot_be_encoded), client.post("/invoke", data=msgspec.json.encode(CALL)) as response:
        envelope = await response.json()
    assert envelope["statusCode"] == 500
    assert "object" in envelope["error"]


async def test_the_payload_reaches_the_handler_byte_for_byte(serve: Serve, client: aiohttp.ClientSession) -> None:
    payload = b'{"z":1,  "a":1e400,"a":"<&>"}'
    seen: list[bytes] = []
    async with serve(lambda request: seen.append(bytes(request.payload))):
        await client.post("/invoke", data=b'{"invocationID":"a","payload":' + payload + b"}")
        await client.post("/invoke", data=b'{"invocationID":"a"}')
    assert seen == [payload, b""]


async def test_calls_run_at_the_same_time(serve: Serve, client: aiohttp.ClientSession) -> None:
    together = asyncio.Barrier(3)

    async def meet(_request: InvocationRequest) -> object:
        async with asyncio.timeout(10):
            await together.wait()
        return None

    async def call() -> int:
        async with client.post("/invoke", data=msgspec.json.encode(CALL)) as response:
            return response.status

    async with serve(meet):
        assert set(await asyncio.gather(call(), call(), call())) == {200}


async def test_the_handler_is_cancelled_when_the_caller_is_gone(serve: Serve, client: aiohttp.ClientSession) -> None:
    running, cancelled = asyncio.Event(), asyncio.Event()

    async def work(_request: InvocationRequest) -> object:
        running.set()
        try:
            return await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serve(work), asyncio.timeout(10):
        call = asyncio.create_task(client.post("/invoke", data=msgspec.json.encode(CALL)).__aenter__())
        await running.wait()
        call.cancel()
        await cancelled.wait()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize(("grace_s", "finishes"), [(10, True), (0.01, False)])
async def test_a_stop_waits_for_running_calls_within_its_grace(
    serve: Serve, client: aiohttp.ClientSession, socket_path: str, grace_s: float, finishes: bool
) -> None:
    running, release = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def work(_request: InvocationRequest) -> object:
        running.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("finished")
        return None

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks, serve(work, grace_s=grace_s):
        call = tasks.create_task(_status(client))
        await running.wait()
        if finishes:
            asyncio.get_running_loop().call_soon(release.set)
    assert (call.result(), ended) == ((200, ["finished"]) if finishes else (0, ["cancelled"]))


async def test_a_stop_does_not_wait_for_a_call_that_ignores_its_cancellation(
    serve: Serve, client: aiohttp.ClientSession
) -> None:
    running, release, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_request: InvocationRequest) -> object:
        running.set()
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        ended.set()
        return None

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        async with serve(work, grace_s=0):
            call = tasks.create_task(_status(client))
            await running.wait()
        assert not ended.is_set()
        release.set()
        await ended.wait()
    assert call.result() == 0


async def _status(client: aiohttp.ClientSession) -> int:
    try:
        async with client.post("/invoke", data=msgspec.json.encode(CALL)) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


@pytest.mark.parametrize(("invoke", "health"), [("/same", "same/"), ("/healthz", "/healthz"), ("//x", "/x")])
def test_equal_paths_are_refused(invoke: str, health: str) -> None:
    with pytest.raises(ContractError, match="must differ"):
        create_app(name_it, invoke_path=invoke, health_path=health)


async def test_paths_are_cleaned_and_taken_literally(serve: Serve, client: aiohttp.ClientSession) -> None:
    async with serve(name_it, invoke_path="run/{it}", health_path="/"):
        async with client.post("/run/{it}", data=msgspec.json.encode(CALL)) as response:
            assert response.status == 200
        async with client.get("/healthz") as response:
            assert response.status == 200


def test_every_option_can_be_handed_on() -> None:
    keywords = {
        name
        for name, parameter in inspect.signature(create_app).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert keywords - {"invoke_path", "health_path"} == set(Options.__annotations__)


def test_a_decorated_worker_has_one_handler() -> None:
    worker = Framework()
    with pytest.raises(ValueError, match="mark a function or a class"):
        worker.run({})
    assert worker.handler(name_it) is name_it
    with pytest.raises(ValueError, match="one handler"):
        worker.handler(_plain)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="max_concurency"):
        create_app(name_it, max_concurency=1)  # type: ignore[call-arg]
