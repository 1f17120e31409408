"""What a handler is, and how what it does becomes one `InvocationResponse`. Knows nothing of HTTP."""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeAlias, cast, runtime_checkable

import msgspec

from framework.calls import Calls
from framework.contract import NO_JSON, InvocationRequest, InvocationResponse
from framework.threads import in_thread

JSON_CONTENT_TYPE: Final = "application/json"
HANDLER_FAILED: Final = "the handler failed"

AsyncHandler: TypeAlias = Callable[[InvocationRequest], Awaitable[object]]
"""Runs in the event loop, and is cancelled when the caller gives up."""

PlainHandler: TypeAlias = Callable[[InvocationRequest], object]
"""Runs in a thread of its own, so it may block; it learns from `framework.call` that the caller gave up."""

Handler: TypeAlias = AsyncHandler | PlainHandler
"""Takes one call and returns an `InvocationResponse`, or any value that msgspec can encode: that becomes the body.

An object with a `__call__` of either kind is a handler too, and may have the hooks of `Loads` and `ReportsHealth`.
"""

log = logging.getLogger(__name__)


class HandlerObject(Protocol):
    """The class form of a handler; where one is wanted, the class will do: it is called without arguments."""

    def __call__(self, request: InvocationRequest, /) -> object:
        """Answer one call."""


@runtime_checkable
class Loads(Protocol):
    """A handler with something to prepare."""

    def load(self) -> object:
        """Called once at start, async or plain; health is 503 until it returns, and if it raises the program ends."""


@runtime_checkable
class ReportsHealth(Protocol):
    """A handler that knows whether it can work."""

    def healthy(self) -> object:
        """Asked, async or plain, on each health request; false, an exception or no answer in time means 503."""


class Invoker:
    """Calls one handler; what it raises becomes an answer too (contract section 8)."""

    def __init__(self, handler: Handler, calls: Calls, *, include_traceback: bool) -> None:
        self._handler = handler
        self._is_async = is_async(handler)
        self._calls = calls
        self._include_traceback = include_traceback

    def __call__(self, request: InvocationRequest) -> Awaitable[InvocationResponse]:
        """Call the handler; await its answer.

        Cancelling an async handler ends it; a plain one runs on and keeps its place among the running calls.
        """
        return self._await(request) if self._is_async else self._in_thread(request)

    async def _await(self, request: InvocationRequest) -> InvocationResponse:
        try:
            return to_response(await cast("AsyncHandler", self._handler)(request))
        except (Exception, SystemExit) as error:
            return self._failed(request, error)

    async def _in_thread(self, request: InvocationRequest) -> InvocationResponse:
        ended = in_thread(partial(self._work, request), f"handler-{request.invocation_id}")
        try:
            outcome = await asyncio.shield(ended)
        except asyncio.CancelledError:
            self._calls.occupy_until(ended)
            raise
        return outcome.value()

    def _work(self, request: InvocationRequest) -> InvocationResponse:
        try:
            return to_response(self._handler(request))
        except BaseException as error:
            return self._failed(request, error)

    def _failed(self, request: InvocationRequest, error: BaseException) -> InvocationResponse:
        log.error("handler failed on invocation %s", request.invocation_id, exc_info=error)
        return failed_response(error, include_traceback=self._include_traceback)


def is_async(function: object) -> bool:
    """Whether calling this function, method or object gives an awaitable."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - an object with an async __call__


def to_response(value: object) -> InvocationResponse:
    """Complete what a handler returned: status 200 and JSON unless it says otherwise.

    Raises:
        TypeError: msgspec cannot encode the value.
    """
    answer = value if isinstance(value, InvocationResponse) else InvocationResponse(body=encoded_body(value))
    return msgspec.structs.replace(
        answer,
        status_code=answer.status_code or 200,
        content_type=answer.content_type.strip() or JSON_CONTENT_TYPE,
        body=answer.body if bytes(answer.body) else NO_JSON,
    )


def failed_response(error: BaseException, *, include_traceback: bool = False) -> InvocationResponse:
    """The answer for a handler that raised: status 500, the error's text, a body that gives nothing else away.

    `include_traceback` adds the traceback to the body: for developers, as it shows source lines to every caller.
    """
    body = {"error": HANDLER_FAILED}
    if include_traceback:
        body["traceback"] = "".join(traceback.format_exception(error))
    return InvocationResponse(
        status_code=500,
        content_type=JSON_CONTENT_TYPE,
        body=encoded_body(body),
        error=str(error) or type(error).__name__,
    )


def encoded_body(value: object) -> msgspec.Raw:
    """Encode a value as raw JSON for `InvocationResponse.body`.

    Raises:
        TypeError: msgspec cannot encode the value.
    """
    return msgspec.Raw(msgspec.json.encode(value))
