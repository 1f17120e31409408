"""Reads the dispatches of lost workers back into the invocations that they came from (S13)."""

from collections.abc import Callable

import structlog

from sidecar.messages import (
    FailureClass,
    InvocationMessage,
    MalformedMessageError,
    WorkerDispatchMessage,
    decode,
)
from sidecar.queue import Queue
from sidecar.tracing import NO_HEADERS, trace_headers
from simulator.activator.fates import Fail
from simulator.activator.held import Held
from simulator.jetstream.stored import stored_message
from simulator.ledger.ledger import OpenInvocation

log = structlog.get_logger(__name__)


class _Orphaned:
    """Nothing holds an orphan at the queue: it is there as long as its worker's subject and the ledger say so."""

    def ack_unconfirmed(self) -> None:
        """The ledger will know."""

    async def in_progress(self) -> None:
        """Nobody asks."""

    async def nak(self, delay_s: float = 0) -> None:
        """The next leader finds it."""


async def read_back(queue: Queue, known: OpenInvocation, is_valid: Callable[[], bool]) -> tuple[Held, Fail | None]:
    """Return what is to be held of a dispatch as long as `is_valid` says so, and why it cannot be dispatched again.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    stored = await stored_message(queue, sequence=known.dispatch_sequence)
    invocation = InvocationMessage(invocation_id=known.invocation_id, serverless_request_id=known.pool)
    problem = None
    if stored is None:
        reason = "its worker was lost, and its dispatch is no longer in the stream"
        problem = Fail(502, FailureClass.WORKER_LOST, reason)
    else:
        try:
            invocation = _invocation_of(decode(stored.data, WorkerDispatchMessage))
        except MalformedMessageError as error:
            log.warning("a dispatch that cannot be read", sequence=known.dispatch_sequence, error=str(error))
            problem = Fail(502, FailureClass.MALFORMED_MESSAGE, f"its dispatch cannot be read: {error}")
    trace = trace_headers(invocation.headers, stored.headers if stored else NO_HEADERS)
    size = len(stored.data) if stored else 0
    return Held(invocation, _Orphaned(), known.sequence, size, trace, is_valid=is_valid), problem


def _invocation_of(dispatch: WorkerDispatchMessage) -> InvocationMessage:
    return InvocationMessage(
        invocation_id=dispatch.invocation_id,
        serverless_request_id=dispatch.serverless_request_id,
        mode=dispatch.mode,
        content_type=dispatch.content_type,
        headers=dispatch.headers,
        attributes=dispatch.attributes,
        payload=dispatch.payload,
        timeout_seconds=dispatch.timeout_seconds,
        result_subject=dispatch.result_subject,
        metrics_subject=dispatch.metrics_subject,
        reply_subject=dispatch.reply_subject,
        enqueued_at=dispatch.enqueued_at,
    )
