"""The whole control plane: several APIs and activators, workers that come and go, scaling to zero and back."""

import asyncio
import os
import random
import signal
from collections import Counter

import pytest

from scenarios.local_world import LocalWorld
from sidecar.messages import InvocationMessage, InvocationResultMessage, WorkerDispatchMessage
from sidecar.subjects import sidecar_consumer
from simulator.activator.pools import is_managed
from simulator.api_client import ApiClient, Json
from simulator.gpuunit import ACTIVE_NAMESPACE, DRAINING_ANNOTATION
from simulator.jetstream.consumers import consumer_names
from simulator.kube.kinds import GPUUNIT
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

pytestmark = pytest.mark.e2e

POOLS = {"pool-a": 1, "pool-b": 2, "pool-c": 3, "pool-d": 4}
INVOCATIONS = 2000
CALLERS = 48


def unit_of(pool: str, name: str, **serverless: object) -> Json:
    unit = echo_unit(pool) | {"name": name, "operationID": f"create-{name}"}
    unit["serverless"] |= serverless
    return unit


class Callers:
    """Callers that invoke random pools through random API processes until all invocations are made."""

    def __init__(self, apis: list[ApiClient], seed: int) -> None:
        self._apis = apis
        self._random = random.Random(seed)
        self._numbers = iter(range(INVOCATIONS))
        self.accepted: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.made = 0
        self.progress = asyncio.Condition()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(self._call())

    async def _call(self) -> None:
        for number in self._numbers:
            pool, mode = self._random.choice(list(POOLS)), self._random.choice(["sync", "async"])
            api, invocation_id = self._random.choice(self._apis), f"call-{number}"
            body = {"serverlessRequestID": pool, "invocationID": invocation_id, "mode": mode, "payload": number}
            self.accepted[invocation_id] = pool
            answer = await api.invoke(body | ({"timeoutSeconds": 60} if mode == "sync" else {}), timeout_s=60)
            if mode == "async":
                answer = await api.invocation(invocation_id, wait="60s")
            self.answers[answer["state"]] += 1
            async with self.progress:
                self.made += 1
                self.progress.notify_all()

    async def reached(self, made: int) -> None:
        async with self.progress:
            await self.progress.wait_for(lambda: self.made >= made)


async def upset(world: LocalWorld, callers: Callers) -> None:
    """Kill, drain, delete and add workers while calls are made."""
    platform, steps = world.platform, 8
    for step in range(1, steps + 1):
        await callers.reached(step * INVOCATIONS // (steps + 2))
        pool, size = list(POOLS.items())[step % len(POOLS)]
        victim = f"{pool}-{step % size}"
        match step % 3:
            case 0:
                await world.api.create_unit(unit_of(pool, f"{pool}-added-{step}"))
            case 1:
                for container in platform.kubelet.containers():
                    if container.pod.startswith(f"{victim}-") and container.pid:
                        os.killpg(container.pid, signal.SIGKILL)
            case 2:
                drain = {"metadata": {"annotations": {DRAINING_ANNOTATION: "2026-01-01T00:00:00Z"}}}
                await platform.cluster.patch(GPUUNIT, victim, drain, ACTIVE_NAMESPACE)
                await world.api.create_unit(unit_of(pool, f"{pool}-for-{victim}-{step}"))
                await world.api.delete_unit(victim)


@pytest.mark.timeout(240)
@pytest.mark.platform(apis=2, activators=2, max_concurrency=4)
async def test_every_accepted_invocation_has_exactly_one_result(world: LocalWorld) -> None:
    """S13, A1, A2, A10, A18, P5: whatever happens to the workers, and whichever API and activator was asked."""
    platform = world.platform
    for pool, size in POOLS.items():
        for number in range(size):
            await world.api.create_unit(unit_of(pool, f"{pool}-{number}"))
    for pool, size in POOLS.items():
        for number in range(size):
            await wait_until_ready(platform.units, f"{pool}-{number}")
    async with ApiClient(platform.api_urls[0]) as first, ApiClient(platform.api_urls[1]) as second:
        callers = Callers([first, second], seed=1)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(upset(world, callers))
            await callers.run()
    results = Counter(each.invocation_id for each in world.journal.of_type(InvocationResultMessage))
    assert {invocation_id: results[invocation_id] for invocation_id in callers.accepted} == dict.fromkeys(
        callers.accepted, 1
    )
    assert callers.answers == {"succeeded": INVOCATIONS}
    served = {each.worker_name for each in world.journal.of_type(WorkerDispatchMessage)}
    assert all(any(name.startswith(pool) for name in served) for pool in POOLS)
    await no_consumer_left_over(world)


async def no_consumer_left_over(world: LocalWorld) -> None:
    """Every worker's consumer belongs to a unit, as soon as all that is to be deleted is."""

    async def left_over() -> list[str]:
        units = {sidecar_consumer(unit["metadata"]["name"]) for unit in world.platform.units.objects()}
        names = await consumer_names(world.platform.queue)
        return [name for name in names if name.startswith("serverless-sidecar-") and name not in units]

    async with asyncio.timeout(60):
        while await left_over():  # noqa: ASYNC110 - nobody tells of deleted consumers
            await asyncio.sleep(0.2)


@pytest.mark.timeout(200)
async def test_a_pool_scales_from_zero_to_four_and_back_twice(world: LocalWorld) -> None:
    """A1, A7, A11, A14, A15: by its backlog, to its maximum, and to nothing when it is idle."""
    template = unit_of(
        "p", "p-template", templateOnly=True, minRequestCount=2, maxAvailableCount=4, idleTimeoutSeconds=2
    )
    await world.api.create_unit(template)
    pool, most = world.pool("p"), 0

    def managed() -> int:
        return sum(is_managed(unit) for unit in world.platform.units.objects())

    for turn in range(2):
        ids = [f"call-{turn}-{number}" for number in range(40)]
        for invocation_id in ids:
            await pool.submit({}, invocationID=invocation_id)
        await world.platform.units.wait_for(lambda _: managed() == 4 or None, 30)
        for invocation_id in ids:
            assert (await world.result_of(invocation_id)).state == "succeeded"
        most = max(most, managed())
        await world.platform.units.wait_for(lambda _: managed() == 0 or None, 60)
    assert most <= 4
    invocations = [each.invocation_id for each in world.journal.of_type(InvocationMessage)]
    assert all(len(world.results_of(invocation_id)) == 1 for invocation_id in invocations)
    assert [unit["metadata"]["name"] for unit in world.platform.units.objects()] == ["p-template"]
    await no_consumer_left_over(world)
