"""The dispatches of lost workers on a real stream: moved once, then nothing of the worker is left (S13)."""

import pytest

from sidecar.messages import (
    Event,
    FailureClass,
)
from simulator.activator.fleet import Condition
from tests.activator.parts import until
from tests.activator.reaper_rig import Rig, ids, take

pytestmark = pytest.mark.e2e


async def test_a_gone_workers_consumer_is_paused_then_emptied_then_deleted(rig: Rig) -> None:
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    await rig.dispatch("b", "w")
    async with rig.sidecar("w") as sidecar:
        assert ids(await take(sidecar, 1)) == ["a"]
        rig.units.hide("w")
        rig.pods.hide("w-0")
        first, second = await rig.orphans("a", "b")
        assert [(held.attempt, held.runs) for held in (first, second)] == [(2, 1), (2, 0)], "only one may have run"
        assert first.invocation.attributes == {"of": "a"}
        state = await rig.state("w")
        assert state is not None
        assert state.paused
        assert rig.reaper.waiting("p") == 2
        await rig.route(first, "other")
        await rig.settled()
        assert await rig.state("w") is not None, "one is left"
        await rig.route(second, "other")
        await rig.until_gone("w")
    assert rig.reaper.waiting("p") == 0
    assert len(rig.arrived) == 2


async def test_a_workers_next_sidecar_begins_behind_what_is_moved(rig: Rig) -> None:
    await rig.worker("w")
    before = [await rig.dispatch(each, "w") for each in ("a", "b")]
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
    rig.pod("w", "terminated")
    await rig.orphans("a", "b")
    state = await rig.state("w")
    assert state is not None
    assert (state.paused, state.pending) == (False, 0)
    assert state.start > before[1]
    rig.pod("w")
    await rig.says("w", Event.REGISTERED)
    await until(lambda: rig.condition("w") is Condition.LIVE)
    async with rig.sidecar("w") as sidecar:
        await rig.route(rig.arrived[0], "w")
        assert ids(await take(sidecar, 1)) == ["a"], "moved to itself, once"
    await rig.settled()
    assert len(rig.arrived) == 2


async def test_a_worker_that_came_back_first_keeps_what_it_may_be_doing(rig: Rig) -> None:
    """Its new sidecar registered before the consumer was paused, so it may run what was dispatched."""
    await rig.worker("w")
    await rig.dispatch("a", "w")
    rig.hears.clear()
    await rig.says("w", Event.REGISTERED)
    await rig.caught_up()
    rig.pod("w", "terminated")
    assert rig.condition("w") is Condition.LOST
    await rig.settled()
    state = await rig.state("w")
    assert state is not None
    assert (state.paused, state.pending, rig.arrived) == (False, 1, [])


async def test_what_is_lost_after_it_registered_is_moved_whoever_read_that_last(rig: Rig) -> None:
    """A worker that registers and dies at once is lost, also where the ledger hears of the first later."""
    await rig.worker("w")
    await rig.dispatch("a", "w")
    position, rig.ledger.position = rig.ledger.position, 0
    rig.pod("w", "terminated")
    rig.ledger.position = position
    await rig.orphans("a")


async def test_a_worker_of_another_pool_now_leaves_nothing_behind(rig: Rig) -> None:
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    rig.unit("w", pool="q")
    await rig.settled()
    assert rig.arrived == [], "its sidecar runs"
    rig.pods.hide("w-0")
    await rig.orphans("a")
    await rig.route(rig.arrived[0], "other")
    await rig.until_gone("w")


async def test_a_draining_sidecar_is_left_in_peace_until_it_ends(rig: Rig) -> None:
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    rig.pod("w", leaving=True)
    rig.units.hide("w")
    await rig.settled()
    state = await rig.state("w")
    assert state is not None
    assert (rig.arrived, state.paused) == ([], False)
    await rig.end("a")
    await rig.says("w", Event.DEREGISTERED)
    rig.pods.hide("w-0")
    await rig.until_gone("w")
    assert rig.arrived == []


async def test_what_a_sidecar_gave_back_in_good_order_did_not_run(rig: Rig) -> None:
    await rig.worker("w", onWorkerLoss="never")
    await rig.worker("other", onWorkerLoss="never")
    await rig.dispatch("a", "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
    await rig.says("w", Event.DEREGISTERED)
    await rig.orphans("a")
    assert rig.failed == []


async def test_where_nothing_may_run_twice_only_what_was_not_delivered_is_moved(rig: Rig) -> None:
    await rig.worker("w", onWorkerLoss="never")
    await rig.worker("other", onWorkerLoss="never")
    for each in ("a", "b"):
        await rig.dispatch(each, "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
    rig.pod("w", "terminated")
    await rig.orphans("b")
    assert [(each, failure.failure_class) for each, failure in rig.failed] == [("a", FailureClass.WORKER_LOST)]
