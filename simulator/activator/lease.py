"""Who leads (A18): a lease in a key-value bucket, renewed while its holder lives, taken over when it is silent.

No clock is compared with another's: a candidate takes over when it saw no renewal for a whole lease on its own clock,
and only over the very renewal that it saw last. A holder whose renewals fail stops before its lease can be taken.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

import structlog

from sidecar.queue import Queue, QueueError
from simulator.jetstream.bucket import ACTIVATOR, OPERATION_HEADER, Bucket, RevisionConflictError, stream_name, subject
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import stored_message

LEASE_KEY: Final = "leader"
DEFAULT_LEASE_S: Final = 5.0
RENEWAL_SHARE: Final = 0.25
"""After so much of a lease it is renewed, and so long that may take: one renewal may be lost."""
HELD_SHARE: Final = 0.8
"""For so much of a lease, from when its renewal was sent, its holder leads: to stop takes time too."""
RETRY_S: Final = 0.2
RELEASE_TIMEOUT_S: Final = 1.0

log = structlog.get_logger(__name__)


class Lease:
    """One candidate, by a name that no other has; `is_held` says whether it may act as the leader now."""

    def __init__(
        self, queue: Queue, holder: str, lease_s: float = DEFAULT_LEASE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue = queue
        self._bucket = Bucket(queue, ACTIVATOR)
        self._holder = holder.encode()
        self._lease_s = lease_s
        self._clock = clock
        self._revision = 0
        self._is_free = False
        self._seen_at = clock()
        self._held_until = 0.0
        self._news = asyncio.Event()

    @property
    def is_held(self) -> bool:
        """Whether this candidate leads."""
        return self._clock() < self._held_until

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take part until cancelled: whenever the lease is held `lead` runs, and is cancelled when it is lost.

        `lead` does not end by itself. What it raises is raised, in an ExceptionGroup, when the lease is given back.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch())
            await self._look()
            try:
                while True:
                    await self._acquire()
                    await self._hold(tasks.create_task(lead()))
            finally:
                await self._release()

    async def _look(self) -> None:
        """A lease that was never taken needs no waiting."""
        with suppress(QueueError):
            key = subject(ACTIVATOR, LEASE_KEY)
            found = await stored_message(self._queue, last_by_subject=key, stream=stream_name(ACTIVATOR))
            self._is_free = found is None and not self._revision

    async def _hold(self, leading: asyncio.Task[None]) -> None:
        log.info("leads now")
        pause_s = RENEWAL_SHARE * self._lease_s
        try:
            while self.is_held:
                await self._news_within(min(pause_s, self._held_until - self._clock()))
                if self.is_held:
                    pause_s = RENEWAL_SHARE * self._lease_s if await self._written() else RETRY_S
            log.warning("leads no longer")
        finally:
            leading.cancel()
            await asyncio.wait([leading])

    async def _acquire(self) -> None:
        """Return when the lease is held."""
        while True:
            left = 0.0 if self._is_free else self._seen_at + self._lease_s - self._clock()
            if left > 0:
                await self._news_within(left)
            elif await self._written():
                return
            else:
                await asyncio.sleep(RETRY_S)

    async def _news_within(self, seconds: float) -> None:
        """Return when somebody else wrote, or after a time."""
        self._news.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    async def _written(self) -> bool:
        """Take or renew the lease over the last known renewal; False when somebody else did, or nobody knows."""
        started = self._clock()
        left_s = self._held_until - started if self.is_held else self._lease_s
        try:
            async with asyncio.timeout(min(RENEWAL_SHARE * self._lease_s, left_s)):
                self._revision = await self._bucket.update(LEASE_KEY, self._holder, self._revision)
        except RevisionConflictError:
            self._held_until = 0.0
            self._seen_at, self._is_free = self._clock(), False
            return False
        except (QueueError, TimeoutError) as error:
            log.warning("the lease was not written", error=str(error) or "no answer in time")
            return False
        self._held_until, self._is_free = started + HELD_SHARE * self._lease_s, False
        return True

    async def _release(self) -> None:
        """Let others take over at once."""
        if not self.is_held:
            return
        self._held_until = 0.0
        with suppress(QueueError, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._bucket.delete(LEASE_KEY, self._revision)

    async def _watch(self) -> None:
        """Note each renewal."""
        async for batch in follow(self._queue, subject(ACTIVATOR, LEASE_KEY), 1, stream=stream_name(ACTIVATOR)):
            for delivery in batch:
                if delivery.sequence <= self._revision:
                    continue
                self._revision = delivery.sequence
                self._is_free = delivery.extra_headers.get(OPERATION_HEADER) == "DEL"
                self._seen_at = self._clock()
                if delivery.data != self._holder:
                    self._held_until = 0.0
                    self._news.set()
