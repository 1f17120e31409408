"""Copies results from the stream into the bucket, and reads them there (contract 10, P5).

Several processes may run it: they share the durable consumer, and of two results of one invocation the first stays.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import structlog

from sidecar.deliveries import ConsumerSettings, Delivery
from sidecar.messages import InvocationResultMessage, MalformedMessageError, decode
from sidecar.queue import MessageTooLargeError, Queue, QueueError, WrongSequenceError, published
from sidecar.stored import EXPECTED_HEADER
from sidecar.subjects import RESULT_STORE_CONSUMER, Subjects
from simulator.jetstream.bucket import INVOCATIONS, Bucket, RevisionConflictError, stream_name, subject
from simulator.jetstream.stored import last_sequence, stored_message
from simulator.results.keys import result_key

ACK_WAIT_S: Final = 30.0
FETCH_BATCH: Final = 64
RECOVERY_S: Final = 0.5
"""Pause after a failed fetch, before the consumer is bound again."""
FIRST_WINDOW: Final = 256
"""How many of the newest results of all pools are looked through first for those of one pool."""
READ_BATCH: Final = 16
"""How many results are held whole at once where many are read; each may have 1 MB."""
READ_WAIT_S: Final = 2.0

_NO_VALUE_YET: Final = {EXPECTED_HEADER: "0"}
_View = TypeVar("_View")

log = structlog.get_logger(__name__)


def store_consumer(subjects: Subjects) -> ConsumerSettings:
    """The result store's consumer: the results of all pools (contract 2.5)."""
    return ConsumerSettings(RESULT_STORE_CONSUMER, subjects.result("*"), ACK_WAIT_S)


class ResultStore:
    """Keeps the bucket; the bucket and the consumer must exist."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._bucket = Bucket(queue, INVOCATIONS)

    async def run(self) -> None:
        """Copy results until cancelled."""
        while True:
            try:
                await self._consume()
            except QueueError as error:
                log.warning("cannot read results, trying again", error=str(error))
                await asyncio.sleep(RECOVERY_S)

    async def _consume(self) -> None:
        consumer = await self._queue.consumer(store_consumer(self._queue.subjects))
        try:
            while True:
                await self._store(await consumer.fetch(FETCH_BATCH))
        finally:
            await consumer.close()

    async def _store(self, batch: Sequence[Delivery]) -> None:
        """Store results, all at once; what fails comes again after the ack wait."""
        copying = _Copying(len(batch))
        for delivery in batch:
            answer = _Answer(copying, delivery)
            try:
                key = subject(INVOCATIONS, _key_of(delivery))
                self._queue.start_publish(key, delivery.data, "", _NO_VALUE_YET, answer)
            except (MalformedMessageError, QueueError) as error:
                answer.set_exception(error)
        for delivery, problem in await copying.failures():
            await self._failed(delivery, problem)

    async def _failed(self, delivery: Delivery, error: Exception) -> None:
        match error:
            case MalformedMessageError():
                log.warning("not a result, left out", sequence=delivery.sequence, error=str(error))
                await self._left_out(delivery, "malformed_message")
            case MessageTooLargeError():
                log.error("result cannot be stored", sequence=delivery.sequence, error=str(error))
                await self._left_out(delivery, "too_large")
            case WrongSequenceError():
                await self._replace(delivery)
            case _:
                log.warning("result not stored yet", sequence=delivery.sequence, error=str(error))

    async def _replace(self, delivery: Delivery) -> None:
        """Store a result whose key was used before; the value that is there stays, unless it was deleted."""
        key = _key_of(delivery)
        try:
            with suppress(RevisionConflictError):
                await self._bucket.create(key, delivery.data)
            delivery.ack_unconfirmed()
        except QueueError as error:
            log.warning("result not stored yet", sequence=delivery.sequence, error=str(error))

    async def _left_out(self, delivery: Delivery, reason: str) -> None:
        with suppress(QueueError):  # it comes again, and is left out again
            await delivery.term(reason)


class _Copying:
    """A batch of results on its way into the bucket."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._failures: list[tuple[Delivery, Exception]] = []
        self._done = asyncio.Event()

    async def failures(self) -> list[tuple[Delivery, Exception]]:
        """Wait until it is known what became of each; return those that were not stored, and why."""
        if self._left:
            await self._done.wait()
        return self._failures

    def concluded(self, delivery: Delivery, error: Exception | None) -> None:
        """One more is stored, or was not for this reason."""
        if error is not None:
            self._failures.append((delivery, error))
        self._left -= 1
        if not self._left:
            self._done.set()


class _Answer:
    """Hears what becomes of one result, in the turn of the loop in which the answer is read: no task waits for it."""

    __slots__ = ("_copying", "_delivery")

    def __init__(self, copying: _Copying, delivery: Delivery) -> None:
        self._copying = copying
        self._delivery = delivery

    def done(self) -> bool:
        return False

    def set_result(self, body: bytes, /) -> None:
        try:
            published(body)
            self._delivery.ack_unconfirmed()
        except QueueError as error:
            self.set_exception(error)
        else:
            self._copying.concluded(self._delivery, None)

    def set_exception(self, error: Exception, /) -> None:
        self._copying.concluded(self._delivery, error)


def _key_of(delivery: Delivery) -> str:
    """The key of the result that was delivered. Raises MalformedMessageError."""
    result = decode(delivery.data, InvocationResultMessage)
    return result_key(delivery.subject.rpartition(".")[2], result.invocation_id)


async def stored_result(queue: Queue, invocation_id: str) -> bytes | None:
    """The stored result message of an invocation of any pool; None when there is none.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    entry = await Bucket(queue, INVOCATIONS).get(result_key("*", invocation_id))
    return entry.value if entry else None


async def recent_results(queue: Queue, pool: str, limit: int, view: Callable[[bytes], _View | None]) -> list[_View]:
    """What `view` makes of a pool's newest result messages, newest first; where it is None, the message is left out.

    Only views are kept: results may be large, and many.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    stream = stream_name(INVOCATIONS)
    end, window = await last_sequence(queue, stream), max(FIRST_WINDOW, 2 * limit)
    found: list[_View] = []
    while end and len(found) < limit:
        start = max(end - window + 1, 1)
        found += await _views_from(queue, pool, start, end, limit - len(found), view)
        end, window = start - 1, window * 8
    return found


async def _views_from(
    queue: Queue, pool: str, start: int, last: int, limit: int, view: Callable[[bytes], _View | None]
) -> list[_View]:
    """The newest of a pool's results in a range of the bucket's stream."""
    stream = stream_name(INVOCATIONS)
    pattern = subject(INVOCATIONS, f"{pool}.*")
    newest = await _newest_of(queue, pattern, stream)
    if newest < start:
        return []
    reader = await queue.reader(pattern, start, stream=stream)
    found: list[_View] = []
    try:
        at = 0
        while at < min(newest, last):
            batch = await reader.fetch(READ_BATCH, READ_WAIT_S)
            if not batch:
                break
            views = (view(each.data) for each in batch if each.data and each.sequence <= last)
            found += [each for each in views if each is not None]
            del found[:-limit]
            at = batch[-1].sequence
    finally:
        await reader.close()
    return found[::-1]


async def _newest_of(queue: Queue, pattern: str, stream: str) -> int:
    message = await stored_message(queue, last_by_subject=pattern, stream=stream)
    return message.sequence if message else 0
