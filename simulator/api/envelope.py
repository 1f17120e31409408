"""The form of every answer, `{"data": …}` or `{"error": {code, message}}`, and the mapping of errors (contract 4.1)."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from sidecar.queue import MessageTooLargeError, QueueError, QueueUnavailableError
from simulator.api.request_body import JSON, BodyTooLargeError, InvalidRequestError
from simulator.errors import (
    AlreadyExistsError,
    ClusterAwayError,
    ConflictError,
    InvalidError,
    KubeError,
    NotFoundError,
)
from simulator.gpuunit import UnitSpecError

INVALID_REQUEST: Final = "invalid_request"
OPERATION_CONFLICT: Final = "operation_conflict"
PAYLOAD_TOO_LARGE: Final = "payload_too_large"
SERVICE_UNAVAILABLE: Final = "service_unavailable"
BACKPRESSURE: Final = "backpressure"
POOL_NOT_FOUND: Final = "pool_not_found"
INVOCATION_NOT_FOUND: Final = "invocation_not_found"
INVOCATION_TIMEOUT: Final = "invocation_timeout"

INVOCATION_ID_HEADER: Final = "Invocation-Id"
"""On an answer that leaves open what becomes of an invocation: the ID under which to look for it."""
RETRY_AFTER_S: Final = 1
"""What every 503 says; a connection that was lost is tried again this often or more."""

CLUSTER_AWAY: Final = (
    "the Kubernetes cluster does not answer, and of a change it is not known whether it was made; "
    "send the same request again later"
)

log = structlog.get_logger(__name__)


class ApiError(Exception):
    """A failure that is answered with this status, code and message."""

    def __init__(
        self, status: HTTPStatus, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.headers["Retry-After"] = str(RETRY_AFTER_S)


def data_response(value: Any, status: int = HTTPStatus.OK) -> web.Response:
    """Answer with `{"data": value}`; `value` is anything that msgspec encodes."""
    return web.Response(status=status, body=msgspec.json.encode({"data": value}), content_type=JSON)


@contextmanager
def failing_as(fallback_code: str) -> Iterator[None]:
    """Let failures of the block carry this code where they would carry the route's."""
    try:
        yield
    except Exception as error:
        raise to_api_error(error, fallback_code) from error


def to_api_error(error: Exception, fallback_code: str) -> ApiError:
    """Say how an error is answered; what the caller cannot act on is a 500 with the route's `fallback_code`."""
    message = str(error)
    match error:
        case ApiError():
            return error
        case InvalidRequestError() | UnitSpecError() | InvalidError():
            return ApiError(HTTPStatus.BAD_REQUEST, INVALID_REQUEST, message)
        case BodyTooLargeError() | MessageTooLargeError():
            return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, PAYLOAD_TOO_LARGE, message)
        case NotFoundError():
            return ApiError(HTTPStatus.NOT_FOUND, fallback_code, message)
        case AlreadyExistsError() | ConflictError():
            return ApiError(HTTPStatus.CONFLICT, OPERATION_CONFLICT, message)
        case QueueUnavailableError():
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_UNAVAILABLE, message)
        case ClusterAwayError():  # its own message has the cluster's address, which is for the log
            return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_UNAVAILABLE, CLUSTER_AWAY)
        case KubeError() | QueueError():
            return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, fallback_code, message)
        case _:
            return ApiError(
                HTTPStatus.INTERNAL_SERVER_ERROR, fallback_code, "internal error; the API's log has the cause"
            )


def error_middleware(fallback_codes: Mapping[tuple[str, str], str]) -> Middleware:
    """Build the middleware that answers for every error; `fallback_codes` is keyed by method and route path."""

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return _framework_answer(error)
        except Exception as error:
            resource = request.match_info.route.resource
            route = (request.method, resource.canonical if resource else "")
            return _error_response(request, error, fallback_codes[route])

    return answer_errors


def _error_response(request: web.Request, error: Exception, fallback_code: str) -> web.Response:
    failure = to_api_error(error, fallback_code)
    if failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        # As text: a renderer that adds local variables to a traceback would log payloads.
        trace = "".join(traceback.format_exception(error))
        log.error("request failed", method=request.method, path=request.path, code=failure.code, exception=trace)
    elif isinstance(error, ClusterAwayError):
        log.warning("request not served", method=request.method, path=request.path, error=str(error))
    body = {"error": {"code": failure.code, "message": failure.message}}
    return web.Response(
        status=failure.status, body=msgspec.json.encode(body), content_type=JSON, headers=failure.headers
    )


def _framework_answer(error: web.HTTPException) -> web.Response:
    """Unknown routes and wrong methods: JSON without an envelope."""
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return web.json_response({"message": error.reason}, status=error.status, headers=allow)
