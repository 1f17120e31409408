"""A sidecar that dies at any step of a dispatch leaves one result, one extra run at most, and nothing behind.

Each case stops all traffic at one step, of which the bytes were held back or passed on, kills the sidecar with
SIGKILL, and lets a fresh one finish (contract 2.6, 7.3).
"""

from typing import TYPE_CHECKING, Final

import pytest

from tests.proof.stage import end
from tests.proof.steps import Moment, Step

if TYPE_CHECKING:
    from tests.proof.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

BEFORE, AFTER = Moment.BEFORE, Moment.AFTER

RUNS: Final = {
    # Until the request reached the framework nothing ran: there is only the successor's run.
    (Step.DELIVERED, BEFORE): 1,
    (Step.DELIVERED, AFTER): 1,
    (Step.REQUEST, BEFORE): 1,
    # The event is not on the call's path (S28): the handler may have begun.
    (Step.STARTED, BEFORE): 2,
    (Step.STARTED, AFTER): 2,
    # The handler ran, but the server was not told that the message is done: the extra run.
    (Step.REQUEST, AFTER): 2,
    (Step.HALF_ANSWER, BEFORE): 2,
    (Step.HALF_ANSWER, AFTER): 2,
    (Step.ANSWER, AFTER): 2,
    (Step.RESULT, BEFORE): 2,
    (Step.RESULT, AFTER): 2,
    (Step.RESULT_STORED, BEFORE): 2,
    (Step.RESULT_STORED, AFTER): 2,
    (Step.REPLY, BEFORE): 2,
    (Step.REPLY, AFTER): 2,
    (Step.FINISHED, BEFORE): 2,
    (Step.FINISHED, AFTER): 2,
    (Step.ACK, BEFORE): 2,
    # The server has the ack: the message does not come again.
    (Step.ACK, AFTER): 1,
    (Step.ACK_CONFIRMED, BEFORE): 1,
    (Step.ACK_CONFIRMED, AFTER): 1,
}
"""How often the handler runs at most, for a sidecar killed at that step."""


async def _kill_at(stage: "Stage", step: Step, moment: Moment) -> int:
    """Kill the sidecar at a step of an invocation, let a successor finish; return how many deliveries it took."""
    stage.trap.set_at(step, moment)
    await stage.dispatch("inv-1")
    sidecar = await stage.start_sidecar()
    await stage.trap.closed()
    await end(sidecar)
    await stage.proxy.drop()
    await stage.framework.drop()
    stage.trap.open()
    await stage.start_sidecar()
    deliveries = await stage.settled()
    await stage.replied(1)
    return deliveries


@pytest.mark.parametrize(("step", "moment"), RUNS, ids=[f"{step}-{moment}" for step, moment in RUNS])
async def test_killed_at(stage: "Stage", step: Step, moment: Moment) -> None:
    deliveries = await _kill_at(stage, step, moment)
    (result,) = await stage.stored("result")
    assert (result["invocationID"], result["state"]) == ("inv-1", "succeeded")
    assert {reply["state"] for reply in stage.replies} == {"succeeded"}
    assert 1 <= len(stage.framework.began) <= RUNS[step, moment]
    assert len(stage.framework.began) <= deliveries <= 2
    assert await stage.stored("dlq") == []


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="S11: the memory of results dies with the process")
async def test_s11_the_caller_of_a_second_run_gets_the_stored_result(stage: "Stage") -> None:
    await _kill_at(stage, Step.RESULT_STORED, AFTER)
    (result,) = await stage.stored("result")
    assert stage.replies == [result]
