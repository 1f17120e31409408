"""The vocabulary of scenario scripts: pools that are called, faults, results and events that follow, expectations."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from sidecar.messages import Event, InvocationResultMessage, WorkerDispatchMessage, WorkerMetricMessage
from simulator.api_client import ApiClient, Json
from simulator.errors import ScenarioFailure
from simulator.journal import Journal, journal_of
from simulator.processes.completion import complete
from simulator.targets.faults import Fault
from simulator.targets.target import Target
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

RESULT_TIMEOUT_S: Final = 30.0
SYNC_TIMEOUT_S: Final = 30.0
"""An API's own, for calls without one."""


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
    """All units with one request ID, as their callers see them. `workers` are those that a scenario made, by name."""

    def __init__(self, world: "World", request_id: str, workers: Sequence[str] = ()) -> None:
        self._world = world
        self.request_id = request_id
        self.workers = tuple(workers)

    async def call(self, payload: object, **fields: Any) -> Json:
        """Invoke and wait for the answer: the result in the API's view. `fields` are further request fields."""
        timeout_s = fields.get("timeoutSeconds", SYNC_TIMEOUT_S)
        return await self._world.api.invoke(self._request("sync", payload, fields), timeout_s)

    async def submit(self, payload: object, **fields: Any) -> Json:
        """Invoke without waiting: the API's receipt."""
        return await self._world.api.invoke(self._request("async", payload, fields))

    def _request(self, mode: str, payload: object, fields: Mapping[str, Any]) -> Json:
        return {"serverlessRequestID": self.request_id, "mode": mode, "payload": payload, **fields}


class World:
    """One running platform in the words of a scenario."""

    def __init__(self, target: Target, api: ApiClient, journal: Journal) -> None:
        self.target = target
        self.api = api
        self.journal = journal

    @property
    def misbehaving(self) -> tuple[str, ...]:
        """The command of a framework that does wrong what a call's attributes say, and else is the echo."""
        return (self.target.python, "-m", "framework.misbehave")

    def name(self, text: str) -> str:
        """A name for a pool or an invocation that nobody else uses on this platform."""
        return f"{text}-{self.target.suffix}" if self.target.suffix else text

    async def ready_pool(self, request_id: str, command: Sequence[str] = (), *, workers: int = 1) -> Pool:
        """Create units for the pool and wait until all are Ready. `command` replaces the echo framework."""
        pool = await self.new_pool(request_id, command, workers=workers)
        for worker in pool.workers:
            await wait_until_ready(self.target.units, worker)
        return pool

    async def new_pool(self, request_id: str, command: Sequence[str] = (), *, workers: int = 1) -> Pool:
        """As `ready_pool`, without the wait."""
        pool = self.name(request_id)
        roles = ["template", *(f"worker-{number}" for number in range(2, workers + 1))]
        units = [echo_unit(pool, command, image=self.target.echo_image, role=role) for role in roles]
        for unit in units:
            # To its end: a unit that is made after all must not be overlooked when the scenario's are deleted.
            await complete(self.api.create_unit(unit))
        return Pool(self, pool, [unit["name"] for unit in units])

    def pool(self, request_id: str) -> Pool:
        """A pool by its name, whether any unit serves it or not."""
        return Pool(self, self.name(request_id))

    async def inject(self, fault: Fault, unit: str = "") -> None:
        """Make a fault happen, to this unit if it is one of a unit. Raises PlatformError."""
        await self.target.faults.inject(fault, unit)

    async def result_of(self, invocation_id: str) -> InvocationResultMessage:
        """Wait for an invocation's durable result."""
        results = await self.journal.wait_for(
            lambda journal: journal.results(invocation_id), RESULT_TIMEOUT_S, f"a result of {invocation_id}"
        )
        return results[0]

    async def events_of(self, invocation_id: str, last: str) -> list[WorkerMetricMessage]:
        """Wait until an invocation's events end with `last`; return them in stream order."""

        def ended(journal: Journal) -> list[WorkerMetricMessage] | None:
            events = journal.events(invocation_id)
            return events if events and events[-1].event_type == last else None

        return await self.journal.wait_for(ended, RESULT_TIMEOUT_S, f"{last} of {invocation_id}")

    async def worker_events(self, worker: str, last: str, after: int = 0) -> list[str]:
        """Wait until what a worker says of itself ends with `last`, the first `after` left out; without heartbeats."""

        def said(journal: Journal) -> list[str] | None:
            events = [
                each.event_type
                for each in journal.of_type(WorkerMetricMessage)
                if each.worker_name == worker and not each.invocation_id and each.event_type != Event.HEARTBEAT
            ][after:]
            return events if events and events[-1] == last else None

        return await self.journal.wait_for(said, RESULT_TIMEOUT_S, f"{last} of {worker}")

    def results_of(self, invocation_id: str) -> list[InvocationResultMessage]:
        """The durable results stored so far."""
        return self.journal.results(invocation_id)

    def workers_of(self, invocation_id: str) -> list[str]:
        """The workers that an invocation was dispatched to so far, in order."""
        dispatches = self.journal.of_type(WorkerDispatchMessage)
        return [each.worker_name for each in dispatches if each.invocation_id == invocation_id]


@asynccontextmanager
async def world_of(target: Target) -> AsyncIterator[World]:
    """The world of a target, while the block runs."""
    async with ApiClient(target.api_url) as api, journal_of(target.queue) as journal:
        yield World(target, api, journal)
