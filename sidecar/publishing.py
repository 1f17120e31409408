"""What must reach the platform: results and their replies, dead letters, the registration (contract 7.3)."""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import Final

import structlog

from sidecar.backoff import jittered
from sidecar.events import event_id
from sidecar.messages import DeadLetterMessage, InvocationResultMessage, WorkerMetricMessage, encode
from sidecar.outcome import without_body
from sidecar.ports import QueuePort
from sidecar.queue_errors import MessageTooLargeError, QueueError
from sidecar.results import StoredResult
from sidecar.stored import Published
from sidecar.subjects import dead_letter_message_id, is_reply_subject, result_message_id
from sidecar.tracing import NO_HEADERS

FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 5.0
DEAD_LETTER_ATTEMPTS: Final = 8
"""About ten seconds; the original stays in the stream anyway."""
HEADER_BYTES: Final = 1024
"""Room for the headers, which count against the server's limit: a message id and a trace context of any length."""

log = structlog.get_logger(__name__)


class Publisher:
    """Publishes results and dead letters."""

    def __init__(self, queue: QueuePort) -> None:
        self._queue = queue

    def prepared(self, result: InvocationResultMessage) -> StoredResult:
        """Encode a result for publication, as `fitted` does."""
        return self.fitted(result)[1]

    def fitted(self, result: InvocationResultMessage) -> tuple[InvocationResultMessage, StoredResult]:
        """The result and its encoding; one that no message can carry becomes a failure that says so (S9)."""
        data = encode(result)
        limit = self.max_message_bytes
        if len(data) > limit:
            result = without_body(result, f"the result has {len(data)} bytes, a message may have {limit}")
            data = encode(result)
        stored = StoredResult(result.invocation_id, result.serverless_request_id, result.reply_subject, data)
        return result, stored

    async def result(self, stored: StoredResult, trace: Mapping[str, str] = NO_HEADERS) -> None:
        """Store a result durably, however long that takes, then reply to a waiting caller (S9, S10).

        `trace` goes into the NATS headers of both (S30).

        Raises:
            MessageTooLargeError: for a result that `fitted` did not see.
        """
        subject = self._queue.subjects.result(stored.request_id)
        published = await self._store(subject, stored.data, result_message_id(stored.invocation_id), trace)
        if published.duplicate:
            log.info("result was stored before", invocationID=stored.invocation_id, sequence=published.sequence)
        await self._reply(stored, trace)

    async def _reply(self, stored: StoredResult, trace: Mapping[str, str]) -> None:
        if not stored.reply_subject:
            return
        if not is_reply_subject(stored.reply_subject, self._queue.subjects.prefix):
            log.warning("reply subject refused", invocationID=stored.invocation_id)
            return
        try:
            await self._queue.send(stored.reply_subject, stored.data, trace)
        except QueueError as error:
            log.warning("reply not sent", invocationID=stored.invocation_id, error=str(error))

    @property
    def max_message_bytes(self) -> int:
        """How large a message's body may be."""
        return self._queue.max_payload - HEADER_BYTES

    async def dead_letter(self, letter: DeadLetterMessage) -> bool:
        """Store a dead letter; False when that failed for good."""
        subject = self._queue.subjects.dead_letter(letter.source, letter.serverless_request_id)
        message_id = dead_letter_message_id(
            letter.source, letter.invocation_id, letter.stream_sequence, letter.failed_at
        )
        data = encode(letter)
        for wait_s in islice(jittered(FIRST_RETRY_S, LONGEST_RETRY_S), DEAD_LETTER_ATTEMPTS):
            try:
                await self._queue.publish(subject, data, message_id=message_id)
            except QueueError as error:
                log.warning("dead letter not stored yet", sequence=letter.stream_sequence, error=str(error))
                await asyncio.sleep(wait_s)
            else:
                return True
        return False

    async def event_stored(self, event: WorkerMetricMessage) -> None:
        """Store a metric event, however long that takes."""
        await self._store(self._queue.subjects.metrics(event.serverless_request_id), encode(event), event_id(event))

    async def _store(
        self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] = NO_HEADERS
    ) -> Published:
        """Publish until it is stored; the message id makes repeating harmless."""
        waits = jittered(FIRST_RETRY_S, LONGEST_RETRY_S)
        while True:
            try:
                return await self._queue.publish(subject, data, message_id=message_id, headers=headers)
            except MessageTooLargeError:
                raise  # it will not become smaller
            except QueueError as error:
                log.warning("not stored yet", messageID=message_id, error=str(error))
                await asyncio.sleep(next(waits))
