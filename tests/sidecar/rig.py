"""The dispatch loop with everything around it in memory, and a scripted framework."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from sidecar.config import Config
from sidecar.connection import Response
from sidecar.dispatch import DispatchLoop
from sidecar.events import Events
from sidecar.framework_client import FrameworkClient
from sidecar.framework_watch import FrameworkWatch
from sidecar.invocation import Invocations
from sidecar.metrics import Meters
from sidecar.publishing import Publisher
from sidecar.queue_errors import QueueError, QueueUnavailableError
from sidecar.requests import Answer
from sidecar.stored import Published
from sidecar.subjects import Subjects
from sidecar.tracing import NO_HEADERS

ENV = {
    "SERVERLESS_NATS_URL": "nats://127.0.0.1:4222",
    "SERVERLESS_WORKER_NAME": "w1",
    "SERVERLESS_WORKER_NAMESPACE": "ns",
    "SERVERLESS_REQUEST_ID": "pool",
    "SERVERLESS_DISPATCH_BACKOFF": "2s,10s",
}
OK = Response(200, b'{"statusCode":201,"body":{"ok":1}}')
Json = dict[str, Any]
Handle = Callable[[Json], Awaitable[Response]]


def dispatch(invocation_id: str = "inv-1", **changes: object) -> bytes:
    fields: dict[str, object] = {
        "version": "v1",
        "invocationID": invocation_id,
        "serverlessRequestID": "pool",
        "workerName": "w1",
        "workerNamespace": "ns",
        "mode": "sync",
        "payload": {"n": 1},
        "replySubject": "_INBOX.1",
    }
    return msgspec.json.encode(fields | changes)


@dataclass
class MemoryDelivery:
    """A delivery that notes what happened to it; `ended` is set by ack, nak and term."""

    data: bytes
    sequence: int
    attempt: int
    note: Callable[[str, Json], None]
    subject: str = "runtime.serverless.dispatch.pool.w1"
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    consumer_sequence: int = 1
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    refreshed: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: str = ""
    fails: int = 0

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self.note("end", {"outcome": outcome, "sequence": self.sequence})
        self.ended.set()

    async def ack(self) -> None:
        if self.fails:
            self._end("ack lost")
            raise QueueUnavailableError("ack lost")
        self._end("ack")

    async def nak(self, delay_s: float = 0) -> None:
        self._end(f"nak {delay_s:g}")

    async def term(self, reason: str) -> None:
        self._end(f"term {reason}")

    async def in_progress(self) -> None:
        self.refreshed.set()


class MemoryConsumer:
    """Hands out what was put in; `batches` are the sizes it was asked for."""

    ack_wait_s = 300.0

    def __init__(self) -> None:
        self.ready: asyncio.Queue[MemoryDelivery] = asyncio.Queue()
        self.held: list[MemoryDelivery] = []
        self.batches: list[int] = []
        self.errors: list[QueueError] = []
        self.closed = False

    async def fetch(self, batch: int, wait_s: float) -> Sequence[MemoryDelivery]:
        self.batches.append(batch)
        if self.errors:
            raise self.errors.pop()
        try:
            async with asyncio.timeout(wait_s):
                fetched = [await self.ready.get()]
        except TimeoutError:
            return []
        while len(fetched) < batch and not self.ready.empty():
            fetched.append(self.ready.get_nowait())
        return fetched

    async def close(self) -> None:
        self.closed = True


class MemoryQueue:
    """Keeps what is published, message ids deduplicated; `errors` are raised first."""

    def __init__(self, note: Callable[[str, Json], None]) -> None:
        self.subjects = Subjects()
        self.max_payload = 100_000
        self.ids: set[str] = set()
        self.errors: dict[str, list[QueueError]] = {}
        self._note = note

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> Published:
        return self._stored(subject, data, message_id, headers)

    def start_publish(
        self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None, answer: Answer
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            stored = self._stored(subject, data, message_id, headers)
        except QueueError as error:
            loop.call_soon(answer.set_exception, error)
        else:
            said = msgspec.json.encode({"seq": stored.sequence, "duplicate": stored.duplicate})
            loop.call_soon(answer.set_result, said)

    def _stored(self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None) -> Published:
        family = subject.split(".")[2]
        if self.errors.get(family):
            raise self.errors[family].pop()
        duplicate = message_id in self.ids
        self.ids.add(message_id)
        note = {"duplicate": duplicate, "subject": subject, "natsHeaders": dict(headers or {})}
        self._note(family, msgspec.json.decode(data) | note)
        return Published("S", len(self.ids), duplicate)

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self.errors.get("reply"):
            raise self.errors["reply"].pop()
        self._note("reply", msgspec.json.decode(data) | {"subject": subject, "natsHeaders": dict(headers or {})})


class ScriptedFramework(FrameworkClient):
    """Answers with `handle`; counts the calls."""

    def __init__(self, handle: Handle) -> None:
        super().__init__("/nowhere")
        self.handle = handle
        self.calls: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.timeouts: list[float | None] = []

    async def invoke(
        self, body: bytes, timeout_s: float | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> Response:
        request: Json = msgspec.json.decode(body)
        self.headers.append(headers)
        self.timeouts.append(timeout_s)
        self.calls.append(request["invocationID"])
        return await self.handle(request)


class Rig:
    """A loop with everything around it in memory; `story` is all that was published, in order."""

    def __init__(self, handle: Handle, **settings: str) -> None:
        self.config = Config.from_env(ENV | settings)
        self.story: list[tuple[str, Json]] = []
        self.queue = MemoryQueue(lambda kind, fields: self.story.append((kind, fields)))
        self.consumer = MemoryConsumer()
        self.reopened = 0
        self.open_errors: list[QueueError] = []
        self.healthy = True
        self.framework = ScriptedFramework(handle)
        self.watch = FrameworkWatch(self._is_healthy)
        self.meters = Meters()
        self.events = Events(self.queue, self.meters)
        publisher = Publisher(self.queue)
        self.invocations = Invocations(self.config, publisher, self.events, self.framework, self.watch, self.meters)
        self.stop = asyncio.Event()
        self.loop = DispatchLoop(
            self.consumer,
            self._reopen,
            self.invocations,
            self.watch,
            drain_timeout_s=self.config.drain_timeout_s,
            concurrency=self.config.concurrency,
        )
        self.task: asyncio.Task[None]
        self._sequence = 0

    async def _is_healthy(self) -> bool:
        return self.healthy

    async def _reopen(self) -> MemoryConsumer:
        self.reopened += 1
        if self.open_errors:
            raise self.open_errors.pop()
        return self.consumer

    def put(self, data: bytes, attempt: int = 1, **options: Any) -> MemoryDelivery:
        self._sequence += 1
        delivery = MemoryDelivery(
            data, self._sequence, attempt, lambda kind, fields: self.story.append((kind, fields)), **options
        )
        self.consumer.ready.put_nowait(delivery)
        return delivery

    async def ended(self, *deliveries: MemoryDelivery) -> list[str]:
        """Wait until the deliveries and all events are out; return how each delivery ended."""
        for delivery in deliveries:
            await delivery.ended.wait()
        await self.events.flush(10)
        return [delivery.outcome for delivery in deliveries]

    def of(self, kind: str) -> list[Json]:
        return [fields for found, fields in self.story if found == kind]

    def kinds(self) -> list[str]:
        return [fields["eventType"] if kind == "metrics" else kind for kind, fields in self.story]


@asynccontextmanager
async def running(handle: Handle, **settings: str) -> AsyncIterator[Rig]:
    """Run a rig; at the end of the block it is stopped and drained."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        rig = Rig(handle, **settings)
        background = [tasks.create_task(rig.watch.run()), tasks.create_task(rig.events.run())]
        rig.task = tasks.create_task(rig.loop.run(rig.stop))
        yield rig
        rig.stop.set()
        await asyncio.wait([rig.task])
        for task in background:
            task.cancel()


async def answer_ok(_request: Json) -> Response:
    for _ in range(3):  # an answer takes some turns of the loop, as it does over a socket
        await asyncio.sleep(0)
    return OK


class Gate:
    """A handler that tells when a call began and waits until it may end."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.open = asyncio.Event()
        self.running = 0
        self.most = 0
        self.cancelled: list[str] = []

    async def __call__(self, request: Json) -> Response:
        self.running += 1
        self.most = max(self.most, self.running)
        self.began.put_nowait(request["invocationID"])
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request["invocationID"])
            raise
        finally:
            self.running -= 1
        return OK
