"""One client's watch: events as JSON lines for as long as client and server want."""

import asyncio
import contextlib
import random
from collections.abc import Iterator

import structlog
from aiohttp import web

from simulator.kube.history import Change
from simulator.kube.kinds import Kind
from simulator.kube.listing import ListOptions
from simulator.kube.store import ResourceStore
from simulator.kube.watch_events import EventWriter

BUFFERED_CHANGES = 1000
"""A watcher that falls further behind is cut off; its client lists again."""
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
        self._first = b"".join(self._first_lines())
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
                    if self._first:
                        await response.write(self._first)
                    while lines := await self._lines_or_bookmark(ends):
                        await response.write(lines)
        finally:
            self._stop_listening()
        return response

    def end(self) -> None:
        """End the stream once what waits is sent."""
        self._stop_listening()
        self._waiting.put_nowait(None)

    def _first_lines(self) -> Iterator[bytes]:
        options, store = self._options, self._store
        if options.send_initial:
            store.check_version(options.resource_version)
            for obj in store.list(self.kind, self._namespace, options.selector):
                yield self._writer.initial(obj)
            self._after = store.version
            if options.bookmarks:
                yield self._writer.bookmark(store.version, end_of_initial=True)
        elif options.resource_version:
            for change in store.history(self.kind).since(self._after):
                yield self._seen(change)

    def _on_change(self, change: Change) -> None:
        if self._waiting.qsize() < BUFFERED_CHANGES:
            self._waiting.put_nowait(change)
            return
        _log.warning("watcher too slow, cut off", kind=self.kind.resource, behind=BUFFERED_CHANGES)
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
