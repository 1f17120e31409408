"""Invocations on their way through the platform: answered, repeated, shared out, misdirected, failed, taken back."""

import base64
from typing import Final

from scenarios.world import RESULT_TIMEOUT_S, World, body_of, expect
from sidecar.messages import DeadLetterMessage, Event, FailureClass, InvocationResultMessage, State
from simulator.dead_letters_client import DeadLettersClient
from simulator.journal import Journal

ROBOT: Final = {"prompt": "draw a robot"}
GENERATE: Final = {"path": "/generate", "method": "POST"}


async def sync_echo(world: World) -> None:
    """A sync call is answered by the worker's echo, and the same result is stored once."""
    pool = await world.ready_pool("sd-webui")

    answer = await pool.call(ROBOT, attributes=GENERATE)

    expect("status code", answer["statusCode"], 200)
    expect("state", answer["state"], State.SUCCEEDED)
    expect("worker", answer["workerName"], pool.workers[0])
    expect("payload that the handler saw", answer["body"]["payload"], ROBOT)
    expect("attributes that the handler saw", answer["body"]["attributes"], GENERATE)
    stored = await world.result_of(answer["invocationID"])
    expect("stored body", body_of(stored), answer["body"])
    await world.events_of(answer["invocationID"], last=Event.FINISHED)
    expect("stored results", len(world.results_of(answer["invocationID"])), 1)


async def async_echo(world: World) -> None:
    """An async call is accepted at once; its result and its metric events follow on their subjects."""
    pool = await world.ready_pool("sd-webui")

    receipt = await pool.submit(ROBOT, headers={"x-trace": "t-88"})

    expect("duplicate", receipt["duplicate"], False)
    expect("result subject", receipt["resultSubject"], world.target.queue.subjects.result(pool.request_id))
    result = await world.result_of(receipt["invocationID"])
    expect("state", result.state, State.SUCCEEDED)
    expect("status code", result.status_code, 200)
    expect("payload that the handler saw", body_of(result)["payload"], ROBOT)
    events = await world.events_of(receipt["invocationID"], last=Event.FINISHED)
    expect("events", [event.event_type for event in events], [Event.STARTED, Event.FINISHED])
    expect("in flight at each event", [event.inflight for event in events], [1, 0])
    expect("stored results", len(world.results_of(receipt["invocationID"])), 1)


async def repeated_invocation(world: World) -> None:
    """An invocation that is sent twice with the same ID runs once and has one result."""
    pool = await world.ready_pool("sd-webui")

    order, next_order = world.name("order-1"), world.name("order-2")
    first = await pool.submit(ROBOT, invocationID=order)
    again = await pool.submit(ROBOT, invocationID=order)
    later = await pool.submit(ROBOT, invocationID=next_order)

    expect("duplicate flags", [first["duplicate"], again["duplicate"], later["duplicate"]], [False, True, False])
    expect("sequence of the repetition", again["sequence"], first["sequence"])
    # The worker takes one call at a time: when the next order is finished, nothing of the first is still to come.
    await world.events_of(next_order, last=Event.FINISHED)
    events = await world.events_of(order, last=Event.FINISHED)
    expect("events", [event.event_type for event in events], [Event.STARTED, Event.FINISHED])
    expect("stored results", len(world.results_of(order)), 1)


async def no_such_pool(world: World) -> None:
    """A call to a pool that nobody serves gets a failed result that says so, stored and answered."""
    await world.ready_pool("sd-webui")

    absent = world.pool("tts-small")
    answer = await absent.call(ROBOT)

    expect("status code", answer["statusCode"], 503)
    expect("state", answer["state"], State.FAILED)
    expect("failure class", answer["failureClass"], FailureClass.NO_WORKER_TEMPLATE)
    expect("pool is named", absent.request_id in answer["error"], True)
    stored = await world.result_of(answer["invocationID"])
    expect("stored failure class", stored.failure_class, FailureClass.NO_WORKER_TEMPLATE)
    expect("worker", stored.worker_name, "")


async def failing_handler(world: World) -> None:
    """A handler that raises gives a failed result with its error text, once, and the worker takes the next call."""
    pool = await world.ready_pool("broken", world.misbehaving)

    for name in (world.name("first"), world.name("second")):
        answer = await pool.call(ROBOT, invocationID=name, attributes={"error": f"out of memory in {name}"})
        expect("status code", answer["statusCode"], 500)
        expect("state", answer["state"], State.FAILED)
        expect("failure class", answer["failureClass"], FailureClass.HANDLER_ERROR)
        expect("error text", answer["error"], f"out of memory in {name}")
        events = await world.events_of(name, last=Event.FAILED)
        expect("events", [event.event_type for event in events], [Event.STARTED, Event.FAILED])
        expect("stored results", len(world.results_of(name)), 1)


async def crashing_framework(world: World) -> None:
    """A framework that dies in the middle of a call fails that call, once; it comes back and serves the next."""
    pool = await world.ready_pool("crashing", world.misbehaving)
    crash = world.name("crash")

    answer = await pool.call(ROBOT, invocationID=crash, attributes={"exit_code": "3"})

    expect("state", answer["state"], State.FAILED)
    expect("failure class", answer["failureClass"], FailureClass.FRAMEWORK_ERROR)
    await world.worker_events(pool.workers[0], last=Event.FRAMEWORK_HEALTHY)
    expect("state of the next", (await pool.call(ROBOT))["state"], State.SUCCEEDED)
    expect("stored results", len(world.results_of(crash)), 1)


async def async_burst(world: World) -> None:
    """A burst of async calls is shared out among two workers, and each call has one result."""
    pool = await world.ready_pool("burst", world.misbehaving, workers=2)
    names = [world.name(f"burst-{number}") for number in range(40)]

    for name in names:
        await pool.submit(ROBOT, invocationID=name, attributes={"delay": "50ms"})

    results = [await world.result_of(name) for name in names]
    expect("states", {result.state for result in results}, {State.SUCCEEDED})
    expect("workers", {result.worker_name for result in results}, set(pool.workers))
    last = world.name("after-the-burst")
    await pool.call(ROBOT, invocationID=last)
    await world.result_of(last)
    stored = [each.invocation_id for each in world.journal.of_type(InvocationResultMessage)]
    expect("stored results", sorted(each for each in stored if each in names), sorted(names))


async def dead_pool(world: World) -> None:
    """A call to a pool whose workers cannot start gets a failed result that says why, and not a timeout."""
    pool = await world.new_pool("dead", (world.target.python, "-c", "raise SystemExit('no model at /models')"))

    answer = await pool.call(ROBOT, timeoutSeconds=90)

    expect("status code", answer["statusCode"], 503)
    expect("state", answer["state"], State.FAILED)
    expect("failure class", answer["failureClass"], FailureClass.ACTIVATION_TIMEOUT)
    expect("reason is named", "no model at /models" in answer["error"], True)


async def cancel(world: World) -> None:
    """A call that is taken back ends at once, be it waiting or running, and its worker is free again."""
    pool = await world.ready_pool("cancelled", world.misbehaving)
    running, waiting = world.name("running"), world.name("waiting")
    await pool.submit(ROBOT, invocationID=running, attributes={"delay": "30s"})
    await world.events_of(running, last=Event.STARTED)
    await pool.submit(ROBOT, invocationID=waiting)

    for name in (waiting, running):
        await world.api.cancel(name)

    for name in (waiting, running):
        result = await world.result_of(name)
        expect("state", result.state, State.FAILED)
        expect("failure class", result.failure_class, FailureClass.CANCELLED)
    expect("state of the next", (await pool.call(ROBOT))["state"], State.SUCCEEDED)
    expect("dispatches of the one that waited", world.workers_of(waiting), [])


async def dead_letter(world: World) -> None:
    """A message that nobody can read becomes one dead letter that holds its bytes, and harms no call after it."""
    pool, garbage = await world.ready_pool("letters"), b"\xff\x00 no json"
    subject = world.target.queue.subjects.invoke(pool.request_id)

    await world.target.queue.publish(subject, garbage, message_id=world.name("garbage"))

    def buried(journal: Journal) -> int | None:
        for entry in journal.entries:
            if isinstance(entry.message, DeadLetterMessage) and entry.message.original_subject == subject:
                return entry.sequence
        return None

    sequence = await world.journal.wait_for(buried, RESULT_TIMEOUT_S, f"a dead letter from {subject}")
    async with DeadLettersClient(world.target.api_url) as letters:
        letter = await letters.get(sequence)
        await letters.drop(sequence)
    expect("failure class", letter["failureClass"], FailureClass.MALFORMED_MESSAGE)
    expect("bytes", base64.b64decode(letter["originalBase64"]), garbage)
    expect("state of the next", (await pool.call(ROBOT))["state"], State.SUCCEEDED)


SCRIPTS = (
    sync_echo,
    async_echo,
    repeated_invocation,
    no_such_pool,
    failing_handler,
    crashing_framework,
    async_burst,
    dead_pool,
    cancel,
    dead_letter,
)
