"""S30 through the whole platform: a caller's trace context arrives at the handler, and in what the stream keeps."""

import sys

import nats
import pytest

from scenarios.local_world import LocalWorld

pytestmark = pytest.mark.e2e

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HANDLER = """
from framework import call
from framework.server import run

def handle(request):
    headers = call.current().headers
    return {name: headers.get(name) for name in ("traceparent", "tracestate")}

run(handle)
"""
framework = pytest.mark.platform(framework_command=(sys.executable, "-c", HANDLER), open=True)


@framework
async def test_a_callers_trace_context_reaches_the_handler_and_the_stream(world: LocalWorld) -> None:
    pool = await world.ready_pool("p")
    answer = await pool.call({}, invocationID="traced", headers={"traceparent": PARENT, "tracestate": "v=1"})
    assert answer["body"] == {"traceparent": PARENT, "tracestate": "v=1"}
    assert (await pool.call({}, headers={"traceparent": "nonsense"}))["body"] == {
        "traceparent": None,
        "tracestate": None,
    }
    await world.events_of("traced", "invocation_finished")
    async with await nats.connect(world.platform.nats_url) as client:
        for family in ("invoke.p", "dispatch.p.p-template", "result.p"):
            stored = await client.jetstream().get_msg(
                "RUNTIME_SERVERLESS", subject=f"runtime.serverless.{family}", seq=1, next=True
            )
            assert (stored.headers or {})["traceparent"] == PARENT, family
