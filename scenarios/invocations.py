"""One invocation on its way through the platform: answered, repeated, misdirected, failed."""

from typing import Final

from scenarios.world import FAILING_WORKER, World, body_of, expect
from sidecar.messages import Event, FailureClass, State

ROBOT: Final = {"prompt": "draw a robot"}
GENERATE: Final = {"path": "/generate", "method": "POST"}


async def sync_echo(world: World) -> None:
    """A sync call is answered by the worker's echo, and the same result is stored once."""
    pool = await world.ready_pool("sd-webui")

    answer = await pool.call(ROBOT, attributes=GENERATE)

    expect("status code", answer["statusCode"], 200)
    expect("state", answer["state"], State.SUCCEEDED)
    expect("worker", answer["workerName"], "sd-webui-template")
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
    expect("result subject", receipt["resultSubject"], "runtime.serverless.result.sd-webui")
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

    first = await pool.submit(ROBOT, invocationID="order-1")
    again = await pool.submit(ROBOT, invocationID="order-1")
    later = await pool.submit(ROBOT, invocationID="order-2")

    expect("duplicate flags", [first["duplicate"], again["duplicate"], later["duplicate"]], [False, True, False])
    expect("sequence of the repetition", again["sequence"], first["sequence"])
    # The worker takes one call at a time: when order-2 is finished, nothing of order-1 is still to come.
    await world.events_of("order-2", last=Event.FINISHED)
    events = await world.events_of("order-1", last=Event.FINISHED)
    expect("events", [event.event_type for event in events], [Event.STARTED, Event.FINISHED])
    expect("stored results", len(world.results_of("order-1")), 1)


async def no_such_pool(world: World) -> None:
    """A call to a pool that nobody serves gets a failed result that says so, stored and answered."""
    await world.ready_pool("sd-webui")

    answer = await world.pool("tts-small").call(ROBOT)

    expect("status code", answer["statusCode"], 503)
    expect("state", answer["state"], State.FAILED)
    expect("failure class", answer["failureClass"], FailureClass.NO_WORKER_TEMPLATE)
    expect("pool is named", "tts-small" in answer["error"], True)
    stored = await world.result_of(answer["invocationID"])
    expect("stored failure class", stored.failure_class, FailureClass.NO_WORKER_TEMPLATE)
    expect("worker", stored.worker_name, "")


async def failing_handler(world: World) -> None:
    """A handler that raises gives a failed result with its error text, once, and the worker takes the next call."""
    pool = await world.ready_pool("broken", command=FAILING_WORKER)

    answers = [await pool.call(ROBOT, invocationID=name) for name in ("first", "second")]

    for name, answer in zip(("first", "second"), answers, strict=True):
        expect("status code", answer["statusCode"], 500)
        expect("state", answer["state"], State.FAILED)
        expect("failure class", answer["failureClass"], FailureClass.HANDLER_ERROR)
        expect("error text", answer["error"], f"out of memory while handling {name}")
        events = await world.events_of(name, last=Event.FAILED)
        expect("events", [event.event_type for event in events], [Event.STARTED, Event.FAILED])
        expect("stored results", len(world.results_of(name)), 1)


SCRIPTS = (sync_echo, async_echo, repeated_invocation, no_such_pool, failing_handler)
