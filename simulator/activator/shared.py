"""What activators tell each other through their bucket: who is there, which pools cannot start (A18).

Every activator writes `member.<name>` while it lives; the leader writes `pool.<pool>`, what is known of each worker
under `worker.<pool>.<worker>`, and under `events` how far the workers' events were read for that. The next leader, or a
restarted one, begins with it (A12, A19).
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from sidecar.queue import Queue, QueueError
from simulator.activator.fleet import WorkerRecord
from simulator.activator.lifecycle import NO_FAILURES, StartFailures
from simulator.jetstream.bucket import ACTIVATOR, OPERATION_HEADER, Bucket, RevisionConflictError, stream_name, subject
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import last_sequence

PRESENCE_S: Final = 2.0
PRESENCES_MISSED: Final = 3
FORGOTTEN_AFTER_S: Final = 30.0
"""A member that was silent for so long is dead, and its key is deleted."""
MARKERS_KEPT_S: Final = 3600.0
"""How long a deleted key is remembered: longer than a follower is away that goes on where it stopped."""
EVENTS_KEY: Final = "events"
START_TIMEOUT_S: Final = 10.0

log = structlog.get_logger(__name__)


class PoolNote(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the leader found out about a pool: `gave_up` holds for invocations up to `until` in the stream."""

    failures: StartFailures = NO_FAILURES
    gave_up: str = ""
    until: int = 0


class WorkerNote(msgspec.Struct, frozen=True, rename="camel"):
    """A worker's record."""

    name: str
    record: WorkerRecord


class Shared:
    """One activator's view of the bucket; `on_pool` is called with each pool whose note changed."""

    def __init__(self, queue: Queue, member: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._bucket = Bucket(queue, ACTIVATOR)
        self._member = member
        self._clock = clock
        self._members: dict[str, tuple[float, int]] = {}
        self._own_seen = -math.inf
        self._note_revisions: dict[str, int] = {}
        self._position = 0
        self._read = asyncio.Event()
        self.notes: dict[str, PoolNote] = {}
        self.workers: dict[str, WorkerNote] = {}
        self.events_read = 0
        """Up to here in the stream, `workers` holds what the events said."""
        self.on_pool: Callable[[str], None] = _nobody

    @property
    def is_alone(self) -> bool:
        """Whether no other activator was there lately; who does not hear itself does not hear others either."""
        oldest = self._clock() - PRESENCES_MISSED * PRESENCE_S
        return self._own_seen >= oldest and not any(seen >= oldest for seen, _ in self._members.values())

    def gave_up(self, pool: str) -> tuple[str, int]:
        """Why a pool cannot start, and up to which sequence its invocations are answered so; "" while it may."""
        note = self.notes.get(pool)
        return (note.gave_up, note.until) if note else ("", 0)

    async def write_note(self, pool: str, note: PoolNote) -> None:
        """Tell the others of a pool. Raises QueueError."""
        self._take(pool, note, await self._bucket.put(f"pool.{pool}", msgspec.json.encode(note)))

    async def write_worker(self, pool: str, note: WorkerNote) -> None:
        """Keep what is known of a worker. Raises QueueError."""
        await self._bucket.put(f"worker.{pool}.{note.name}", msgspec.json.encode(note))

    async def write_events_read(self, position: int) -> None:
        """Say that all workers' notes hold what the events up to here said. Raises QueueError."""
        await self._bucket.put(EVENTS_KEY, str(position).encode())

    async def forget_worker(self, key: str) -> None:
        """Keep no longer what was known of a worker. Raises QueueError."""
        entry = await self._bucket.get(f"worker.{key}")
        if entry is None:
            self.workers.pop(key, None)  # its marker was never heard
            return
        with suppress(RevisionConflictError):
            await self._bucket.delete(f"worker.{key}", entry.revision, kept_s=MARKERS_KEPT_S)

    async def synced(self) -> None:
        """Wait until everything is read that was there at the start. Raises TimeoutError, QueueError."""
        last = await last_sequence(self._queue, stream_name(ACTIVATOR))
        async with asyncio.timeout(START_TIMEOUT_S):
            while self._position < last:
                self._read.clear()
                await self._read.wait()

    async def run(self) -> None:
        """Follow the bucket, and be seen, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            try:
                while True:
                    with suppress(QueueError):
                        await self._bucket.put(f"member.{self._member}", b"")
                        await self._bury_dead()
                    await asyncio.sleep(PRESENCE_S)
            finally:
                with suppress(QueueError, TimeoutError):
                    await self._leave()

    async def _leave(self) -> None:
        async with asyncio.timeout(1.0):
            entry = await self._bucket.get(f"member.{self._member}")
            if entry is not None:
                await self._bucket.delete(f"member.{self._member}", entry.revision, kept_s=MARKERS_KEPT_S)

    async def _bury_dead(self) -> None:
        """Those that were killed did not leave."""
        oldest = self._clock() - FORGOTTEN_AFTER_S
        for name, (seen, revision) in list(self._members.items()):
            if seen >= oldest:
                continue
            try:
                await self._bucket.delete(f"member.{name}", revision, kept_s=MARKERS_KEPT_S)
            except RevisionConflictError:  # it is back, or another buried it: then its marker may be gone as well
                if self._members.get(name) == (seen, revision):
                    del self._members[name]

    async def _follow(self) -> None:
        first = True
        async for batch in follow(self._queue, subject(ACTIVATOR, ">"), 1, stream=stream_name(ACTIVATOR)):
            for delivery in batch:
                key = delivery.subject.removeprefix(subject(ACTIVATOR, ""))
                gone = delivery.extra_headers.get(OPERATION_HEADER) == "DEL"
                self._note(key, delivery.data, delivery.sequence, gone=gone)
                self._position = delivery.sequence
            if batch or first:
                first = False
                self._read.set()

    def _note(self, key: str, value: bytes, revision: int, *, gone: bool) -> None:
        kind, _, name = key.partition(".")
        try:
            match kind:
                case "member" if name == self._member:
                    self._own_seen = self._clock()
                case "member":
                    self._members.pop(name, None)
                    if not gone:
                        self._members[name] = (self._clock(), revision)
                case "pool":
                    note = PoolNote() if gone else msgspec.json.decode(value, type=PoolNote)
                    if self._take(name, note, revision):
                        self.on_pool(name)
                case "worker":
                    self.workers.pop(name, None)
                    if not gone:
                        self.workers[name] = msgspec.json.decode(value, type=WorkerNote)
                case "events":
                    self.events_read = int(value) if value.isdigit() else 0
        except msgspec.DecodeError as error:
            log.warning("a note that cannot be read, left out", key=key, error=str(error))

    def _take(self, pool: str, note: PoolNote, revision: int) -> bool:
        """Have a pool's note, if it is newer than the one that is known."""
        if revision <= self._note_revisions.get(pool, 0):
            return False
        self._note_revisions[pool] = revision
        self.notes[pool] = note
        return True


def _nobody(_: str) -> None:
    """Nobody listens."""
