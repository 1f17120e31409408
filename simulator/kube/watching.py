"""One client's watch: events as JSON lines for as long as client and server want."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import structlog
from aiohttp import web

from simulator.kube.history import Change
from simulator.kube.kinds import Kind
from simulator.kube.listing import ListOptions
from simulator.kube.store import ResourceStore
from simulator.kube.watch_events import EventWriter

BUFFERED_CHANGES = 1000
"""A watcher that stays further behind is cut off; its client lists again."""
PATIENCE_S = 1.0
"""How long a watcher may be so far behind: one request can change more than that at once."""
STALLED_S = 30.0
"""A watcher that reads nothing for so long, though something waits for it, is cut off."""
CHUNK_BYTES = 64 * 1024
"""How much of the first events is written down at once, so that a client that does not read costs no more."""
LONGEST_WATCH_S = (1800.0, 3600.0)
"""How long a watch lasts that does not say: something between these."""
BOOKMARK_S = 60.0
"""After so much silence a client that wants bookmarks gets one."""
LAST_BOOKMARK_S = 2.0
"""And so long before the end of its watch."""

_log = structlog.get_logger(__name__)


class WatchStream:
    """The state of one watch between the store, which calls it, and the response, which drains it."""

    def __init__(
        self,
        store: ResourceStore,
        kind: Kind,
        namespace: str | None,
        options: ListOptions,
        writer: EventWriter | None = None,
    ) -> None:
        """Take the first events and follow from exactly there; `writer` None writes whole objects.

        Raises:
            ApiFailure: 410 the history does not reach back to the version asked for, 504 it has not come there yet.
        """
        self.kind = kind
        self._store = store
        self._namespace = namespace
        self._options = options
        self._writer = writer or EventWriter(kind)
        self._after = options.resource_version or 0
        self._waiting: asyncio.Queue[Change | None] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None
        self._cut_off: asyncio.TimerHandle | None = None
        self._first = deque(self._first_ones())
        self._stop_listening = store.listen(kind, self._on_change, self.end)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send events until the time is up, the client goes, or `end` is called."""
        self._transport = request.transport
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        loop = asyncio.get_running_loop()
        ends = loop.time() + (self._options.timeout_s or random.uniform(*LONGEST_WATCH_S))  # noqa: S311 - spreads load
        try:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout_at(ends):
                    await response.prepare(request)
                    while self._first and ends > loop.time():
                        await self._write(response, self._first_lines())
                    while lines := await self._lines_or_bookmark(ends):
                        await self._write(response, lines)
        finally:
            self._stop_listening()
            if self._cut_off is not None:
                self._cut_off.cancel()
        return response

    def end(self) -> None:
        """End the stream once what waits is sent."""
        self._stop_listening()
        self._waiting.put_nowait(None)

    def _first_ones(self) -> Iterator[Callable[[], bytes]]:
        """What the stream begins with; each writes its line when it is called."""
        options, store = self._options, self._store
        if options.send_initial:
            store.check_version(options.resource_version)
            self._after = store.version
            for obj in store.list(self.kind, self._namespace, options.selector):
                yield partial(self._writer.initial, obj)
            if options.bookmarks:
                yield partial(self._writer.bookmark, self._after, end_of_initial=True)
        elif options.resource_version:
            for change in store.history(self.kind).since(self._after):
                yield partial(self._seen, change)

    def _first_lines(self) -> bytes:
        lines, size = [], 0
        while self._first and size < CHUNK_BYTES:
            lines.append(self._first.popleft()())
            size += len(lines[-1])
        return b"".join(lines)

    async def _write(self, response: web.StreamResponse, lines: bytes) -> None:
        if not lines:
            return
        try:
            async with asyncio.timeout(STALLED_S):
                await response.write(lines)
        except TimeoutError:
            self._abort("watcher reads nothing, cut off")
            raise

    def _on_change(self, change: Change) -> None:
        self._waiting.put_nowait(change)
        if self._waiting.qsize() > BUFFERED_CHANGES and self._cut_off is None:
            self._cut_off = asyncio.get_running_loop().call_later(PATIENCE_S, self._cut_off_if_behind)

    def _cut_off_if_behind(self) -> None:
        self._cut_off = None
        if self._waiting.qsize() > BUFFERED_CHANGES:
            self._abort("watcher too slow, cut off")

    def _abort(self, event: str) -> None:
        _log.warning(event, kind=self.kind.resource, behind=self._waiting.qsize())
        self.end()
        if self._transport is not None:
            self._transport.abort()

    async def _lines_or_bookmark(self, ends: float) -> bytes:
        """The events that wait, or a bookmark when it is time for one; empty at the end of the stream."""
        if not self._options.bookmarks:
            return await self._next_lines()
        now = asyncio.get_running_loop().time()
        last = ends - LAST_BOOKMARK_S
        due = min(now + BOOKMARK_S, last) if last > now else now + BOOKMARK_S
        try:
            async with asyncio.timeout_at(due):
                return await self._next_lines()
        except TimeoutError:
            if not self._waiting.empty():
                return await self._next_lines()  # it came in the same turn of the loop: a bookmark must not overtake it
            # Nothing waits, so all that there is has been sent.
            return self._writer.bookmark(max(self._store.version, self._after))

    async def _next_lines(self) -> bytes:
        """The events of all changes that wait, at least one event; empty at the end of the stream."""
        lines: list[bytes] = []
        while not lines:
            change = await self._waiting.get()
            while change is not None:
                if line := self._seen(change):
                    lines.append(line)
                if self._waiting.empty():
                    break
                change = self._waiting.get_nowait()
            if change is None:
                # Found again by the next call, when these lines are sent.
                self._waiting.put_nowait(None)
                break
        return b"".join(lines)

    def _seen(self, change: Change) -> bytes:
        if change.version <= self._after:
            return b""
        return self._writer.change(change, self._options.selector, self._namespace)
