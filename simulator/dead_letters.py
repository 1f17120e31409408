"""The dead letters of the stream: found and read, queued again, dropped. The rules are in `dead_letter_rules`."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

import msgspec

from framework.contract import NO_JSON
from sidecar.messages import InvocationMessage, encode, utc_now
from sidecar.queue import MessageTooLargeError, Published, Queue, QueueUnavailableError
from sidecar.subjects import Subjects, dispatch_token
from sidecar.tracing import trace_headers
from simulator.dead_letter_rules import (
    DeadLetter,
    NotRetryableError,
    Original,
    copied_original,
    is_same_work,
    names_original,
    read_letter,
    retried,
)
from simulator.errors import SimulatorError
from simulator.jetstream.stored import delete_message, stored_message

FETCH_BATCH: Final = 256
LISTING_TIMEOUT_S: Final = 15.0


class DeadLetterNotFoundError(SimulatorError):
    """The stream has no message of this sequence, or it is no dead letter."""


@dataclass(frozen=True, slots=True)
class Retried:
    """The invocation that a dead letter became, and where it was stored."""

    letter: DeadLetter
    invocation: InvocationMessage
    subject: str
    published: Published


class DeadLetters:
    """The dead letters of one stream."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    @property
    def subjects(self) -> Subjects:
        """Builder of the stream's subjects."""
        return self._queue.subjects

    async def newest(self, limit: int, *, source: str = "", pool: str = "") -> list[DeadLetter]:
        """The newest `limit` dead letters, the newest first, without their payloads; of one source or pool when named.

        Raises:
            QueueError: the queue refuses, or did not tell within `LISTING_TIMEOUT_S` seconds.
        """
        prefix = self._queue.subjects.prefix
        subject = f"{prefix}.dlq.{source or '*'}.{dispatch_token(pool) if pool else '*'}"
        letters = []
        try:
            async with asyncio.timeout(LISTING_TIMEOUT_S):
                for sequence in reversed(await self._sequences(subject, limit)):
                    letter = await self._find(sequence)
                    if letter is not None:  # else it was dropped meanwhile
                        letters.append(_without_payload(letter))
        except TimeoutError as error:
            raise QueueUnavailableError(f"dead letters not read within {LISTING_TIMEOUT_S:g} s") from error
        return letters

    async def _sequences(self, subject: str, limit: int) -> list[int]:
        """The last `limit` sequences of a subject with wildcards, found without reading the bodies."""
        last = await self._last(subject)
        if not last:
            return []
        found: deque[int] = deque(maxlen=limit)
        position = count = 0
        reader = await self._queue.reader(subject, 1, headers_only=True)
        try:
            while position < last:
                batch = await reader.fetch(FETCH_BATCH)
                count += len(batch)
                if not batch:
                    last = await self._last(subject)  # what was the last may have been dropped
                elif batch[-1].consumer_sequence != count:
                    raise QueueUnavailableError("a part of the dead letters was lost on its way; try again")
                else:
                    found.extend(delivery.sequence for delivery in batch)
                    position = found[-1]
        finally:
            await reader.close()
        return list(found)

    async def _last(self, subject: str) -> int:
        stored = await stored_message(self._queue, last_by_subject=subject)
        return stored.sequence if stored else 0

    async def _find(self, sequence: int) -> DeadLetter | None:
        stored = await stored_message(self._queue, sequence=sequence)
        return read_letter(stored, self._queue.subjects) if stored else None

    async def get(self, sequence: int) -> DeadLetter:
        """One dead letter.

        Raises:
            DeadLetterNotFoundError: there is none of this sequence.
            QueueError: the queue refuses or does not answer.
        """
        letter = await self._find(sequence)
        if letter is None:
            raise DeadLetterNotFoundError(f"message {sequence} is no dead letter, or there is no such message")
        return letter

    async def original(self, letter: DeadLetter) -> Original:
        """The message that was given up: from the stream as long as that has it, else the dead letter's copy.

        Raises:
            QueueError: the queue refuses or does not answer.
        """
        if names_original(letter, self._queue.stream.name):
            stored = await stored_message(self._queue, sequence=letter.message.stream_sequence)
            if stored is not None and stored.subject == letter.message.original_subject:
                return Original(stored.data, len(stored.data), stored.headers)
        return copied_original(letter.message)

    async def retry(self, sequence: int) -> Retried:
        """Queue the work of a dead letter again, then delete it; a repeated retry is queued once.

        Raises:
            DeadLetterNotFoundError: there is none of this sequence.
            NotRetryableError: nothing was queued, the dead letter is still there.
            QueueError: the queue refuses or does not answer.
        """
        letter = await self.get(sequence)
        original = await self.original(letter)
        invocation = retried(letter, original, self.subjects, utc_now())
        subject, new_id = self.subjects.invoke(invocation.serverless_request_id), invocation.invocation_id
        trace = trace_headers(invocation.headers, original.headers)
        try:
            published = await self._queue.publish(subject, encode(invocation), message_id=new_id, headers=trace)
        except MessageTooLargeError as error:
            raise NotRetryableError("with its new ID it is larger than the queue takes") from error
        if published.duplicate:
            first = await stored_message(self._queue, sequence=published.sequence)
            if first is not None and not is_same_work(first.data, invocation):
                raise NotRetryableError(f"another invocation has the ID {new_id}; invoke the pool anew")
        try:
            await delete_message(self._queue, sequence)
        except QueueUnavailableError as error:
            raise QueueUnavailableError(
                f"queued again as {new_id}, but the dead letter may still be there ({error}); "
                "the same retry again does no harm"
            ) from error
        return Retried(letter, invocation, subject, published)

    async def drop(self, sequence: int) -> None:
        """Delete a dead letter; never any other message.

        Raises:
            DeadLetterNotFoundError: there is none of this sequence.
            QueueError: the queue refuses or does not answer.
        """
        await self.get(sequence)
        if not await delete_message(self._queue, sequence):
            raise DeadLetterNotFoundError(f"dead letter {sequence} was dropped meanwhile")


def _without_payload(letter: DeadLetter) -> DeadLetter:
    """A payload may have a megabyte, and a list many letters."""
    message = msgspec.structs.replace(letter.message, payload=NO_JSON)
    return DeadLetter(letter.sequence, letter.source, letter.pool, message)
