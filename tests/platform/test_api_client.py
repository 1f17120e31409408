"""The API client turns answers into values and refusals into errors with the right exit code."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from simulator.api_client import ApiClient, ApiRefusedError
from simulator.errors import PlatformError, UsageError


@pytest.fixture
async def api() -> AsyncIterator[ApiClient]:
    async def answer(request: web.Request) -> web.Response:
        if request.method == "DELETE":
            return web.Response(status=204)
        body = await request.json()
        status = body["status"]
        if status >= 400:
            return web.json_response({"error": {"code": "some_code", "message": "some text"}}, status=status)
        return web.json_response({"data": body}, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, ApiClient(str(server.make_url(""))) as client:
        yield client


async def test_data_is_unwrapped(api: ApiClient) -> None:
    assert await api.create_unit({"status": 201}) == {"status": 201}
    assert await api.invoke({"status": 200}) == {"status": 200}
    await api.delete_unit("u")


@pytest.mark.parametrize(("status", "exit_code"), [(400, 2), (413, 2), (404, 1), (409, 1), (500, 1), (503, 1)])
async def test_refusals(api: ApiClient, status: int, exit_code: int) -> None:
    with pytest.raises(ApiRefusedError, match=rf"some text \(HTTP {status}, some_code\)") as caught:
        await api.invoke({"status": status})
    assert (caught.value.status, caught.value.code, caught.value.exit_code) == (status, "some_code", exit_code)


async def test_an_answer_that_is_no_json_is_an_error_with_the_url() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server, ApiClient(str(server.make_url(""))) as client:
        with pytest.raises(PlatformError, match="/api/v1/health"):
            await client.health()


@pytest.mark.parametrize(
    "url", ["foo", "", "127.0.0.1:8080", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://h:0", "http://["]
)
def test_an_address_that_is_no_http_url_is_the_users_mistake(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        ApiClient(url)
    assert repr(url) in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://api.example/", "http://[::1]:80", "HTTP://h"])
def test_an_http_url_is_taken(url: str) -> None:
    ApiClient(url)
