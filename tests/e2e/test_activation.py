"""Pools whose worker is not Ready when the call comes: waited for, made, or answered with the reason."""

import asyncio
import sys

import psutil
import pytest

from scenarios.local_world import LocalWorld
from sidecar.messages import FailureClass
from simulator.activator.pools import is_managed
from simulator.units import echo_unit

pytestmark = pytest.mark.e2e

ONLY_MANAGED = f'[ "$SERVERLESS_WORKER_NAME" != "p-template" ] && exec {sys.executable} -m framework.echo'


async def test_a_call_waits_for_the_worker_that_is_starting(world: LocalWorld) -> None:
    await world.api.create_unit(echo_unit("p"))
    answer = await world.pool("p").call({"n": 1})
    assert (answer["statusCode"], answer["workerName"]) == (200, "p-template")
    assert len(world.platform.units.objects()) == 1


async def test_with_none_ready_a_worker_is_made_from_the_template(world: LocalWorld) -> None:
    await world.api.create_unit(echo_unit("p", ["sh", "-c", ONLY_MANAGED]))
    answers = [await world.pool("p").call({"n": number}) for number in range(2)]
    units = {unit["metadata"]["name"]: is_managed(unit) for unit in world.platform.units.objects()}
    [worker] = [name for name, managed in units.items() if managed]
    assert [(answer["statusCode"], answer["workerName"]) for answer in answers] == [(200, worker), (200, worker)]
    assert len(units) == 2


async def test_a_pool_that_cannot_run_is_answered_with_the_reason(world: LocalWorld) -> None:
    await world.api.create_unit(echo_unit("p", ["/no/such/program"]))
    answers = [await world.pool("p").call({"n": number}) for number in range(2)]
    for answer in answers:
        assert (answer["statusCode"], answer["failureClass"]) == (503, FailureClass.ACTIVATION_TIMEOUT)
        assert "/no/such/program" in answer["error"]
    made = [line for line in world.platform.units.objects() if is_managed(line)]
    assert len(made) <= 1  # one try, and none beside it for the second call; the failed worker goes


async def test_a_deleted_unit_takes_no_more_calls_and_leaves_no_process(world: LocalWorld) -> None:
    await world.ready_pool("p")
    containers = [psutil.Process(container.pid) for container in world.platform.kubelet.containers() if container.pid]
    assert len(containers) == 2
    await world.api.delete_unit("p-template")
    await world.platform.units.wait_for(lambda units: None if units.objects() else True, 20)
    answer = await world.pool("p").call({"n": 1})
    assert answer["failureClass"] == FailureClass.NO_WORKER_TEMPLATE
    _, alive = await asyncio.to_thread(psutil.wait_procs, containers, timeout=20)
    assert alive == []
