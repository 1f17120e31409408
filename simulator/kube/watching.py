"""One client's watch: events as JSON lines for as long as client and server want."""

import asyncio
import contextlib
from collections.abc import Iterator

import msgspec
import structlog
from aiohttp import web

from simulator.kube.history import Change
from simulator.kube.kinds import Kind, Object
from simulator.kube.requests import ListOptions
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore

BUFFERED_CHANGES = 1000
"""A watcher that falls further behind is cut off; its client lists again."""

_log = structlog.get_logger(__name__)


class WatchStream:
    """The state of one watch between the store, which calls it, and the response, which drains it."""

    def __init__(self, store: ResourceStore, kind: Kind, namespace: str | None, options: ListOptions) -> None:
        """Take the first events and follow from exactly there.

        Raises:
            ApiFailure: 410; the history does not reach back to the version asked for.
        """
        self._kind = kind
        self._namespace = namespace
        self._options = options
        self._after = options.resource_version or 0
        self._waiting: asyncio.Queue[Change | None] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None
        self._first = b"".join(self._first_lines(store))
        self._stop_listening = store.listen(kind, self._on_change)

    async def send(self, request: web.Request) -> web.StreamResponse:
        """Send events until the time is up, the client goes, or `end` is called."""
        self._transport = request.transport
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        try:
            with contextlib.suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(self._options.timeout_s):
                    await response.prepare(request)
                    if self._first:
                        await response.write(self._first)
                    while lines := await self._next_lines():
                        await response.write(lines)
        finally:
            self._stop_listening()
        return response

    def end(self) -> None:
        """End the stream once what waits is sent."""
        self._stop_listening()
        self._waiting.put_nowait(None)

    def _first_lines(self, store: ResourceStore) -> Iterator[bytes]:
        options = self._options
        from_now = not options.resource_version
        if options.send_initial or (options.send_initial is None and from_now):
            for obj in store.list(self._kind, self._namespace, options.selector):
                yield _line("ADDED", obj)
            if options.bookmarks and (options.send_initial or options.resource_version == 0):
                yield _line("BOOKMARK", self._end_of_initial_events(store.version))
        elif not from_now:
            for change in store.history(self._kind).since(self._after):
                yield self._seen(change)

    def _on_change(self, change: Change) -> None:
        if self._waiting.qsize() < BUFFERED_CHANGES:
            self._waiting.put_nowait(change)
            return
        _log.warning("watcher too slow, cut off", kind=self._kind.resource, behind=BUFFERED_CHANGES)
        self.end()
        if self._transport is not None:
            self._transport.abort()

    async def _next_lines(self) -> bytes:
        """The events of all changes that wait, at least one event; empty at the end of the stream."""
        lines = b""
        while not lines:
            change = await self._waiting.get()
            while change is not None:
                lines += self._seen(change)
                if self._waiting.empty():
                    break
                change = self._waiting.get_nowait()
            if change is None:
                # Found again by the next call, when these lines are sent.
                self._waiting.put_nowait(None)
                break
        return lines

    def _seen(self, change: Change) -> bytes:
        event = change.seen_through(self._options.selector, self._namespace)
        if event is None or change.version <= self._after:
            return b""
        return _line(*event)

    def _end_of_initial_events(self, version: int) -> Object:
        metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
        return {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}


def error_event(failure: ApiFailure) -> bytes:
    """The stream of a watch that fails at once, which is how the real server says that a version is too old."""
    return _line("ERROR", failure.body)


def _line(event_type: str, obj: Object) -> bytes:
    return msgspec.json.encode({"type": event_type, "object": obj}) + b"\n"
