"""Workers that are lost while they have work: every invocation ends in one result, from another worker (S13, A13)."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from scenarios.local_world import LocalWorld
from scenarios.world import Pool
from sidecar.messages import Event, FailureClass, WorkerDispatchMessage
from sidecar.subjects import sidecar_consumer
from simulator.activator.settings import ActivatorSettings
from simulator.gpuunit import ACTIVE_NAMESPACE, UNIT_LABEL
from simulator.jetstream.consumers import consumer_names
from simulator.journal import Journal
from simulator.kube.kinds import POD
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.platform(framework_command=(sys.executable, "-m", "framework.misbehave")),
]

SLOW = {"delay": "2s"}
IDLE_SIDECAR = Path(__file__).with_name("idle_sidecar.py")


async def pool_of(world: LocalWorld, names: list[str], **serverless: object) -> Pool:
    """A pool with these units, all Ready."""
    for name in names:
        unit = echo_unit("p") | {"name": name, "operationID": f"create-{name}"}
        unit["serverless"] |= serverless
        await world.api.create_unit(unit)
    for name in names:
        await wait_until_ready(world.platform.units, name)
    return world.pool("p")


def kill(world: LocalWorld, unit: str, *containers: str) -> None:
    """SIGKILL processes of a worker."""
    for each in world.platform.kubelet.containers():
        if each.pod.startswith(f"{unit}-") and each.container in containers and each.pid:
            os.killpg(each.pid, signal.SIGKILL)


def dispatches(world: LocalWorld, invocation_id: str) -> list[str]:
    """The workers that an invocation was dispatched to, in order."""
    sent = world.journal.of_type(WorkerDispatchMessage)
    return [each.worker_name for each in sent if each.invocation_id == invocation_id]


async def started(world: LocalWorld, invocation_id: str, times: int) -> None:
    """Wait until a call has begun so often."""

    def begun(journal: Journal) -> bool:
        return sum(each.event_type == Event.STARTED for each in journal.events(invocation_id)) >= times

    await world.journal.wait_for(begun, 60, f"start {times} of {invocation_id}")


async def outcome(world: LocalWorld, invocation_id: str) -> tuple[str, str, str]:
    result = await world.result_of(invocation_id)
    return result.state, result.failure_class, result.worker_name


async def test_a_killed_workers_call_runs_again_elsewhere(world: LocalWorld) -> None:
    """S13: what may have run is run again, by the default policy."""
    pool = await pool_of(world, ["a", "b"])
    await pool.submit({}, invocationID="call", attributes=SLOW)
    await world.events_of("call", "invocation_started")
    kill(world, "a", "serverless-sidecar", "runtime-worker")
    assert await outcome(world, "call") == ("succeeded", "", "b")
    assert dispatches(world, "call") == ["a", "b"]
    assert len(world.results_of("call")) == 1


async def test_a_call_whose_pod_has_too_little_time_runs_again_elsewhere(world: LocalWorld) -> None:
    """S14: the framework is killed before its sidecar, in the middle of the call."""
    pool = await pool_of(world, ["a", "b"])
    await pool.submit({}, invocationID="call", attributes={"delay": "7s"})
    await world.events_of("call", "invocation_started")
    cluster = world.platform.cluster
    [pod] = await cluster.list(POD, namespace=ACTIVE_NAMESPACE, labels={UNIT_LABEL: "a"})
    await cluster.delete(POD, pod["metadata"]["name"], ACTIVE_NAMESPACE, grace_period_s=1)
    assert (await outcome(world, "call"))[:2] == ("succeeded", "")
    assert len(world.results_of("call")) == 1


async def test_where_nothing_may_run_twice_the_call_fails(world: LocalWorld) -> None:
    """S13: a pool whose calls must not run again gets a failed result of the class `worker_lost`."""
    pool = await pool_of(world, ["a", "b"], onWorkerLoss="never")
    await pool.submit({}, invocationID="call", attributes=SLOW)
    await world.events_of("call", "invocation_started")
    kill(world, "a", "serverless-sidecar", "runtime-worker")
    state, failure_class, _ = await outcome(world, "call")
    assert (state, failure_class) == ("failed", FailureClass.WORKER_LOST)
    assert dispatches(world, "call") == ["a"]


async def test_a_call_outlives_its_pools_only_worker(world: LocalWorld) -> None:
    """S13: nothing waits for the ack wait of minutes, and the worker's next sidecar does not run it as well."""
    pool = await pool_of(world, ["a"])
    await pool.submit({}, invocationID="call", attributes=SLOW)
    await world.events_of("call", "invocation_started")
    kill(world, "a", "serverless-sidecar")
    state, _, worker = await outcome(world, "call")
    assert state == "succeeded"
    assert dispatches(world, "call") == ["a", worker]  # which is "a" itself, or one that was made meanwhile
    assert len(world.results_of("call")) == 1


async def test_attempts_are_bounded(world: LocalWorld) -> None:
    """S13: a call that takes its worker along does not take all workers along."""
    pool = await pool_of(world, ["a", "b"], maxAttempts=2)
    await pool.submit({}, invocationID="call", attributes=SLOW)
    for number, name in enumerate(["a", "b"], start=1):
        await started(world, "call", number)
        kill(world, name, "serverless-sidecar", "runtime-worker")
    state, failure_class, _ = await outcome(world, "call")
    assert (state, failure_class) == ("failed", FailureClass.WORKER_LOST)
    assert dispatches(world, "call") == ["a", "b"]


async def test_no_consumer_is_left_of_a_unit_that_is_gone(world: LocalWorld) -> None:
    """S13: its dispatches are moved, then its consumer is deleted."""
    pool = await pool_of(world, ["a", "b"])
    await pool.submit({}, invocationID="call", attributes=SLOW)
    await world.events_of("call", "invocation_started")
    kill(world, "a", "serverless-sidecar", "runtime-worker")
    await world.api.delete_unit("a")
    assert await outcome(world, "call") == ("succeeded", "", "b")
    await until_gone(world, "a")


async def until_gone(world: LocalWorld, unit: str) -> None:
    """Wait until the unit's consumer is deleted."""
    async with asyncio.timeout(30):
        while sidecar_consumer(unit) in await consumer_names(world.platform.queue):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.1)


async def test_a_dead_workers_waiting_dispatches_are_not_lost(world: LocalWorld) -> None:
    """A11, S13: calls that its sidecar had and did not begin go elsewhere too."""
    pool = await pool_of(world, ["a"])
    ids = [f"call-{number}" for number in range(4)]
    for each in ids:
        await pool.submit({}, invocationID=each, attributes={"delay": "1s"})
    await world.events_of("call-0", "invocation_started")
    await pool_of(world, ["b"])
    kill(world, "a", "serverless-sidecar", "runtime-worker")
    await world.api.delete_unit("a")
    outcomes: dict[str, Any] = {each: await outcome(world, each) for each in ids}
    assert {state for state, _, _ in outcomes.values()} == {"succeeded"}
    assert all(len(world.results_of(each)) == 1 for each in ids)


@pytest.mark.platform(
    sidecar_command=(sys.executable, str(IDLE_SIDECAR)), activator=ActivatorSettings(result_grace_s=0.5)
)
async def test_a_worker_that_lives_and_takes_nothing_keeps_no_call_for_ever(world: LocalWorld) -> None:
    """S7, S13: whatever is wrong with it, the call's time ends."""
    pool = await pool_of(world, ["a"])
    await pool.submit({}, invocationID="call", timeoutSeconds=1)
    assert await outcome(world, "call") == ("expired", FailureClass.ACTIVATION_TIMEOUT, "")
    assert dispatches(world, "call") == ["a"]
    assert len(world.results_of("call")) == 1
