"""The routes of invocations (contract 4.3; P4, P5): call a pool, look what became of a call, take it back."""

import asyncio
import secrets
from http import HTTPStatus
from typing import Final

from aiohttp import web

from sidecar.messages import SYNC
from sidecar.queue import Queue
from sidecar.tracing import trace_headers
from simulator.api.admission import Admission
from simulator.api.calls import SYNC_GRACE_S, Calls
from simulator.api.envelope import (
    INVOCATION_NOT_FOUND,
    OPERATION_CONFLICT,
    SERVICE_UNAVAILABLE,
    ApiError,
    data_response,
    failing_as,
)
from simulator.api.errands import Errands
from simulator.api.invocations_request import (
    MIRROR_HEADER,
    parse_invocation,
    parse_limit,
    parse_mirror,
    parse_pool,
    parse_wait,
)
from simulator.api.lookup import Lookup, Standing
from simulator.api.request_body import read_body
from simulator.api.settings import ApiSettings
from simulator.api.views import mirrored_status, result_view
from simulator.api.withdrawals import Withdrawals
from simulator.kube.informer import Informer
from simulator.ledger.follower import LedgerFollower

ASYNC_FALLBACK_CODE: Final = "enqueue_serverless_invocation_failed"
SYNC_FALLBACK_CODE: Final = "invoke_serverless_sync_failed"

MAX_BODY_BYTES_WITHOUT_QUEUE: Final = 1024 * 1024


class Invocations:
    """What one API process does with invocations, through one queue connection."""

    def __init__(
        self,
        queue: Queue,
        follower: LedgerFollower,
        errands: Errands,
        settings: ApiSettings,
        units: Informer | None = None,
    ) -> None:
        self.queue = queue
        self.lookup = Lookup(queue, follower)
        self.withdrawals = Withdrawals(queue, errands)
        admission = Admission(follower.ledger, settings, units)
        self.calls = Calls(queue, follower, self.lookup, self.withdrawals, admission)


class InvocationRoutes:
    """Handlers of `/api/v1/serverless/invocations`; without a live queue they answer 503 to valid requests."""

    def __init__(self, invocations: Invocations | None) -> None:
        self._invocations = invocations

    async def invoke(self, request: web.Request) -> web.Response:
        """Queue an invocation: 202, or 200 for one queued before; in sync mode 200 with the worker's result."""
        limit = self._invocations.queue.max_payload if self._invocations else MAX_BODY_BYTES_WITHOUT_QUEUE
        body = await read_body(request, limit)
        arrived = asyncio.get_running_loop().time()  # not earlier: a slow upload is no part of the wait
        fresh_id = f"inv-{secrets.token_hex(16)}"
        invocation = parse_invocation(body, default_id=fresh_id)
        mirror = parse_mirror(request.headers.get(MIRROR_HEADER))
        trace = trace_headers(invocation.headers, request.headers)
        if invocation.mode != SYNC:
            receipt = await self._live().calls.enqueue(invocation, trace)
            return data_response(receipt, HTTPStatus.OK if receipt.duplicate else HTTPStatus.ACCEPTED)
        with failing_as(SYNC_FALLBACK_CODE):
            deadline = arrived + invocation.timeout_seconds + SYNC_GRACE_S
            is_fresh = invocation.invocation_id == fresh_id
            result = await self._live().calls.call(invocation, trace, deadline, fresh_id=is_fresh)
            return data_response(result_view(result), mirrored_status(result) if mirror else HTTPStatus.OK)

    async def get(self, request: web.Request) -> web.Response:
        """One invocation: where it is, or its result. With `wait` the end is awaited for that long."""
        wait_s = parse_wait(request.query.get("wait"))
        invocation_id = request.match_info["id"]
        return data_response(_known(await self._live().lookup.wait(invocation_id, wait_s), invocation_id).view())

    async def list(self, request: web.Request) -> web.Response:
        """A pool's recent invocations, results without their bodies."""
        pool = parse_pool(request.query.get("serverlessRequestID"))
        limit = parse_limit(request.query.get("limit"))
        return data_response(await self._live().lookup.recent(pool, limit))

    async def cancel(self, request: web.Request) -> web.Response:
        """Take an invocation back: 202 with its state as it was, 409 when it ended already."""
        invocation_id = request.match_info["id"]
        invocations = self._live()
        standing = _known(await invocations.lookup.find(invocation_id), invocation_id)
        if standing.under_way is None:
            raise ApiError(
                HTTPStatus.CONFLICT, OPERATION_CONFLICT, f"invocation {invocation_id} has ended; read its result"
            )
        await invocations.withdrawals.send(standing.under_way.pool, invocation_id)
        return data_response(standing.view(), HTTPStatus.ACCEPTED)

    def _live(self) -> Invocations:
        if self._invocations is None:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_UNAVAILABLE, "the API was started without a queue")
        if not self._invocations.queue.connected:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                SERVICE_UNAVAILABLE,
                "the queue is not connected; nothing was queued, try again later",
            )
        return self._invocations


def _known(standing: Standing | None, invocation_id: str) -> Standing:
    if standing is None:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            INVOCATION_NOT_FOUND,
            f"no invocation {invocation_id!r} is known: it was never queued, or so long ago that it is forgotten",
        )
    return standing
