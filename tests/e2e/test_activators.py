"""Several activators, each a process of its own: they share the work, and what one had is not lost with it (A18)."""

import asyncio
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from scenarios.local_world import LocalWorld
from sidecar.messages import Event, InvocationResultMessage, WorkerDispatchMessage, WorkerMetricMessage
from sidecar.subjects import ACTIVATOR_CONSUMER
from simulator.activator.pools import is_managed
from simulator.activator.settings import ActivatorSettings
from simulator.api_client import ApiClient
from simulator.jetstream.bucket import ACTIVATOR, Bucket, stream_name, subject
from simulator.jetstream.consumers import ConsumerState, consumer_state
from simulator.jetstream.follow import follow
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready
from tests.e2e.part_process import WAIT_S, PartProcess, activator_process
from tests.proof.nats_proxy import NatsProxy
from tests.proof.steps import Step, Trap

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

POLL_S = 0.05
HASTY = pytest.mark.platform(activators=0, apis=2, activator=ActivatorSettings(ack_wait_s=3))
HASTY_OPTIONS = ("--ack-wait", "3", "--lease", "2")
"""Death is noticed soon."""
PATIENT = pytest.mark.platform(activators=0, activator=ActivatorSettings(ack_wait_s=600), max_concurrency=8)
PATIENT_OPTIONS = ("--ack-wait", "600", "--lease", "600", "--concurrency", "8")
"""Nothing is taken over unless it was given back."""
GATED_START = "until [ -e {gate} ]; do sleep 0.05; done; exec {python} -m framework.echo"
SLOW_CALL: Any = """
import asyncio
from framework.server import run

async def handle(request):
    await asyncio.sleep(0.05)
    return {"statusCode": 200, "body": {}}

run(handle)
"""
GATED_CALL: Any = """
import asyncio, pathlib, sys
from framework.server import run

async def handle(request):
    while not pathlib.Path(sys.argv[1]).exists():
        await asyncio.sleep(0.02)
    return {"statusCode": 200, "body": {}}

run(handle)
"""


class Gate:
    """A file that workers wait for, which run as another user."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o755)
        self.path = directory / "open"
        self.script = directory / "gated.py"
        self.script.write_text(GATED_CALL)

    def open(self) -> None:
        """Let the workers go on."""
        self.path.touch()


@pytest.fixture
def gate() -> Iterator[Gate]:
    directory = Path(tempfile.mkdtemp())
    yield Gate(directory)
    shutil.rmtree(directory)


async def submit(world: LocalWorld, pool: str, count: int, prefix: str = "inv") -> list[str]:
    """Queue invocations without waiting for them, by all of the platform's APIs in turn; return their IDs."""
    async with AsyncExitStack() as stack:
        apis = [await stack.enter_async_context(ApiClient(url)) for url in world.platform.api_urls]
        ids = [f"{prefix}-{number}" for number in range(count)]
        for number, invocation_id in enumerate(ids):
            call = {"serverlessRequestID": pool, "mode": "async", "payload": number, "invocationID": invocation_id}
            await apis[number % len(apis)].invoke(call)
    return ids


async def all_ended(world: LocalWorld, ids: list[str]) -> None:
    """Wait until each invocation has its result, and no activator anything in its hands."""
    wanted = set(ids)
    await world.journal.wait_for(lambda _: wanted <= counted(world, InvocationResultMessage).keys(), WAIT_S, "results")
    await held(world, 0)


def counted(world: LocalWorld, kind: type[InvocationResultMessage] | type[WorkerDispatchMessage]) -> Counter[str]:
    """How many stored messages of a kind each invocation has."""
    return Counter(message.invocation_id for message in world.journal.of_type(kind))


def assert_once(world: LocalWorld, ids: list[str]) -> None:
    """Each invocation has one result, was dispatched once, and ran once."""
    once = Counter(dict.fromkeys(ids, 1))
    assert counted(world, InvocationResultMessage) == once
    assert counted(world, WorkerDispatchMessage) == once
    assert started(world) == once


def started(world: LocalWorld) -> Counter[str]:
    """How often each invocation began at a worker."""
    events = world.journal.of_type(WorkerMetricMessage)
    return Counter(event.invocation_id for event in events if event.event_type == Event.STARTED)


async def leads(world: LocalWorld, name: str) -> None:
    """Wait until an activator is the leader."""
    queue = world.platform.queue
    async with asyncio.timeout(WAIT_S):
        renewals = follow(queue, subject(ACTIVATOR, "leader"), 1, stream=stream_name(ACTIVATOR))
        async with aclosing(renewals):
            async for batch in renewals:
                if any(renewal.data.decode() == name for renewal in batch):
                    return


async def ingress(world: LocalWorld) -> ConsumerState:
    """The consumer that the activators share."""
    state = await consumer_state(world.platform.queue, ACTIVATOR_CONSUMER)
    assert state is not None
    return state


async def held(world: LocalWorld, count: int) -> None:
    """Wait until activators hold so many invocations, and none waits for an activator."""
    async with asyncio.timeout(WAIT_S):
        while True:
            state = await ingress(world)
            if (state.ack_pending, state.pending) == (count, 0):
                return
            await asyncio.sleep(POLL_S)


@asynccontextmanager
async def first_holds(
    world: LocalWorld, gate: Gate, count: int, options: tuple[str, ...]
) -> AsyncIterator[tuple[PartProcess, str, list[str]]]:
    """Two activators; the first leads and holds invocations of a pool whose worker starts when `gate` is there.

    Yields the first, the second's name, and the invocations.
    """
    command = GATED_START.format(gate=gate.path, python=sys.executable)
    await world.api.create_unit(echo_unit("gated", ["sh", "-c", command]))
    async with activator_process(world.platform, *options) as (first, name):
        await leads(world, name)
        ids = await submit(world, "gated", count)
        await held(world, count)
        async with activator_process(world.platform, *options) as (second, other):
            await second.logged("takes part")
            leader = await Bucket(world.platform.queue, ACTIVATOR).get("leader")
            assert leader is not None
            assert leader.value.decode() == name
            yield first, other, ids


@HASTY
async def test_a18_two_activators_and_two_apis_share_the_work(world: LocalWorld) -> None:
    await world.ready_pool("p")
    ids: list[str] = []
    async with AsyncExitStack() as stack:
        both = [
            (await stack.enter_async_context(activator_process(world.platform, *HASTY_OPTIONS)))[0] for _ in range(2)
        ]
        async with asyncio.timeout(WAIT_S):
            while not all(part.dispatched for part in both):
                ids += await submit(world, "p", 20, f"round-{len(ids)}")
                await all_ended(world, ids)
        for part in both:
            assert await part.end(signal.SIGTERM) == 0
    assert_once(world, ids)
    assert sorted(both[0].dispatched + both[1].dispatched) == sorted(ids)


@HASTY
async def test_a18_what_a_killed_leader_held_comes_to_its_result(world: LocalWorld, gate: Gate) -> None:
    """The other one leads, makes a worker for a pool that has none, and takes over what was not dispatched."""
    async with first_holds(world, gate, 20, HASTY_OPTIONS) as (first, other, ids):
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        await leads(world, other)
        cold = echo_unit("cold")
        cold["serverless"]["templateOnly"] = True
        await world.api.create_unit(cold)
        answer = await world.pool("cold").call(1, invocationID="cold-1")
        workers = [unit["metadata"]["name"] for unit in world.platform.units.objects() if is_managed(unit)]
        assert answer["statusCode"] == 200
        assert answer["workerName"] in workers
        gate.open()
        await all_ended(world, ids)
    assert first.dispatched == []
    assert_once(world, [*ids, "cold-1"])


@PATIENT
async def test_a18_a_stopped_leader_hands_over_at_once(world: LocalWorld, gate: Gate) -> None:
    """Lease and ack wait are longer than the test: the other one has nothing but what was given back."""
    async with first_holds(world, gate, 20, PATIENT_OPTIONS) as (first, other, ids):
        assert await first.end(signal.SIGTERM) == 0
        await leads(world, other)
        gate.open()
        await all_ended(world, ids)
    assert first.dispatched == []
    assert_once(world, ids)


@PATIENT
async def test_a18_an_activator_stopped_at_work_leaves_nothing_undone_and_nothing_done_twice(world: LocalWorld) -> None:
    await world.ready_pool("p", [sys.executable, "-c", SLOW_CALL])
    async with AsyncExitStack() as stack:
        (first, _), (second, name) = [
            await stack.enter_async_context(activator_process(world.platform, *PATIENT_OPTIONS)) for _ in range(2)
        ]
        for part in (first, second):
            await part.logged("takes part")
        ids = await submit(world, "p", 300)
        await first.logged("event=dispatched")
        assert await first.end(signal.SIGTERM) == 0
        await leads(world, name)
        await all_ended(world, ids)
        assert await second.end(signal.SIGTERM) == 0
    assert_once(world, ids)
    assert sorted(first.dispatched + second.dispatched) == sorted(ids)


@HASTY
@pytest.mark.parametrize("has_ended", [False, True], ids=["at its worker", "ended"])
async def test_a10_what_a_dead_activator_had_dispatched_is_not_dispatched_again(
    world: LocalWorld, gate: Gate, has_ended: bool
) -> None:
    """The ack of the invocation was lost, then its activator: it is delivered again, while another worker is free."""
    if has_ended:
        gate.open()
    names = await two_workers(world, gate)
    proxy = NatsProxy(urlsplit(world.platform.nats_url).port or 0, Trap())
    proxy.losing[Step.ACK] = 1000
    async with proxy.serving():
        url = f"nats://127.0.0.1:{proxy.port}"
        async with activator_process(world.platform, *HASTY_OPTIONS, nats_url=url) as (first, _):
            [invocation_id] = await submit(world, "p", 1)
            await first.logged("event=dispatched")
            await first.end(signal.SIGKILL)
    await world.journal.wait_for(lambda _: started(world), WAIT_S, "its start")
    assert (await ingress(world)).ack_pending == 1
    if has_ended:
        await world.result_of(invocation_id)
        [dispatch] = world.journal.of_type(WorkerDispatchMessage)
        names.remove(dispatch.worker_name)
        await world.api.delete_unit(dispatch.worker_name)
        gone = ("runtime-instance", dispatch.worker_name)
        await world.platform.units.wait_for(lambda units: units.get(*gone) is None or None, WAIT_S)
    async with activator_process(world.platform, *HASTY_OPTIONS) as (second, _):
        await held(world, 0)
        assert second.dispatched == []
        [later] = await submit(world, "p", 1, "later")
        gate.open()
        await all_ended(world, [invocation_id, later])
        assert await second.end(signal.SIGTERM) == 0
    assert (first.dispatched, second.dispatched) == ([invocation_id], [later])
    assert_once(world, [invocation_id, later])
    assert later_worker(world, later) in names


async def two_workers(world: LocalWorld, gate: Gate) -> list[str]:
    """Two Ready units of the pool `p`, whose calls end when `gate` is there."""
    units = [echo_unit("p", [sys.executable, str(gate.script), str(gate.path)]) for _ in range(2)]
    units[1] |= {"name": "p-second", "operationID": "create-p-second"}
    for unit in units:
        await world.api.create_unit(unit)
    for unit in units:
        await wait_until_ready(world.platform.units, unit["name"])
    return [unit["name"] for unit in units]


def later_worker(world: LocalWorld, invocation_id: str) -> str:
    """Where an invocation was dispatched to."""
    [name] = [
        dispatch.worker_name
        for dispatch in world.journal.of_type(WorkerDispatchMessage)
        if dispatch.invocation_id == invocation_id
    ]
    return name
