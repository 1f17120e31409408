"""Key-value buckets of JetStream: a stream whose subjects are keys, each with its last value (as other clients see it).

Values are bytes. A revision is the sequence at which a value was stored; with it a change is made only if nobody else
made one meanwhile.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sidecar.queue import Queue, QueueError, TtlRefusedError, WrongSequenceError
from sidecar.stored import EXPECTED_HEADER, TTL_HEADER
from simulator.jetstream.requests import NotThereError, ask
from simulator.jetstream.stored import stored_message

INVOCATIONS: Final = "RUNTIME_INVOCATIONS"
"""The results of all invocations: key `<pool>.<invocation>`."""
ACTIVATOR: Final = "RUNTIME_ACTIVATOR"
"""What activators share: their leader, what is known of workers, where to begin reading the stream."""

OPERATION_HEADER: Final = "KV-Operation"
_DELETED: Final = frozenset({"DEL", "PURGE"})


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """`max_age_s` 0: kept for ever. `max_bytes` -1: no limit; else the oldest go first."""

    name: str
    max_age_s: float = 0
    max_bytes: int = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value."""

    key: str
    value: bytes
    revision: int


class RevisionConflictError(QueueError):
    """Somebody else changed the key first."""


class _Done(msgspec.Struct, frozen=True):
    """An answer of which nothing but its success matters."""


def stream_name(bucket: str) -> str:
    """The stream behind a bucket."""
    return f"KV_{bucket}"


def subject(bucket: str, key: str) -> str:
    """The subject of a key, or of all keys that match when it has wildcards."""
    return f"$KV.{bucket}.{key}"


async def ensure_bucket(queue: Queue, settings: BucketSettings) -> None:
    """Create a bucket when it is missing; an existing one is not altered. The queue must be the streams' owner's.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    name = stream_name(settings.name)
    try:
        await ask(queue, f"STREAM.INFO.{name}", None, _Done)
    except NotThereError:
        await ask(queue, f"STREAM.CREATE.{name}", _config(queue, settings), _Done)


def _config(queue: Queue, settings: BucketSettings) -> dict[str, Any]:
    return {
        "name": stream_name(settings.name),
        "subjects": [subject(settings.name, ">")],
        "max_msgs_per_subject": 1,
        "max_age": int(settings.max_age_s * 1e9),
        "max_bytes": settings.max_bytes,
        "storage": "file",
        "num_replicas": max(queue.stream.replicas, 1),
        "discard": "old" if settings.max_bytes > 0 else "new",
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": True,
        "allow_msg_ttl": True,
    }


class Bucket:
    """One bucket, which must exist."""

    def __init__(self, queue: Queue, name: str) -> None:
        self._queue = queue
        self.name = name

    async def get(self, key: str) -> Entry | None:
        """Return a key's value, or that of one of the keys that match; None when there is none.

        Raises:
            QueueError: the server refuses or does not answer.
        """
        found = await stored_message(
            self._queue, last_by_subject=subject(self.name, key), stream=stream_name(self.name)
        )
        if found is None or found.headers.get(OPERATION_HEADER) in _DELETED:
            return None
        return Entry(found.subject.removeprefix(subject(self.name, "")), found.data, found.sequence)

    async def put(self, key: str, value: bytes) -> int:
        """Set a key and return the revision. Raises QueueError."""
        return (await self._queue.publish(subject(self.name, key), value)).sequence

    async def create(self, key: str, value: bytes) -> int:
        """Set a key that has no value yet. Raises RevisionConflictError, QueueError."""
        try:
            return await self.update(key, value, 0)
        except RevisionConflictError:
            deleted = await self._deletion(key)
            if deleted is None:
                raise
            return await self.update(key, value, deleted)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Set a key whose revision is known. Raises RevisionConflictError, QueueError."""
        return await self._change(key, value, revision, {})

    async def delete(self, key: str, revision: int, *, kept_s: float = 0) -> None:
        """Remove a key whose revision is known. Raises RevisionConflictError, QueueError.

        What remains of it is a marker, for those who follow the bucket. With `kept_s` it is gone after so many seconds,
        and the key's revision is 0 then: for keys that never come again, of which there would be ever more. A bucket
        that an older version made keeps it.
        """
        marker = {OPERATION_HEADER: "DEL"}
        if kept_s:
            with suppress(TtlRefusedError):
                await self._change(key, b"", revision, {**marker, TTL_HEADER: f"{max(round(kept_s), 1)}s"})
                return
        await self._change(key, b"", revision, marker)

    async def _change(self, key: str, value: bytes, revision: int, headers: dict[str, str]) -> int:
        expected = {EXPECTED_HEADER: str(revision), **headers}
        try:
            return (await self._queue.publish(subject(self.name, key), value, headers=expected)).sequence
        except WrongSequenceError as error:
            raise RevisionConflictError(f"{self.name}: {key} was changed by another: {error}") from error

    async def _deletion(self, key: str) -> int | None:
        """The revision at which a key was deleted; None when it has a value."""
        found = await stored_message(
            self._queue, last_by_subject=subject(self.name, key), stream=stream_name(self.name)
        )
        if found is None:
            return 0
        return found.sequence if found.headers.get(OPERATION_HEADER) in _DELETED else None
