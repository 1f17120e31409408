"""The HTTP side of a framework as an aiohttp application (contract section 8): health and invoke, nothing else."""

import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec
from aiohttp import web

from framework.contract import (
    DEFAULT_HEALTH_PATH,
    DEFAULT_INVOKE_PATH,
    ContractError,
    InvocationRequest,
    clean_http_path,
)
from framework.handlers import JSON_CONTENT_TYPE, Handler, call_handler

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""NATS advises against messages above 8 MiB, so no well-run platform sends more."""

Endpoint: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]


def create_app(
    handler: Handler,
    *,
    invoke_path: str = DEFAULT_INVOKE_PATH,
    health_path: str = DEFAULT_HEALTH_PATH,
    max_body_bytes: int = MAX_BODY_BYTES,
    is_ready: Callable[[], bool] | None = None,
) -> web.Application:
    """Serve `handler` at `POST invoke_path`, and health at `GET health_path`.

    Health is 200 unless `is_ready` (say: the model is loaded) returns false; then it is 503 and the sidecar waits.

    Raises:
        ContractError: a path is not allowed, or both are the same.
    """
    routes = {
        clean_http_path(health_path, DEFAULT_HEALTH_PATH): _health(is_ready),
        clean_http_path(invoke_path, DEFAULT_INVOKE_PATH): _invoke(handler),
    }
    if len(routes) == 1:
        raise ContractError(f"health and invoke path must differ, both are {next(iter(routes))!r}")

    async def route(request: web.Request) -> web.Response:
        endpoint = routes.get(request.path)
        if endpoint is None:
            return web.Response(status=404, text="no such path\n")
        return await endpoint(request)

    app = web.Application(client_max_size=max_body_bytes)
    # One route for all: aiohttp's own would match more than the exact path and answer 405 with an Allow header.
    app.router.add_route("*", "/{path:.*}", route)
    return app


def decode_request(body: bytes) -> InvocationRequest:
    """Decode an invoke body; what follows the first JSON value is ignored (contract section 8).

    Raises:
        ValueError: not JSON, a field of the wrong type, or no invocationID.
    """
    try:
        request = msgspec.json.decode(body, type=InvocationRequest)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        text = body.decode()
        start = len(text) - len(text.lstrip())
        _, end = json.JSONDecoder().raw_decode(text, start)
        request = msgspec.json.decode(text[start:end], type=InvocationRequest)
    if not request.invocation_id.strip():
        raise ValueError("invocationID must not be empty")
    return request


def _health(is_ready: Callable[[], bool] | None) -> Endpoint:
    async def health(request: web.Request) -> web.Response:
        if request.method != "GET":
            return _wrong_method("GET")
        ready = is_ready is None or is_ready()
        return web.Response(
            status=200 if ready else 503,
            body=b'{"ok":true}' if ready else b'{"ok":false}',
            content_type=JSON_CONTENT_TYPE,
        )

    return health


def _invoke(handler: Handler) -> Endpoint:
    async def invoke(request: web.Request) -> web.Response:
        if request.method != "POST":
            return _wrong_method("POST")
        try:
            call = decode_request(await request.read())
        except ValueError as error:
            return web.Response(status=400, text=f"not an invocation: {error}\n")
        answer = await call_handler(handler, call)
        return web.Response(body=msgspec.json.encode(answer), content_type=JSON_CONTENT_TYPE)

    return invoke


def _wrong_method(allowed: str) -> web.Response:
    return web.Response(status=405, text=f"use {allowed}\n")
