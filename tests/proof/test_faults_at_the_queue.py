"""Lost messages, cut connections and a restarted server: a sidecar that lives on never runs a job twice."""

import signal
from typing import TYPE_CHECKING, Final

import pytest

from tests.proof.stage import end
from tests.proof.steps import REPLIES, Moment, Step

if TYPE_CHECKING:
    from tests.proof.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NO_REPLIES: Final = f"""
authorization {{
  users = [
    {{ user: sidecar, password: sidecar, permissions: {{ publish: {{ deny: ["{REPLIES}.>"] }} }} }}
    {{ user: test, password: test }}
  ]
}}
"""


async def test_s9_a_lost_puback_repeats_the_publish_and_not_the_run(stage: "Stage") -> None:
    stage.proxy.losing[Step.RESULT_STORED] = 1
    await stage.dispatch("inv-1")
    await stage.start_sidecar()
    deliveries = await stage.settled()
    await stage.replied(1)
    assert stage.trap.seen.count(Step.RESULT) == 2
    assert stage.framework.began == ["inv-1"]
    assert len(await stage.stored("result")) == 1
    assert deliveries == 1


async def test_s10_a_reply_that_the_server_refuses_is_no_reason_to_run_again(stage: "Stage") -> None:
    await stage.end_server()
    await stage.start_server(NO_REPLIES)
    await stage.dispatch("inv-1")
    await stage.start_sidecar()
    deliveries = await stage.settled()
    assert stage.trap.seen.count(Step.REPLY) == 1
    assert stage.framework.began == ["inv-1"]
    assert [result["state"] for result in await stage.stored("result")] == ["succeeded"]
    assert deliveries == 1
    assert stage.replies == []


async def test_s11_a_redelivery_during_the_run_is_answered_by_that_run(stage: "Stage") -> None:
    stage.proxy.losing[Step.PROGRESS] = 1_000_000
    stage.framework.hold("inv-1")
    await stage.dispatch("inv-1")
    await stage.start_sidecar(MAX_CONCURRENCY="2")
    await stage.trap.seen_times(Step.DELIVERED, 2)
    stage.framework.release("inv-1")
    await stage.settled()
    await stage.replied(1)
    assert stage.framework.began == ["inv-1"]
    (result,) = await stage.stored("result")
    assert all(reply == result for reply in stage.replies)


async def test_s5_a_run_of_several_ack_waits_is_not_repeated(stage: "Stage") -> None:
    stage.framework.hold("inv-1")
    await stage.dispatch("inv-1")
    # Room for a second run: the pull request stays open, so that a redelivery would come at once.
    await stage.start_sidecar(MAX_CONCURRENCY="2")
    await stage.trap.seen_times(Step.PROGRESS, 8)
    stage.framework.release("inv-1")
    deliveries = await stage.settled()
    assert stage.framework.began == ["inv-1"]
    assert len(await stage.stored("result")) == 1
    assert deliveries == 1


@pytest.mark.parametrize(
    "step", [Step.DELIVERED, Step.RESULT, Step.RESULT_STORED, Step.REPLY, Step.ACK, Step.ACK_CONFIRMED]
)
async def test_s26_a_connection_cut_at(stage: "Stage", step: Step) -> None:
    """S9, S10, S11 and S26: the process lives on and remembers, so whatever is lost costs no second run."""
    stage.trap.set_at(step, Moment.BEFORE)
    await stage.dispatch("inv-1")
    sidecar = await stage.start_sidecar()
    await stage.trap.closed()
    await stage.proxy.drop()
    stage.trap.open()
    await stage.settled()
    assert stage.framework.began == ["inv-1"]
    (result,) = await stage.stored("result")
    assert result["state"] == "succeeded"
    assert all(reply == result for reply in stage.replies)
    assert sidecar.returncode is None


async def test_s26_a_call_goes_on_while_the_server_cannot_be_reached(stage: "Stage") -> None:
    stage.framework.hold("inv-1")
    await stage.dispatch("inv-1")
    sidecar = await stage.start_sidecar()
    await stage.framework.ran_times(1)
    stage.proxy.refusing = True
    await stage.proxy.drop()
    stage.framework.release("inv-1")
    await stage.trap.seen_times(Step.ANSWER, 1)
    assert await stage.stored("result") == []
    stage.proxy.refusing = False
    await stage.settled()
    await stage.replied(1)
    assert stage.framework.began == ["inv-1"]
    (result,) = await stage.stored("result")
    assert result["state"] == "succeeded"
    assert all(reply == result for reply in stage.replies)
    assert sidecar.returncode is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
async def test_s26_a_call_outlives_a_restart_of_the_server(stage: "Stage", number: signal.Signals) -> None:
    stage.framework.hold("inv-1")
    await stage.dispatch("inv-1", "inv-2")
    sidecar = await stage.start_sidecar()
    await stage.framework.ran_times(1)
    await stage.end_server(number)
    stage.framework.release("inv-1")
    await stage.trap.seen_times(Step.ANSWER, 1)
    await stage.start_server()
    await stage.settled()
    assert stage.framework.began == ["inv-1", "inv-2"]
    states = {result["invocationID"]: result["state"] for result in await stage.stored("result")}
    assert states == {"inv-1": "succeeded", "inv-2": "succeeded"}
    assert len(await stage.stored("result")) == 2
    assert sidecar.returncode is None


async def test_s14_an_idle_sidecar_stops_in_order_while_the_server_is_away(stage: "Stage") -> None:
    await stage.dispatch("inv-1")
    sidecar = await stage.start_sidecar(NATS_URL=stage.direct_url)
    await stage.settled()
    await stage.end_server()
    await end(sidecar, signal.SIGTERM)
    assert sidecar.returncode == 0


async def test_s14_a_busy_sidecar_stops_in_order_while_the_server_is_away(stage: "Stage") -> None:
    stage.framework.hold("inv-1")
    await stage.dispatch("inv-1")
    sidecar = await stage.start_sidecar(NATS_URL=stage.direct_url, DRAIN_TIMEOUT="500ms")
    await stage.framework.ran_times(1)
    await stage.end_server()
    await end(sidecar, signal.SIGTERM)
    assert sidecar.returncode == 0
    stage.framework.release("inv-1")
    await stage.start_server()
    await stage.start_sidecar()
    await stage.settled()
    assert stage.framework.began == ["inv-1", "inv-1"]
    assert [result["state"] for result in await stage.stored("result")] == ["succeeded"]


async def test_q4_deliveries_used_up_by_crashes_end_in_a_dead_letter_and_an_answer(stage: "Stage") -> None:
    """Q3, Q4: no process lives to see the last delivery's end, and the caller still learns of it."""
    await stage.dispatch("inv-1")
    for _ in range(2):
        stage.trap.set_at(Step.REQUEST, Moment.AFTER)
        sidecar = await stage.start_sidecar(DISPATCH_MAX_DELIVER="2")
        await stage.trap.closed()
        await end(sidecar)
        await stage.proxy.drop()
        await stage.framework.drop()
        stage.trap.open()
    await stage.start_sidecar(DISPATCH_MAX_DELIVER="2")
    await stage.settled()
    await stage.replied(1)
    assert stage.framework.began == ["inv-1", "inv-1"]
    (letter,) = await stage.stored("dlq")
    (result,) = await stage.stored("result")
    assert (letter["invocationID"], letter["failureClass"]) == ("inv-1", "retry_exhausted")
    assert (result["state"], result["failureClass"]) == ("failed", "retry_exhausted")
    assert stage.replies == [result]
