"""S4: concurrent calls do not wait for each other, one at a time is one at a time, and both begin in stream order."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.proof.steps import TIMEOUT_S, Step

if TYPE_CHECKING:
    from tests.proof.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

SLOW = ["slow-1", "slow-2", "slow-3"]
FAST = [f"fast-{number}" for number in range(50)]


async def _started(stage: "Stage", count: int) -> list[str]:
    """The invocations in the order of their `invocation_started` events, once there are `count`."""
    await stage.trap.seen_times(Step.STARTED, count)
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            events = await stage.stored("metrics")
            started = [event["invocationID"] for event in events if event["eventType"] == "invocation_started"]
            if len(started) >= count:
                return started


async def test_s4_fast_calls_pass_slow_ones(stage: "Stage") -> None:
    for invocation_id in SLOW:
        stage.framework.hold(invocation_id)
    await stage.dispatch(*SLOW, *FAST)
    await stage.start_sidecar(MAX_CONCURRENCY="4")
    await stage.replied(len(FAST))
    assert {reply["invocationID"] for reply in stage.replies} == set(FAST)
    assert stage.framework.running == set(SLOW)
    for invocation_id in SLOW:
        stage.framework.release(invocation_id)
    await stage.settled()
    results = [result["invocationID"] for result in await stage.stored("result")]
    assert sorted(results) == sorted(SLOW + FAST)
    assert set(results[-len(SLOW) :]) == set(SLOW)
    assert await _started(stage, len(SLOW + FAST)) == SLOW + FAST
    assert len(stage.framework.began) == len(SLOW + FAST)
    assert stage.framework.most_running == 4


async def test_s4_one_at_a_time_is_strictly_sequential(stage: "Stage") -> None:
    stage.framework.hold("slow-1")
    await stage.dispatch("slow-1", *FAST)
    await stage.start_sidecar(MAX_CONCURRENCY="1")
    await stage.framework.ran_times(1)
    await stage.trap.seen_times(Step.PROGRESS, 4)  # more than an ack wait, in which nothing else begins
    assert stage.framework.began == ["slow-1"]
    stage.framework.release("slow-1")
    await stage.settled()
    assert stage.framework.began == ["slow-1", *FAST]
    assert stage.framework.most_running == 1
    assert [result["invocationID"] for result in await stage.stored("result")] == ["slow-1", *FAST]
    assert await _started(stage, 1 + len(FAST)) == ["slow-1", *FAST]
