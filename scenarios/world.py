"""The vocabulary of scenario scripts: pools that are called, results and events that follow, and expectations."""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from sidecar.messages import InvocationResultMessage, WorkerMetricMessage
from simulator.api_client import ApiClient, Json
from simulator.errors import ScenarioFailure
from simulator.journal import Journal, journal_of
from simulator.platform import Platform
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

RESULT_TIMEOUT_S: Final = 30.0
FAILING_WORKER: Final = (sys.executable, "-m", "scenarios.failing_worker")


def expect(what: str, actual: object, wanted: object) -> None:
    """Go on only if `actual` equals `wanted`.

    Raises:
        ScenarioFailure: it does not; the message says what, the wanted and the actual value.
    """
    if actual != wanted:
        raise ScenarioFailure(f"{what}: expected {wanted!r}, got {actual!r}")


def body_of(result: InvocationResultMessage) -> Any:
    """A result's body, decoded."""
    return msgspec.json.decode(result.body)


class Pool:
    """All units with one request ID, as their callers see them."""

    def __init__(self, world: "World", request_id: str) -> None:
        self._world = world
        self.request_id = request_id

    async def call(self, payload: object, **fields: Any) -> Json:
        """Invoke and wait for the answer: the result in the API's view. `fields` are further request fields."""
        return await self._world.api.invoke(self._request("sync", payload, fields))

    async def submit(self, payload: object, **fields: Any) -> Json:
        """Invoke without waiting: the API's receipt."""
        return await self._world.api.invoke(self._request("async", payload, fields))

    def _request(self, mode: str, payload: object, fields: Mapping[str, Any]) -> Json:
        return {"serverlessRequestID": self.request_id, "mode": mode, "payload": payload, **fields}


class World:
    """One running platform in the words of a scenario."""

    def __init__(self, platform: Platform, api: ApiClient, journal: Journal) -> None:
        self.platform = platform
        self.api = api
        self.journal = journal

    async def ready_pool(self, request_id: str, command: Sequence[str] = ()) -> Pool:
        """Create a unit for the pool and wait until it is Ready. `command` replaces the echo framework."""
        request = echo_unit(request_id, command)
        await self.api.create_unit(request)
        await wait_until_ready(self.platform.units, request["name"])
        return self.pool(request_id)

    def pool(self, request_id: str) -> Pool:
        """A pool by its name, whether any unit serves it or not."""
        return Pool(self, request_id)

    async def result_of(self, invocation_id: str) -> InvocationResultMessage:
        """Wait for an invocation's durable result."""
        results = await self.journal.wait_for(
            lambda journal: journal.results(invocation_id), RESULT_TIMEOUT_S, f"a result of {invocation_id}"
        )
        return results[0]

    async def events_of(self, invocation_id: str, last: str) -> list[WorkerMetricMessage]:
        """Wait until an invocation's events end with `last`; return them in stream order."""

        def complete(journal: Journal) -> list[WorkerMetricMessage] | None:
            events = journal.events(invocation_id)
            return events if events and events[-1].event_type == last else None

        return await self.journal.wait_for(complete, RESULT_TIMEOUT_S, f"{last} of {invocation_id}")

    def results_of(self, invocation_id: str) -> list[InvocationResultMessage]:
        """The durable results stored so far."""
        return self.journal.results(invocation_id)


@asynccontextmanager
async def world_of(platform: Platform) -> AsyncIterator[World]:
    """The world of a running platform, while the block runs."""
    async with ApiClient(platform.api_url) as api, journal_of(platform.queue) as journal:
        yield World(platform, api, journal)
