"""What callers see when something is lost or cut off under them: a pod, a sidecar, a framework, the queue."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from scenarios.world import Pool, World, expect
from sidecar.messages import Event, InvocationResultMessage, State
from simulator.gpuunit import ACTIVE_NAMESPACE, RUNTIME_CONTAINER, is_ready
from simulator.reconciler.status import WAITING_FOR_SIDECAR
from simulator.targets.faults import Fault
from simulator.targets.pods import wait_until_restarted
from simulator.waiting import explain, wait_until_unready

RESTART_TIMEOUT_S: Final = 30.0
LONG: Final = {"delay": "2s"}
SHORTER_THAN_DYING: Final = {"delay": "3s"}
"""A pod that is deleted without grace is gone for the cluster at once, but its kubelet gives it some four seconds: two
for the hook, two to end."""
MOST_KILLS: Final = 4
"""On a busy machine a call may be done before its pod is gone: that proves nothing, and another one is killed."""


async def pod_killed(world: World) -> None:
    """A call whose worker's pod is killed is given to another worker at once, and has one result whoever is first."""
    pool = await world.ready_pool("killed", world.misbehaving, workers=2)
    attempts: list[str] = []
    for number in range(MOST_KILLS):
        call = world.name(f"call-{number}")
        await pool.submit({}, invocationID=call, attributes=SHORTER_THAN_DYING)
        [lost] = {event.worker_name for event in await world.events_of(call, last=Event.STARTED)}

        await world.inject(Fault.POD_KILLED, lost)

        result = await world.result_of(call)
        expect("state", result.state, State.SUCCEEDED)
        await world.events_of(call, last=Event.FINISHED)
        expect("stored results", len(world.results_of(call)), 1)
        attempts = world.workers_of(call)
        expect("first worker", attempts[0], lost)
        if len(attempts) > 1:
            break
    expect("attempts", len(attempts), 2)
    expect("workers of the attempts", len(set(attempts)), 2)


async def sidecar_ends(world: World) -> None:
    """A sidecar that is told to end finishes its call first; it comes back to its framework, and serves the next."""
    pool, call = await _ended_in_a_call(world, Fault.SIDECAR_ENDS)
    [worker] = pool.workers
    said = await world.worker_events(worker, last=Event.REGISTERED, after=1)
    expect("what the worker said", said, [Event.DEREGISTERED, Event.REGISTERED])
    expect("worker of the next", (await pool.call({}))["workerName"], worker)
    expect("stored results", len(world.results_of(call)), 1)


async def framework_ends(world: World) -> None:
    """A framework that is told to end finishes its call first; it is started again, and serves the next."""
    pool, call = await _ended_in_a_call(world, Fault.FRAMEWORK_ENDS)
    [worker] = pool.workers
    await wait_until_restarted(world.target.cluster, worker, RUNTIME_CONTAINER, RESTART_TIMEOUT_S)
    expect("state of the next", (await pool.call({}))["state"], State.SUCCEEDED)
    expect("stored results", len(world.results_of(call)), 1)


async def _ended_in_a_call(world: World, fault: Fault) -> tuple[Pool, str]:
    """A new pool whose only worker is hit by the fault in the middle of a call and finishes it; and that call."""
    pool = await world.ready_pool(fault, world.misbehaving)
    [worker] = pool.workers
    call = world.name("call")
    await pool.submit({}, invocationID=call, attributes=LONG)
    await world.events_of(call, last=Event.STARTED)

    await world.inject(fault, worker)

    result = await world.result_of(call)
    expect("state", result.state, State.SUCCEEDED)
    expect("attempts", world.workers_of(call), [worker])
    return pool, call


async def queue_restarts(world: World) -> None:
    """Of calls that wait or run while the queue's server restarts none is lost, and each has one result."""
    pool = await world.ready_pool("restart", world.misbehaving)
    names = [world.name(f"call-{number}") for number in range(10)]
    for name in names:
        await pool.submit({}, invocationID=name, attributes={"delay": "500ms"})
    await world.result_of(names[0])
    # A server that is told to end may go on for a second: what is left of the calls takes longer.
    expect("most calls are to come", sum(bool(world.results_of(name)) for name in names) < len(names) / 2, True)

    await world.inject(Fault.QUEUE_RESTARTS)

    results = [await world.result_of(name) for name in names]
    expect("states", {result.state for result in results}, {State.SUCCEEDED})
    expect("state of the next", (await pool.call({}))["state"], State.SUCCEEDED)
    stored = [each.invocation_id for each in world.journal.of_type(InvocationResultMessage)]
    expect("stored results", sorted(each for each in stored if each in names), sorted(names))


async def cut_off_from_the_queue(world: World) -> None:
    """A worker that cannot reach the queue is not Ready, its unit says why, and the pool's other workers serve on."""
    pool = await world.ready_pool("cut-off", world.misbehaving, workers=2)
    cut, other = pool.workers

    await world.inject(Fault.QUEUE_UNREACHABLE, cut)

    await wait_until_unready(world.target.units, cut)
    # Its sidecar starts again, which takes a moment without the fault as well; these calls take longer.
    answers = [await pool.call({}, attributes={"delay": "1s"}) for _ in range(6)]
    expect("workers of the calls", {answer["workerName"] for answer in answers}, {other})
    unit = world.target.units.get(ACTIVE_NAMESPACE, cut) or {}
    expect("unit that is cut off is Ready", is_ready(unit), False)
    expect("its reason", explain(unit), f"UnitProgressing: {WAITING_FOR_SIDECAR}")


SCRIPTS: Final[Mapping[Callable[[World], Awaitable[None]], list[Fault]]] = {
    pod_killed: [Fault.POD_KILLED],
    sidecar_ends: [Fault.SIDECAR_ENDS],
    framework_ends: [Fault.FRAMEWORK_ENDS],
    queue_restarts: [Fault.QUEUE_RESTARTS],
    cut_off_from_the_queue: [Fault.QUEUE_UNREACHABLE],
}
