"""The activators' bucket in memory, and connections to it that are slow, cut, or lose answers as a test says."""

import asyncio
import base64
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

from sidecar.queue import Published, QueueUnavailableError, WrongSequenceError
from sidecar.stored import EXPECTED_HEADER
from simulator.jetstream.bucket import ACTIVATOR, subject

REQUEST_TIMEOUT_S = 5.0
FETCH_S = 2.0


@dataclass(frozen=True)
class Message:
    """A stored change, as a reader delivers it."""

    sequence: int
    subject: str
    data: bytes
    extra_headers: Mapping[str, str]
    consumer_sequence: int = 0


@dataclass
class BucketServer:
    """Stores the last change of each key."""

    changes: list[Message] = field(default_factory=list)
    stored: asyncio.Event = field(default_factory=asyncio.Event)

    def last(self, of: str) -> Message | None:
        return next((each for each in reversed(self.changes) if each.subject == of), None)

    def value(self, key: str) -> bytes | None:
        """A key's value, None where it was deleted or never set."""
        found = self.last(subject(ACTIVATOR, key))
        return None if found is None or found.extra_headers else found.data

    def store(self, to: str, data: bytes, headers: Mapping[str, str]) -> int:
        headers = dict(headers)
        expected, last = headers.pop(EXPECTED_HEADER, None), self.last(to)
        if expected is not None and int(expected) != (last.sequence if last else 0):
            raise WrongSequenceError("wrong last sequence")
        self.changes.append(Message(len(self.changes) + 1, to, data, headers))
        stored, self.stored = self.stored, asyncio.Event()
        stored.set()
        return len(self.changes)


@dataclass
class BucketQueue:
    """One connection. `cut`: nothing passes; `delay` gives the seconds that each message takes on its way."""

    server: BucketServer
    cut: bool = False
    deaf: bool = False
    """Answers to changes are lost."""
    delay: Callable[[], float] = lambda: 0.0
    lag_s: float = 0.0
    """How late a reader hears of a change."""
    writes: list[str] = field(default_factory=list)
    connected: bool = True
    stream: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="S"))

    async def _on_its_way(self) -> None:
        if self.cut:
            await self._lost()
        await asyncio.sleep(self.delay())
        if self.cut:
            await self._lost()

    async def _lost(self) -> None:
        await asyncio.sleep(REQUEST_TIMEOUT_S)
        raise QueueUnavailableError("no answer in time")

    async def publish(
        self, to: str, data: bytes, *, message_id: str = "", headers: Mapping[str, str] | None = None
    ) -> Published:
        answer = asyncio.get_running_loop().create_task(self._publish(to, data, headers or {}))
        return Published("KV", await asyncio.shield(_quiet(answer)), duplicate=False)

    async def _publish(self, to: str, data: bytes, headers: Mapping[str, str]) -> int:
        """Whoever waits no longer does not take it back."""
        await self._on_its_way()
        sequence = self.server.store(to, data, headers)
        self.writes.append(to)
        if self.deaf:
            await self._lost()
        await self._on_its_way()
        return sequence

    async def request(self, to: str, body: bytes, timeout_s: float = REQUEST_TIMEOUT_S) -> bytes:
        await self._on_its_way()
        if ".STREAM.INFO." in to:
            return json.dumps({"state": {"first_seq": 1, "last_seq": len(self.server.changes)}}).encode()
        found = self.server.last(json.loads(body)["last_by_subj"])
        await self._on_its_way()
        if found is None:
            return b'{"error":{"code":404}}'
        message = {"subject": found.subject, "seq": found.sequence, "time": "2026-01-01T00:00:00Z"}
        if found.extra_headers:
            lines = "".join(f"{name}: {value}\r\n" for name, value in found.extra_headers.items())
            message["hdrs"] = base64.b64encode(f"NATS/1.0\r\n{lines}\r\n".encode()).decode()
        return json.dumps({"message": message | {"data": base64.b64encode(found.data).decode()}}).encode()

    async def reader(self, of: str, start: int, *, stream: str, headers_only: bool) -> "Reader":
        await self._on_its_way()
        return Reader(self, of.removesuffix(">"), start - 1)


@dataclass
class Reader:
    queue: BucketQueue
    of: str
    position: int
    delivered: int = 0
    interruptions: int = 0

    async def fetch(self, batch: int) -> list[Message]:
        """The last change of each key that was not delivered, or nothing after a while."""
        try:
            async with asyncio.timeout(FETCH_S):
                while not (found := self._next()):
                    await self.queue.server.stored.wait()
                await asyncio.sleep(self.queue.lag_s)
                await self.queue._on_its_way()
        except (TimeoutError, QueueUnavailableError):
            return []
        self.position, self.delivered = found.sequence, self.delivered + 1
        return [
            Message(found.sequence, found.subject, found.data, found.extra_headers, consumer_sequence=self.delivered)
        ]

    def _next(self) -> Message | None:
        server = self.queue.server
        news = (each for each in server.changes[self.position :] if each.subject.startswith(self.of))
        return next((each for each in news if server.last(each.subject) is each), None)

    async def close(self) -> None: ...


def shaky(seed: int, most: float) -> Callable[[], float]:
    """Delays of up to so many seconds."""
    rng = random.Random(seed)
    return lambda: rng.uniform(0, most)


def _quiet(task: "asyncio.Task[int]") -> "asyncio.Task[int]":
    """Nobody need be there to hear of its failure."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
