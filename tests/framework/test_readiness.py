"""The class form of a handler: health means that its model is loaded and that it works."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import aiohttp
import msgspec
import pytest

from framework.app import create_app
from framework.contract import InvocationRequest
from framework.readiness import LoadError, Readiness
from framework.server import serve_unix, serving

Serve = Callable[..., AbstractAsyncContextManager["asyncio.Task[None]"]]
CALL = msgspec.json.encode({"invocationID": "inv-1"})
NOT_OK = (503, b'{"ok":false}')
OK = (200, b'{"ok":true}')


async def health(client: aiohttp.ClientSession) -> tuple[int, bytes]:
    async with client.get("/healthz") as response:
        assert response.content_type == "application/json"
        return response.status, await response.read()


async def invoke(client: aiohttp.ClientSession) -> int:
    async with client.post("/invoke", data=CALL) as response:
        return response.status


class AsyncModel:
    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def load(self) -> None:
        await self.release.wait()

    async def __call__(self, request: InvocationRequest) -> object:
        return request.invocation_id


class PlainModel:
    def __init__(self) -> None:
        self.release = threading.Event()

    def load(self) -> None:
        assert self.release.wait(20)

    def __call__(self, request: InvocationRequest) -> object:
        return request.invocation_id


@pytest.mark.parametrize("model_type", [AsyncModel, PlainModel])
async def test_health_and_invoke_are_503_until_the_model_is_loaded(
    serve: Serve, client: aiohttp.ClientSession, model_type: type[AsyncModel] | type[PlainModel]
) -> None:
    model = model_type()
    async with serve(model) as loading, asyncio.timeout(20):
        assert await health(client) == NOT_OK
        assert await invoke(client) == 503
        model.release.set()
        await loading
        assert await health(client) == OK
        assert await invoke(client) == 200


async def test_a_class_is_made_into_a_handler(socket_path: str, client: aiohttp.ClientSession) -> None:
    class Model:
        loads = 0

        def load(self) -> None:
            Model.loads += 1

        async def __call__(self, _request: InvocationRequest) -> object:
            return Model.loads

    async with serving(create_app(Model), socket_path) as loading:
        await loading
        for _ in range(2):
            async with client.post("/invoke", data=CALL) as response:
                assert (await response.json())["body"] == 1


async def test_a_stop_does_not_wait_for_a_load(serve: Serve) -> None:
    model = AsyncModel()
    async with asyncio.timeout(20), serve(model) as loading:
        pass
    assert loading.cancelled()


@pytest.mark.parametrize("kind", ["async", "plain", "exit", "stop iteration"])
async def test_a_load_that_raises_ends_the_server_and_says_why(socket_path: str, kind: str) -> None:
    class Async:
        async def load(self) -> None:
            raise FileNotFoundError("no weights\nat all")

        def __call__(self, _request: InvocationRequest) -> object: ...

    class Plain:
        def load(self) -> None:
            raise {"plain": ValueError("no weights\nat all"), "exit": SystemExit(3)}.get(kind, StopIteration())

        def __call__(self, _request: InvocationRequest) -> object: ...

    reasons = {
        "async": "FileNotFoundError: no weights at all",
        "plain": "ValueError: no weights at all",
        "exit": "SystemExit: 3",
        "stop iteration": "RuntimeError: coroutine raised StopIteration",
    }
    with pytest.raises(LoadError) as raised:
        async with asyncio.timeout(20):
            await serve_unix(create_app(Async() if kind == "async" else Plain()), socket_path)
    assert str(raised.value) == f"load() failed: {reasons[kind]}"


def _healthy(answer: object, *, plain: bool) -> object:
    def give() -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    class Plain:
        def healthy(self) -> object:
            return give()

    class Async:
        async def healthy(self) -> object:
            return give()

    return Plain() if plain else Async()


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    ("answer", "ready"), [(True, True), (1, True), (False, False), (None, False), (OSError("no GPU"), False)]
)
async def test_health_is_what_the_handler_says(answer: object, plain: bool, ready: bool) -> None:
    readiness = Readiness(_healthy(answer, plain=plain))
    assert await readiness.ask() is ready
    await readiness.close()


@pytest.fixture
async def asked() -> AsyncIterator[Callable[[Any], Readiness]]:
    made: list[Readiness] = []

    def make(handler: object) -> Readiness:
        made.append(Readiness(handler, healthy_timeout_s=0.02))
        return made[-1]

    yield make
    for readiness in made:
        await readiness.close()


async def test_a_slow_async_answer_is_given_up_and_asked_for_again(asked: Callable[[Any], Readiness]) -> None:
    class Model:
        cancelled = 0
        slow = True

        async def healthy(self) -> bool:
            try:
                await asyncio.sleep(60 if self.slow else 0)
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            return True

    model = Model()
    readiness = asked(model)
    assert await readiness.ask() is False
    model.slow = False
    async with asyncio.timeout(20):
        while not await readiness.ask():
            pass
    assert model.cancelled == 1


async def test_a_stuck_plain_answer_costs_one_thread_however_often_it_is_asked_for(
    asked: Callable[[Any], Readiness],
) -> None:
    class Model:
        asked = 0
        release = threading.Event()

        def healthy(self) -> bool:
            self.asked += 1
            return self.release.wait(20)

    model = Model()
    readiness = asked(model)
    assert [await readiness.ask() for _ in range(3)] == [False, False, False]
    assert model.asked == 1
    model.release.set()
    async with asyncio.timeout(20):
        while not await readiness.ask():
            pass


async def test_an_unhealthy_worker_still_takes_the_calls_that_come(serve: Serve, client: aiohttp.ClientSession) -> None:
    class Model:
        def healthy(self) -> bool:
            return False

        def __call__(self, request: InvocationRequest) -> object:
            return request.invocation_id

    async with serve(Model()):
        assert await health(client) == NOT_OK
        assert await invoke(client) == 200
