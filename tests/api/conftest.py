"""A cluster and a queue in memory, and the real API server over them."""

import asyncio
import copy
import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest

from sidecar.messages import InvocationMessage, decode
from sidecar.queue import Inbox, Published, Queue, StreamSettings
from simulator.api.app import ApiServer
from simulator.errors import AlreadyExistsError, ConflictError, NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.client import Cluster
from simulator.kube.kinds import GPUUNIT, Kind, Object


class StubCluster(Cluster):
    """GPUUnits in memory. `rivals` are called one by one before each write: what other processes did just then."""

    def __init__(self) -> None:
        self.units: dict[str, Object] = {}
        self.writes: list[str] = []
        self.rivals: list[Callable[[], object]] = []
        self.failure: Exception | None = None
        self.silent = False
        self._version = 0

    def put(self, unit: Object) -> Object:
        """Store a unit as any writer would; its resource version changes."""
        self._version += 1
        stored = copy.deepcopy(unit)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self.units[unit["metadata"]["name"]] = stored
        return copy.deepcopy(stored)

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        await self._answer(kind, namespace)
        if name not in self.units:
            raise NotFoundError(f"gpuunits {name!r} not found")
        return copy.deepcopy(self.units[name])

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        await self._answer(kind, namespace)
        return copy.deepcopy(list(self.units.values()))

    async def create(self, kind: Kind, obj: Object) -> Object:
        await self._answer(kind, obj["metadata"]["namespace"])
        self._let_rival_act()
        if obj["metadata"]["name"] in self.units:
            raise AlreadyExistsError("gpuunits already exists")
        self.writes.append("create")
        return self.put(obj)

    async def update(self, kind: Kind, obj: Object) -> Object:
        await self._answer(kind, obj["metadata"]["namespace"])
        self._let_rival_act()
        stored = self.units[obj["metadata"]["name"]]
        if stored["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise ConflictError("the object has been modified")
        self.writes.append("update")
        return self.put(obj)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace_period_s: int | None = None
    ) -> None:
        await self.get(kind, name, namespace)
        self.writes.append("delete")
        del self.units[name]

    async def _answer(self, kind: Kind, namespace: str | None) -> None:
        assert (kind, namespace) == (GPUUNIT, ACTIVE_NAMESPACE)
        if self.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure

    def _let_rival_act(self) -> None:
        if self.rivals:
            self.rivals.pop(0)()


@dataclass(frozen=True)
class Publication:
    """What was given to the queue."""

    subject: str
    message_id: str
    message: InvocationMessage
    size: int
    headers: dict[str, str]


@dataclass
class StubInbox(Inbox):
    """Answers with the queue's `reply`; without one the time-out comes at once, or never when the queue `hangs`."""

    queue: "StubQueue"
    subject: str = "_INBOX.stub"

    async def receive(self, timeout_s: float) -> bytes:
        self.queue.waits.append(timeout_s)
        self.queue.waiting.set()
        if self.queue.hangs:
            await asyncio.Event().wait()
        if self.queue.reply is None:
            raise TimeoutError
        return self.queue.reply


@dataclass
class StubQueue(Queue):
    """Records what is published, and recognises a message id it has seen."""

    stream: StreamSettings = field(default_factory=StreamSettings)
    publications: list[Publication] = field(default_factory=list)
    limit: int = 1024 * 1024
    up: bool = True
    failure: Exception | None = None
    reply: bytes | None = None
    hangs: bool = False
    waits: list[float] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    inbox_closed: asyncio.Event = field(default_factory=asyncio.Event)
    sequences: dict[str, int] = field(default_factory=dict)

    @property
    def max_payload(self) -> int:
        return self.limit

    @property
    def connected(self) -> bool:
        return self.up

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5,
    ) -> Published:
        if self.failure is not None:
            raise self.failure
        duplicate = message_id in self.sequences
        sequence = self.sequences.setdefault(message_id, len(self.sequences) + 1)
        if not duplicate:
            message = decode(data, InvocationMessage)
            self.publications.append(Publication(subject, message_id, message, len(data), dict(headers or {})))
        return Published(self.stream.name, sequence, duplicate)

    @asynccontextmanager
    async def inbox(self) -> AsyncIterator[Inbox]:
        try:
            yield StubInbox(self)
        finally:
            self.inbox_closed.set()


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; `body` is decoded JSON, None when there is none."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        assert set(self.body) == {"data"}, self.body
        return self.body["data"]

    @property
    def code(self) -> str:
        assert set(self.body) == {"error"}, self.body
        assert set(self.body["error"]) == {"code", "message"}
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.body["error"]["message"])


@dataclass(frozen=True)
class Api:
    """A client of one running API."""

    url: str
    session: aiohttp.ClientSession

    async def call(
        self, method: str, path: str, body: object = None, *, raw: bytes | None = None, content_type: str | None = None
    ) -> Answer:
        """Send `body` as JSON, or `raw` as it is."""
        content = raw if raw is not None or body is None else msgspec.json.encode(body)
        data = None if content is None else io.BytesIO(content)
        headers = {"Content-Type": content_type or "application/json"} if data is not None else None
        async with self.session.request(method, f"{self.url}/api/v1{path}", data=data, headers=headers) as response:
            answer = await response.read()
            return Answer(response.status, msgspec.json.decode(answer) if answer else None, response.headers)

    async def create(self, **changes: object) -> Answer:
        """Create the unit `tts`, or what `changes` make of it."""
        body = {"operationID": "op-1", "name": "tts", "specName": "s1", "image": "tts:1", **changes}
        return await self.call("POST", "/gpu-units", body)

    async def invoke(self, **changes: object) -> Answer:
        """Invoke the pool `tts`."""
        return await self.call("POST", "/serverless/invocations", {"serverlessRequestID": "tts", **changes})


@asynccontextmanager
async def running_api(cluster: Cluster | None, queue: Queue | None) -> AsyncIterator[Api]:
    """Serve the API and yield a client of it."""
    async with ApiServer(cluster, queue) as server, aiohttp.ClientSession() as session:
        yield Api(server.url, session)


@pytest.fixture
def cluster() -> StubCluster:
    return StubCluster()


@pytest.fixture
def queue() -> StubQueue:
    return StubQueue()


@pytest.fixture
async def api(cluster: StubCluster, queue: StubQueue) -> AsyncIterator[Api]:
    async with running_api(cluster, queue) as client:
        yield client


@pytest.fixture
async def bare_api() -> AsyncIterator[Api]:
    """An API without a cluster and without a queue."""
    async with running_api(None, None) as client:
        yield client


@pytest.fixture
async def other_api(cluster: StubCluster, queue: StubQueue) -> AsyncIterator[Api]:
    """A second API process over the same cluster and queue."""
    async with running_api(cluster, queue) as client:
        yield client
