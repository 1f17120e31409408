"""The real API server over a cluster and a queue in memory."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec
import pytest

from sidecar.queue import Queue
from simulator.api.app import ApiServer
from simulator.api.settings import ApiSettings
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.ledger.follower import LedgerFollower
from tests.api.stub_cluster import StubCluster
from tests.api.stub_queue import StubFollower, StubQueue

__all__ = ["Answer", "Api", "StubCluster", "StubFollower", "StubQueue", "running_api"]


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
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        raw: bytes | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send `body` as JSON, or `raw` as it is."""
        content = raw if raw is not None or body is None else msgspec.json.encode(body)
        data = None if content is None else io.BytesIO(content)
        typed = {"Content-Type": content_type or "application/json"} if data is not None else {}
        headers = {**typed, **(headers or {})}
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

    async def invoke_mirrored(self, wish: str, **changes: object) -> Answer:
        """The same with the header that asks for the result's own status."""
        body, headers = {"serverlessRequestID": "tts", **changes}, {"Serverless-Mirror-Status": wish}
        return await self.call("POST", "/serverless/invocations", body, headers=headers)

    async def look(self, path: str) -> Answer:
        """Read something of the invocations."""
        return await self.call("GET", f"/serverless/invocations{path}")


@asynccontextmanager
async def running_api(
    cluster: Cluster | None,
    queue: Queue | None,
    *,
    follower: LedgerFollower | None = None,
    settings: ApiSettings | None = None,
    units: Informer | None = None,
) -> AsyncIterator[Api]:
    """Serve the API and yield a client of it."""
    server = ApiServer(cluster, queue, follower=follower, settings=settings, units=units)
    async with server, aiohttp.ClientSession() as session:
        yield Api(server.url, session)


@pytest.fixture
def cluster() -> StubCluster:
    return StubCluster()


@pytest.fixture
def queue() -> StubQueue:
    return StubQueue()


@pytest.fixture
def follower(queue: StubQueue) -> StubFollower:
    return StubFollower(queue)


@pytest.fixture
def settings() -> ApiSettings:
    """What a test may set by a parametrisation of its own."""
    return ApiSettings()


@pytest.fixture
async def api(
    cluster: StubCluster, queue: StubQueue, follower: StubFollower, settings: ApiSettings
) -> AsyncIterator[Api]:
    async with running_api(cluster, queue, follower=follower, settings=settings) as client:
        yield client


@pytest.fixture
async def bare_api() -> AsyncIterator[Api]:
    """An API without a cluster and without a queue."""
    async with running_api(None, None) as client:
        yield client


@pytest.fixture
async def other_api(cluster: StubCluster, queue: StubQueue, follower: StubFollower) -> AsyncIterator[Api]:
    """A second API process over the same cluster and queue."""
    async with running_api(cluster, queue, follower=follower) as client:
        yield client
