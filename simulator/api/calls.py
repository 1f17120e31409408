"""Queueing invocations (contract 4.3), and waiting for the replies to the sync ones."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from http import HTTPStatus
from typing import Final

import msgspec

from sidecar.messages import InvocationMessage, encode, utc_now
from sidecar.queue import Published, Queue, QueueError, QueueUnavailableError
from simulator.api.admission import Admission
from simulator.api.envelope import (
    INVOCATION_ID_HEADER,
    INVOCATION_TIMEOUT,
    OPERATION_CONFLICT,
    SERVICE_UNAVAILABLE,
    ApiError,
)
from simulator.api.lookup import Lookup
from simulator.api.replies import Replies
from simulator.api.request_body import BodyTooLargeError
from simulator.api.withdrawals import Withdrawals
from simulator.jetstream.stored import stored_message
from simulator.ledger.follower import LedgerFollower

PUBLISH_TIMEOUT_S: Final = 5.0

SYNC_GRACE_S: Final = 2.0
"""How much longer the caller waits than the worker may work, so that the worker's own time-out arrives (P1)."""

LATE_REPLY_S: Final = 0.5
"""How long after its result is stored a reply may still come; then the stored result is read."""

NO_REPLY: Final = b""

ENVELOPE_RESERVE_BYTES: Final = 512
"""Room for the message-id header, and for the worker's name and namespace that the dispatch message adds."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an async invocation is answered with: it is stored in the queue."""

    invocation_id: str = msgspec.field(name="invocationID")
    serverless_request_id: str = msgspec.field(name="serverlessRequestID")
    mode: str
    subject: str
    result_subject: str
    metrics_subject: str
    stream: str
    sequence: int
    duplicate: bool
    accepted_at: datetime


class Calls:
    """Publishes invocations through one queue connection, which must be up."""

    def __init__(
        self,
        queue: Queue,
        follower: LedgerFollower,
        lookup: Lookup,
        withdrawals: Withdrawals,
        admission: Admission,
    ) -> None:
        self._queue = queue
        self._ledger = follower.ledger
        self._lookup = lookup
        self._replies = Replies(queue)
        self._awaited: dict[str, asyncio.Future[bytes]] = {}
        self._withdrawals = withdrawals
        self._admission = admission
        follower.on_change.append(self._changed)

    async def enqueue(self, invocation: InvocationMessage, trace: Mapping[str, str]) -> Receipt:
        """Store an invocation, once: the receipt says whether it was there before.

        Raises:
            ApiError, QueueError, BodyTooLargeError: it was not stored, or is not known to be.
        """
        await self._admission.check(invocation.serverless_request_id)
        message = self._addressed(invocation)
        published = await self._publish(message, trace, PUBLISH_TIMEOUT_S)
        if published.duplicate:
            await self._check_pool(message, published)
        return Receipt(
            invocation_id=message.invocation_id,
            serverless_request_id=message.serverless_request_id,
            mode=message.mode,
            subject=self._queue.subjects.invoke(message.serverless_request_id),
            result_subject=message.result_subject,
            metrics_subject=message.metrics_subject,
            stream=published.stream,
            sequence=published.sequence,
            duplicate=published.duplicate,
            accepted_at=utc_now(),
        )

    async def call(
        self, invocation: InvocationMessage, trace: Mapping[str, str], deadline: float, *, fresh_id: bool
    ) -> bytes:
        """Store an invocation and return its result message, of an ID that was used before the stored one (P2).

        It waits until `deadline` (event-loop time). `fresh_id` says that the ID cannot have been used before.

        Raises:
            ApiError: 504, no result in time; 409, the ID was used before and has no result, or in another pool.
            ApiError, QueueError, BodyTooLargeError: as for `enqueue`.
        """
        await self._admission.check(invocation.serverless_request_id)
        await self._replies.open()
        with self._replies.expected() as reply:
            message = self._addressed(invocation, reply.subject)
            budget_s = max(deadline - asyncio.get_running_loop().time(), 0)
            # While it is not known whether another caller queued this ID, it is not ours to take back.
            with self._withdrawn(message) if fresh_id else nullcontext():
                published = await self._publish(message, trace, min(PUBLISH_TIMEOUT_S, budget_s))
            if published.duplicate:
                return await self._repeated(message, published)
            with self._withdrawn(message):
                return await self._result(message, reply.body, deadline)

    def _withdrawn(self, message: InvocationMessage) -> AbstractContextManager[None]:
        return self._withdrawals.when_caller_leaves(message.serverless_request_id, message.invocation_id)

    async def _result(self, message: InvocationMessage, reply: asyncio.Future[bytes], deadline: float) -> bytes:
        self._awaited[message.invocation_id] = reply
        try:
            async with asyncio.timeout_at(deadline):
                body = await reply
        except TimeoutError:
            body = NO_REPLY
        finally:
            self._awaited.pop(message.invocation_id, None)
        if body:
            return body
        with suppress(ApiError, QueueError):
            standing = await self._lookup.find(message.invocation_id)
            if standing is not None and standing.under_way is None:
                return standing.result
        raise ApiError(
            HTTPStatus.GATEWAY_TIMEOUT,
            INVOCATION_TIMEOUT,
            f"no result of invocation {message.invocation_id} within {message.timeout_seconds} s "
            f"and {SYNC_GRACE_S:g} s of grace; it may still finish",
            headers={INVOCATION_ID_HEADER: message.invocation_id},
        )

    def _changed(self, invocation_id: str) -> None:
        """The ledger knows more of an invocation. One that has ended and is still waited for has lost its reply.

        So it is when the API's own connection was lost at that moment, or the worker died between result and reply.
        """
        reply = self._awaited.get(invocation_id)
        if reply is not None and self._ledger.ended(invocation_id) is not None:
            asyncio.get_running_loop().call_later(LATE_REPLY_S, _give_up, reply)

    async def _repeated(self, message: InvocationMessage, published: Published) -> bytes:
        """The result of an invocation that was queued before; it replies to its first caller only."""
        await self._check_pool(message, published)
        standing = await self._lookup.find(message.invocation_id)
        if standing is not None and standing.under_way is None:
            return standing.result
        raise ApiError(
            HTTPStatus.CONFLICT,
            OPERATION_CONFLICT,
            f"invocation {message.invocation_id} was queued before, has no result yet, and replies to its first "
            "caller: read its state, or use a new invocationID",
        )

    async def _check_pool(self, message: InvocationMessage, published: Published) -> None:
        """Refuse an ID that was used in another pool: its result is not this caller's (P3)."""
        first = await stored_message(self._queue, sequence=published.sequence)
        if first is not None and first.subject != self._queue.subjects.invoke(message.serverless_request_id):
            raise ApiError(
                HTTPStatus.CONFLICT,
                OPERATION_CONFLICT,
                f"invocation {message.invocation_id} was queued before, in another pool; use a new invocationID",
            )

    def _addressed(self, invocation: InvocationMessage, reply_subject: str = "") -> InvocationMessage:
        """The invocation with what only the publisher knows (contract 3.4; P6)."""
        subjects = self._queue.subjects
        return msgspec.structs.replace(
            invocation,
            result_subject=subjects.result(invocation.serverless_request_id),
            metrics_subject=subjects.metrics(invocation.serverless_request_id),
            reply_subject=reply_subject,
            enqueued_at=utc_now(),
        )

    async def _publish(self, message: InvocationMessage, trace: Mapping[str, str], timeout_s: float) -> Published:
        data, most = encode(message), self._queue.max_payload - ENVELOPE_RESERVE_BYTES
        if len(data) > most:
            raise BodyTooLargeError(
                f"invocation {message.invocation_id} takes {len(data)} bytes with its envelope; "
                f"the queue takes at most {most}"
            )
        subject = self._queue.subjects.invoke(message.serverless_request_id)
        try:
            return await self._queue.publish(
                subject, data, message_id=message.invocation_id, headers=trace, timeout_s=timeout_s
            )
        except QueueUnavailableError as error:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                SERVICE_UNAVAILABLE,
                f"the queue did not confirm invocation {message.invocation_id} ({error}); it may have been queued: "
                "the same invocationID again is queued at most once",
                headers={INVOCATION_ID_HEADER: message.invocation_id},
            ) from error


def _give_up(reply: asyncio.Future[bytes]) -> None:
    if not reply.done():
        reply.set_result(NO_REPLY)
