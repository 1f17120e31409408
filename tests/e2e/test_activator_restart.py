"""An activator that ends, and another that begins on the same queue: nothing is lost, nothing runs twice (A12, A18)."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from scenarios.local_world import LocalWorld
from sidecar.messages import InvocationResultMessage, WorkerDispatchMessage
from sidecar.queue import Queue
from simulator.activator.activator import Activator
from simulator.activator.settings import ActivatorSettings
from simulator.journal import Journal
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.platform(activators=0, framework_command=(sys.executable, "-m", "framework.misbehave")),
]

WAIT_S = 60.0
SLOW = {"delay": "1s"}


@asynccontextmanager
async def activator(world: LocalWorld) -> AsyncIterator[tuple[Activator, Queue]]:
    """One more activator, with a connection of its own, until the block ends."""
    platform = world.platform
    settings = ActivatorSettings(ack_wait_s=3.0, lease_s=2.0)
    async with platform.roles.connect("activator", platform.nats_url) as queue:
        made = Activator(platform.cluster, platform.units, queue, settings)
        running = asyncio.create_task(made.run())
        try:
            yield made, queue
        finally:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), "it ends in good order"


async def ready(world: LocalWorld, *names: str, pool: str = "p", **serverless: object) -> None:
    for name in names:
        unit = echo_unit(pool) | {"name": name, "operationID": f"create-{name}"}
        unit["serverless"] |= serverless
        await world.api.create_unit(unit)
    for name in names:
        await wait_until_ready(world.platform.units, name)


async def dispatch_of(world: LocalWorld, invocation_id: str) -> None:
    def is_there(journal: Journal) -> bool:
        return invocation_id in dispatched(journal)

    await world.journal.wait_for(is_there, WAIT_S, f"a dispatch of {invocation_id}")


async def all_ended_once(world: LocalWorld, ids: list[str]) -> None:
    for each in ids:
        assert (await world.result_of(each)).state == "succeeded"
    results = [each.invocation_id for each in world.journal.of_type(InvocationResultMessage)]
    assert sorted(results) == sorted(ids)


def dispatched(journal: Journal) -> list[str]:
    return [each.invocation_id for each in journal.of_type(WorkerDispatchMessage)]


async def test_a18_what_waits_and_what_runs_outlives_its_activator(world: LocalWorld) -> None:
    await ready(world, "w")
    ids = [f"call-{number}" for number in range(5)]
    async with activator(world):
        for each in ids:
            await world.pool("p").submit({}, invocationID=each, attributes=SLOW)
        await dispatch_of(world, ids[0])
    async with activator(world):
        await all_ended_once(world, ids)
    assert sorted(dispatched(world.journal)) == ids, "and nothing was dispatched twice"


async def test_a18_what_was_accepted_while_none_was_there_is_done_by_the_next(world: LocalWorld) -> None:
    async with activator(world):
        await ready(world, "w")
    ids = [f"call-{number}" for number in range(5)]
    for each in ids:
        await world.pool("p").submit({}, invocationID=each)
    async with activator(world):
        await all_ended_once(world, ids)


async def test_a18_a_cold_start_under_way_is_not_begun_again(world: LocalWorld) -> None:
    """The worker that the first activator made serves what the second one finds."""
    template = echo_unit("p")
    template["serverless"] |= {"templateOnly": True}
    await world.api.create_unit(template)
    async with activator(world):
        await world.pool("p").submit({}, invocationID="call")
        await world.platform.units.wait_for(lambda units: len(units.objects()) == 2 or None, WAIT_S)
    async with activator(world):
        await all_ended_once(world, ["call"])
        assert len(world.platform.units.objects()) == 2


async def test_a18_one_of_two_may_end_at_any_time(world: LocalWorld) -> None:
    await ready(world, "a", "b")
    ids: list[str] = []
    async with activator(world):
        for turn in range(6):
            batch = [f"call-{turn}-{number}" for number in range(10)]
            async with activator(world):
                for each in batch:
                    await world.pool("p").submit({}, invocationID=each)
                await dispatch_of(world, batch[0])
            ids += batch
        await all_ended_once(world, ids)
    assert sorted(dispatched(world.journal)) == sorted(ids)


async def test_a18_a_worker_that_is_lost_while_no_activator_is_there_is_found_lost(world: LocalWorld) -> None:
    """S13: what it had is moved by the next one."""
    await ready(world, "a", "b")
    async with activator(world):
        await world.pool("p").submit({}, invocationID="call", attributes=SLOW)
        await world.events_of("call", "invocation_started")
    [first] = world.journal.of_type(WorkerDispatchMessage)
    for each in world.platform.kubelet.containers():
        if each.pod.startswith(f"{first.worker_name}-") and each.pid:
            os.killpg(each.pid, signal.SIGKILL)
    await world.api.delete_unit(first.worker_name)
    async with activator(world):
        await all_ended_once(world, ["call"])
    assert [each.worker_name for each in world.journal.of_type(WorkerDispatchMessage)] == ["a", "b"]


async def test_an_activator_whose_queue_is_away_ends_in_good_order(world: LocalWorld) -> None:
    await ready(world, "w")
    async with activator(world) as (_, queue):
        await world.pool("p").submit({}, invocationID="call")
        await all_ended_once(world, ["call"])
        await queue._client.close()
