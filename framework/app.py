"""The HTTP side of a framework as an aiohttp application (contract section 8): health and invoke, nothing else."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, TypedDict

import msgspec
from aiohttp import web

from framework import call as current_call
from framework.calls import Calls
from framework.connection import BODY_TIMEOUT_S, MAX_BODY_BYTES, RefusedError, read_body
from framework.contract import (
    DEFAULT_HEALTH_PATH,
    DEFAULT_INVOKE_PATH,
    ContractError,
    InvocationRequest,
    clean_http_path,
)
from framework.handlers import JSON_CONTENT_TYPE, Handler, HandlerObject, Invoker
from framework.readiness import Readiness

Endpoint: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]
Respond: TypeAlias = Callable[[web.Request, InvocationRequest], Awaitable[web.Response]]


class Options(TypedDict, total=False):
    """The options of `create_app`, for those that hand them on."""

    max_concurrency: int | None
    max_body_bytes: int
    body_timeout_s: float
    include_traceback: bool


class State(msgspec.Struct, frozen=True):
    """What runs behind an application."""

    calls: Calls
    readiness: Readiness


STATE: Final = web.AppKey("framework_state", State)


def create_app(
    handler: Handler | type[HandlerObject],
    *,
    invoke_path: str = DEFAULT_INVOKE_PATH,
    health_path: str = DEFAULT_HEALTH_PATH,
    max_concurrency: int | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
    body_timeout_s: float = BODY_TIMEOUT_S,
    include_traceback: bool = False,
) -> web.Application:
    """Serve `handler` at `POST invoke_path`, and health at `GET health_path`; `framework.server` runs the application.

    A class is called without arguments to make the handler. Beyond `max_concurrency` calls at once (None: no limit)
    others get a 503. A body above `max_body_bytes` gets a 413, and one that takes longer than `body_timeout_s` seconds
    to come a 408. `include_traceback` shows callers the traceback of what a handler raised.

    Raises:
        ContractError: a path is not allowed, or both are the same.
        TypeError: the handler cannot be called.
        ValueError: `max_concurrency` is less than 1.
    """
    target: Handler = handler() if isinstance(handler, type) else handler
    if not callable(target):
        raise TypeError(f"a handler is a function, or an object with a __call__ method; {target!r} is neither")
    state = State(Calls(max_concurrency), Readiness(target))
    invoker = Invoker(target, state.calls, include_traceback=include_traceback)

    async def respond(_request: web.Request, call: InvocationRequest) -> web.Response:
        return json_response(msgspec.json.encode(await invoker(call)))

    return build_app(
        state,
        respond,
        invoke_path=invoke_path,
        health_path=health_path,
        max_body_bytes=max_body_bytes,
        body_timeout_s=body_timeout_s,
    )


def build_app(
    state: State,
    respond: Respond,
    *,
    invoke_path: str,
    health_path: str,
    max_body_bytes: int = MAX_BODY_BYTES,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> web.Application:
    """Build the application that answers each invocation with `respond`.

    Raises:
        ContractError: a path is not allowed, or both are the same.
    """
    routes = {
        clean_http_path(health_path, DEFAULT_HEALTH_PATH): _health(state),
        clean_http_path(invoke_path, DEFAULT_INVOKE_PATH): _invoke(state, respond, max_body_bytes, body_timeout_s),
    }
    if len(routes) == 1:
        raise ContractError(f"health and invoke path must differ, both are {next(iter(routes))!r}")

    async def route(request: web.Request) -> web.Response:
        endpoint = routes.get(request.path)
        try:
            if endpoint is None:
                raise RefusedError(404, "no such path")
            return await endpoint(request)
        except RefusedError as refusal:
            return refusal.response()

    app = web.Application()
    app[STATE] = state
    # One route for all: aiohttp's own would match more than the exact path and answer 405 with an Allow header.
    app.router.add_route("*", "/{path:.*}", route)
    return app


def json_response(body: bytes, status: int = 200) -> web.Response:
    """An answer whose body is JSON already."""
    return web.Response(status=status, body=body, content_type=JSON_CONTENT_TYPE)


def decode_request(body: bytes) -> InvocationRequest:
    """Decode an invoke body; what follows the first JSON value is ignored (contract section 8).

    Raises:
        ValueError: not JSON, nested too deep, a field of the wrong type, or no invocationID.
    """
    try:
        request = msgspec.json.decode(body, type=InvocationRequest)
    except msgspec.ValidationError:
        raise
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    except msgspec.DecodeError:
        text = body.decode()
        start = len(text) - len(text.lstrip())
        _, end = json.JSONDecoder().raw_decode(text, start)
        request = msgspec.json.decode(text[start:end], type=InvocationRequest)
    if not request.invocation_id.strip():
        raise ValueError("invocationID must not be empty")
    return request


def _health(state: State) -> Endpoint:
    async def health(request: web.Request) -> web.Response:
        if request.method != "GET":
            raise RefusedError(405, "use GET")
        if await state.readiness.ask():
            return json_response(b'{"ok":true}')
        return json_response(b'{"ok":false}', status=503)

    return health


def _invoke(state: State, respond: Respond, max_body_bytes: int, body_timeout_s: float) -> Endpoint:
    calls, readiness = state.calls, state.readiness

    async def answer(request: web.Request) -> web.Response:
        try:
            invocation = decode_request(await read_body(request, max_body_bytes, body_timeout_s))
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"not an invocation: {error}") from error
        call = current_call.begin(request.headers)
        try:
            return await respond(request, invocation)
        except asyncio.CancelledError:
            call.cancelled.set()
            raise

    async def invoke(request: web.Request) -> web.Response:
        if request.method != "POST":
            raise RefusedError(405, "use POST")
        if not readiness.loaded:
            raise RefusedError(503, "still loading")
        if calls.full:
            raise RefusedError(503, "busy: as many calls run as may")
        task = calls.begin()
        try:
            return await answer(request)
        finally:
            calls.end(task)

    return invoke
