"""The failed results that an activator gives, and the dead letters of what is no invocation (contract 3.8; Q3, A17)."""

import msgspec
import structlog

from framework.contract import ZERO_TIME
from sidecar.dead_letters import Origin, dead_letter, is_usable_id, recognise, rejected_result, require_short
from sidecar.deliveries import Delivery
from sidecar.messages import (
    FailureClass,
    InvocationMessage,
    InvocationResultMessage,
    MalformedMessageError,
    Source,
    decode,
    utc_now,
)
from sidecar.publishing import Publisher
from sidecar.queue import Queue
from sidecar.subjects import SubjectError, normalise_request_id
from simulator.activator.fates import Fail

log = structlog.get_logger(__name__)


class Answers:
    """Publishes what callers get from the activator itself."""

    def __init__(self, queue: Queue, consumer_name: str) -> None:
        self._stream = queue.stream.name
        self._consumer_name = consumer_name
        self._publisher = Publisher(queue)

    async def fail(self, invocation: InvocationMessage, failure: Fail) -> None:
        """Store a failed result, however long that takes, then reply to the caller who waits."""
        log.warning(
            "invocation failed",
            invocationID=invocation.invocation_id,
            pool=invocation.serverless_request_id,
            failureClass=failure.failure_class,
            reason=failure.reason,
        )
        now = utc_now()
        result = InvocationResultMessage(
            invocation_id=invocation.invocation_id,
            serverless_request_id=invocation.serverless_request_id,
            mode=invocation.mode,
            state=failure.state,
            failure_class=failure.failure_class,
            reply_subject=invocation.reply_subject,
            status_code=failure.status_code,
            error=failure.reason,
            started_at=now if invocation.enqueued_at == ZERO_TIME else invocation.enqueued_at,
            completed_at=now,
        )
        await self._publisher.result(self._publisher.prepared(result))

    async def bury(self, delivery: Delivery, error: str) -> None:
        """Dead-letter what is no invocation; where a caller can be recognised, it gets a failed result (Q3)."""
        log.warning("malformed invocation, dead-lettered", sequence=delivery.sequence, error=error)
        known, now, failure_class = recognise(delivery.data), utc_now(), FailureClass.MALFORMED_MESSAGE
        origin = Origin.of(delivery, source=Source.INVOCATION, stream=self._stream, consumer=self._consumer_name)
        limit = self._publisher.max_message_bytes
        await self._publisher.dead_letter(dead_letter(origin, known, delivery.data, failure_class, error, now, limit))
        if known.answerable:
            await self._publisher.result(self._publisher.prepared(rejected_result(known, failure_class, error, now)))
        await delivery.term(failure_class)


def checked_invocation(data: bytes) -> InvocationMessage:
    """Decode an invocation, its request ID checked: it becomes part of subjects.

    Raises:
        MalformedMessageError: it cannot be dispatched, whatever happens.
    """
    invocation = decode(data, InvocationMessage)
    try:
        pool = normalise_request_id(invocation.serverless_request_id)
    except SubjectError as error:
        raise MalformedMessageError(str(error)) from error
    require_short(mode=invocation.mode, replySubject=invocation.reply_subject)
    if not is_usable_id(invocation.invocation_id):
        raise MalformedMessageError("invocationID must be printable, without spaces, and not too long")
    if pool == invocation.serverless_request_id:
        return invocation
    return msgspec.structs.replace(invocation, serverless_request_id=pool)
