"""What a handler is, and how what it does becomes one `InvocationResponse`. Knows nothing of HTTP."""

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from framework.contract import NO_JSON, InvocationRequest, InvocationResponse

JSON_CONTENT_TYPE: Final = "application/json"
HANDLER_FAILED: Final = "the handler failed"

Handler: TypeAlias = Callable[[InvocationRequest], object] | Callable[[InvocationRequest], Awaitable[object]]
"""Takes one call and returns an `InvocationResponse`, or any value that msgspec can encode: that becomes the body.

An async handler runs in the event loop and is cancelled when the caller gives up. A plain one runs in a thread of its
own and cannot be interrupted.
"""

log = logging.getLogger(__name__)


async def call_handler(handler: Handler, request: InvocationRequest) -> InvocationResponse:
    """Run the handler and return its answer; what it raises becomes an answer too (contract section 8)."""
    if _is_async(handler):
        return await _call_async(handler, request)
    return await _call_in_thread(handler, request)


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


def failed_response(error: BaseException) -> InvocationResponse:
    """The answer for a handler that raised: status 500, the error's text, a body that gives nothing else away."""
    return InvocationResponse(
        status_code=500,
        content_type=JSON_CONTENT_TYPE,
        body=encoded_body({"error": HANDLER_FAILED}),
        error=str(error) or type(error).__name__,
    )


def encoded_body(value: object) -> msgspec.Raw:
    """Encode a value as raw JSON for `InvocationResponse.body`.

    Raises:
        TypeError: msgspec cannot encode the value.
    """
    return msgspec.Raw(msgspec.json.encode(value))


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 - an object with an async __call__


async def _call_async(handler: Handler, request: InvocationRequest) -> InvocationResponse:
    try:
        answer = handler(request)
        return to_response(await answer if inspect.isawaitable(answer) else answer)
    except Exception as error:
        log.exception("handler failed on invocation %s", request.invocation_id)
        return failed_response(error)


async def _call_in_thread(handler: Handler, request: InvocationRequest) -> InvocationResponse:
    """Run a plain handler in a daemon thread: it never waits for a pool, nor does it hold up the end of the program."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[InvocationResponse] = loop.create_future()

    def settle(response: InvocationResponse) -> None:
        if not done.done():
            done.set_result(response)

    def work() -> None:
        try:
            response = to_response(handler(request))
        except Exception as error:
            log.exception("handler failed on invocation %s", request.invocation_id)
            response = failed_response(error)
        with contextlib.suppress(RuntimeError):  # the loop ended first
            loop.call_soon_threadsafe(settle, response)

    threading.Thread(target=work, name=f"handler-{request.invocation_id}", daemon=True).start()
    return await done
