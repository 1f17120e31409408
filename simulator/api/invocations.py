"""The route that invokes a pool (contract 4.3): through the queue, at once or waiting for the worker's answer."""

import asyncio
import secrets
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from sidecar.messages import SYNC, InvocationMessage, InvocationResultMessage, decode, encode, utc_now
from sidecar.queue import Published, Queue, QueueUnavailableError
from sidecar.tracing import trace_headers
from simulator.api.envelope import (
    INVOCATION_TIMEOUT,
    OPERATION_CONFLICT,
    SERVICE_UNAVAILABLE,
    ApiError,
    data_response,
    failing_as,
)
from simulator.api.invocations_request import parse_invocation
from simulator.api.request_body import BodyTooLargeError, read_body

ASYNC_FALLBACK_CODE: Final = "enqueue_serverless_invocation_failed"
SYNC_FALLBACK_CODE: Final = "invoke_serverless_sync_failed"

PUBLISH_TIMEOUT_S: Final = 5.0

SYNC_GRACE_S: Final = 2.0
"""How much longer the caller waits than the worker may work, so that the worker's own time-out arrives (P1)."""

ENVELOPE_RESERVE_BYTES: Final = 512
"""Room for the message-id header, and for the worker's name and namespace that the dispatch message adds."""

MAX_BODY_BYTES_WITHOUT_QUEUE: Final = 1024 * 1024


class InvocationRoutes:
    """Handler of `/api/v1/serverless/invocations`; without a live queue it answers 503 to valid requests."""

    def __init__(self, queue: Queue | None) -> None:
        self._queue = queue

    async def invoke(self, request: web.Request) -> web.Response:
        """Queue an invocation: 202, or 200 for one queued before; in sync mode 200 with the worker's result."""
        arrived = asyncio.get_running_loop().time()
        limit = self._queue.max_payload if self._queue else MAX_BODY_BYTES_WITHOUT_QUEUE
        body = await read_body(request, limit)
        invocation = parse_invocation(body, default_id=f"inv-{secrets.token_hex(16)}")
        trace = trace_headers(invocation.headers, request.headers)
        if invocation.mode != SYNC:
            return await _enqueue(self._live_queue(), invocation, trace)
        with failing_as(SYNC_FALLBACK_CODE):
            deadline = arrived + invocation.timeout_seconds + SYNC_GRACE_S
            return await _call(self._live_queue(), invocation, trace, deadline)

    def _live_queue(self) -> Queue:
        if self._queue is None:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_UNAVAILABLE, "the API was started without a queue")
        if not self._queue.connected:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                SERVICE_UNAVAILABLE,
                "the queue is not connected; nothing was queued, try again later",
            )
        return self._queue


async def _enqueue(queue: Queue, invocation: InvocationMessage, trace: Mapping[str, str]) -> web.Response:
    message = _addressed(queue, invocation)
    published = await _publish(queue, message, trace, PUBLISH_TIMEOUT_S)
    status = HTTPStatus.OK if published.duplicate else HTTPStatus.ACCEPTED
    return data_response(_receipt(queue, message, published, utc_now()), status)


async def _call(queue: Queue, invocation: InvocationMessage, trace: Mapping[str, str], deadline: float) -> web.Response:
    """Publish and wait for the reply until `deadline` (event-loop time). The job itself is never cancelled."""
    loop = asyncio.get_running_loop()
    invocation_id = invocation.invocation_id
    async with queue.inbox() as inbox:
        message = _addressed(queue, invocation, reply_subject=inbox.subject)
        published = await _publish(queue, message, trace, min(PUBLISH_TIMEOUT_S, max(deadline - loop.time(), 0)))
        if published.duplicate:
            raise ApiError(
                HTTPStatus.CONFLICT,
                OPERATION_CONFLICT,
                f"invocation {invocation_id} was queued before and replies to its first caller; use a new invocationID",
            )
        try:
            reply = await inbox.receive(max(deadline - loop.time(), 0))
        except TimeoutError as error:
            raise ApiError(
                HTTPStatus.GATEWAY_TIMEOUT,
                INVOCATION_TIMEOUT,
                f"no result of invocation {invocation_id} within {invocation.timeout_seconds} s "
                f"and {SYNC_GRACE_S:g} s of grace; it may still finish",
            ) from error
    return data_response(result_view(reply))


def _addressed(queue: Queue, invocation: InvocationMessage, reply_subject: str = "") -> InvocationMessage:
    """The invocation with what only the publisher knows (contract 3.4; P6)."""
    return msgspec.structs.replace(
        invocation,
        result_subject=queue.subjects.result(invocation.serverless_request_id),
        metrics_subject=queue.subjects.metrics(invocation.serverless_request_id),
        reply_subject=reply_subject,
        enqueued_at=utc_now(),
    )


async def _publish(queue: Queue, message: InvocationMessage, trace: Mapping[str, str], timeout_s: float) -> Published:
    data = encode(message)
    if len(data) + ENVELOPE_RESERVE_BYTES > queue.max_payload:
        raise BodyTooLargeError(
            f"invocation {message.invocation_id} takes {len(data)} bytes with its envelope; "
            f"the queue takes at most {queue.max_payload - ENVELOPE_RESERVE_BYTES}"
        )
    subject = queue.subjects.invoke(message.serverless_request_id)
    try:
        return await queue.publish(subject, data, message_id=message.invocation_id, headers=trace, timeout_s=timeout_s)
    except QueueUnavailableError as error:
        raise ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            SERVICE_UNAVAILABLE,
            f"the queue did not confirm invocation {message.invocation_id}; it may have been queued: "
            "the same invocationID again is queued at most once",
        ) from error


def _receipt(queue: Queue, message: InvocationMessage, published: Published, accepted_at: datetime) -> dict[str, Any]:
    return {
        "invocationID": message.invocation_id,
        "serverlessRequestID": message.serverless_request_id,
        "mode": message.mode,
        "subject": queue.subjects.invoke(message.serverless_request_id),
        "resultSubject": message.result_subject,
        "metricsSubject": message.metrics_subject,
        "stream": published.stream,
        "sequence": published.sequence,
        "duplicate": published.duplicate,
        "acceptedAt": accepted_at,
    }


def result_view(reply: bytes) -> dict[str, msgspec.Raw]:
    """A result message as the caller sees it: without `version` and `replySubject`, the body's bytes untouched.

    Raises:
        MalformedMessageError: the worker's reply is no result message.
    """
    decode(reply, InvocationResultMessage)
    fields = msgspec.json.decode(reply, type=dict[str, msgspec.Raw])
    return {name: value for name, value in fields.items() if name not in ("version", "replySubject")}
