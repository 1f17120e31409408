"""Invocations that are taken back, or whose caller is gone: where they wait, and where they run (S8, P5, P12)."""

import asyncio
import sys

import pytest

from scenarios.world import World
from sidecar.messages import FailureClass, InvocationMessage, WorkerDispatchMessage
from simulator.api_client import ApiRefusedError

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.platform(framework_command=(sys.executable, "-m", "framework.misbehave")),
]

LONG = {"delay": "20s"}


async def outcome(world: World, invocation_id: str) -> tuple[str, str, int]:
    result = await world.result_of(invocation_id)
    return result.state, result.failure_class, result.status_code


TAKEN_BACK = ("failed", FailureClass.CANCELLED, 499)


async def test_one_that_waits_is_never_dispatched(world: World) -> None:
    pool = await world.ready_pool("p")
    await pool.submit({}, invocationID="first", attributes=LONG)
    await world.events_of("first", "invocation_started")
    await pool.submit({}, invocationID="second")
    assert (await world.api.cancel("second"))["state"] == "queued"
    assert await outcome(world, "second") == TAKEN_BACK
    assert [each.invocation_id for each in world.journal.of_type(WorkerDispatchMessage)] == ["first"]
    with pytest.raises(ApiRefusedError) as refusal:
        await world.api.cancel("second")
    assert refusal.value.status == 409


async def test_one_that_runs_is_ended(world: World) -> None:
    pool = await world.ready_pool("p")
    await pool.submit({}, invocationID="running", attributes=LONG)
    await world.events_of("running", "invocation_started")
    assert (await world.api.cancel("running"))["state"] == "running"
    assert await outcome(world, "running") == TAKEN_BACK
    assert (await pool.call({}))["statusCode"] == 200  # the worker is free again


async def test_a_caller_that_leaves_takes_along_what_has_not_begun(world: World) -> None:
    """What runs already goes on; nobody works for nobody otherwise."""
    pool = await world.ready_pool("p")
    callers = [
        asyncio.create_task(pool.call({}, invocationID=each, attributes={"delay": delay}, timeoutSeconds=30))
        for each, delay in (("running", "3s"), ("waiting", "0s"))
    ]
    await world.events_of("running", "invocation_started")
    await world.journal.wait_for(lambda journal: len(journal.of_type(InvocationMessage)) == 2, 10, "both invocations")
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    assert await outcome(world, "waiting") == TAKEN_BACK
    assert await outcome(world, "running") == ("succeeded", "", 200)


async def test_a_flood_in_one_pool_does_not_delay_another(world: World) -> None:
    """A2: between the other pool's call and its dispatch, nothing of the flood is in its way."""
    flooded, quiet = await world.ready_pool("flooded"), await world.ready_pool("quiet")
    async with asyncio.TaskGroup() as tasks:
        for number in range(300):
            tasks.create_task(flooded.submit({}, invocationID=f"flood-{number}", attributes={"delay": "20ms"}))
    assert (await quiet.call({}, invocationID="quiet"))["statusCode"] == 200
    entries = [type(entry.message).__name__ for entry in world.journal.entries]
    ids = [getattr(entry.message, "invocation_id", "") for entry in world.journal.entries]
    asked = next(i for i, each in enumerate(ids) if each == "quiet")
    given = next(i for i, each in enumerate(ids) if each == "quiet" and entries[i] == "WorkerDispatchMessage")
    overtaken = [ids[i] for i in range(asked, given) if entries[i] == "WorkerDispatchMessage"]
    assert len(overtaken) <= 3  # what the flood's worker was given in that moment
    assert len(world.journal.of_type(WorkerDispatchMessage)) < 300  # the flood is not over
