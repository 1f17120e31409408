"""What a reaper finds: what former leaders left half done, and what came too late or cannot be moved (S13)."""

import pytest

from sidecar.messages import (
    Event,
    FailureClass,
)
from sidecar.subjects import sidecar_consumer
from simulator.jetstream.consumers import pause_consumer
from simulator.jetstream.stored import delete_message
from simulator.worker_consumer import make_worker_consumer
from tests.activator.parts import until
from tests.activator.reaper_rig import Rig, take

pytestmark = pytest.mark.e2e


async def test_the_next_leader_goes_on_where_the_last_one_stopped(rig: Rig) -> None:
    """A18: nothing is lost, nothing is held by who leads no longer, and no consumer stays paused."""
    await rig.worker("other")
    await rig.worker("w")
    await rig.dispatch("a", "w")
    await rig.dispatch("b", "w")
    rig.units.hide("w")
    rig.pods.hide("w-0")
    first, second = await rig.orphans("a", "b")
    await rig.route(first, "other")
    await rig.hand_over()
    assert not rig.held.has(second)
    [again] = await rig.orphans("b")
    await rig.route(again, "other")
    await rig.until_gone("w")
    assert rig.held.count == 0


async def test_the_next_leader_finds_what_was_not_moved_when_the_consumer_was_made_anew(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    rig.pod("w", "terminated")
    await rig.orphans("a")
    await rig.hand_over()
    await rig.orphans("a")
    assert rig.arrived[0].attempt == 2


async def test_the_next_leader_resumes_what_was_left_paused(rig: Rig) -> None:
    await rig.worker("w")
    await rig.settled()
    await pause_consumer(rig.queue, sidecar_consumer("w"))
    await rig.hand_over()

    async def resumed() -> bool:
        state = await rig.state("w")
        return state is not None and not state.paused

    await rig.until(resumed)


async def test_the_next_leader_makes_the_consumer_that_the_last_one_deleted(rig: Rig) -> None:
    """Only the platform can: a sidecar's identity may not."""
    await rig.worker("w")
    rig.pod("w", "terminated")
    await rig.settled()
    rig.leads = False
    await rig.dispatch("a", "w")
    await rig.queue.delete_consumer(sidecar_consumer("w"))
    await rig.hand_over()
    await rig.orphans("a")
    assert await rig.state("w") is not None


async def test_a_dispatch_to_a_worker_that_is_gone_already_is_found(rig: Rig) -> None:
    """A11: whoever gave it work last did not know yet. No consumer takes from that subject."""
    await rig.worker("w")
    await rig.worker("other")
    rig.units.hide("w")
    rig.pods.hide("w-0")
    await rig.until_gone("w")
    await rig.dispatch("late", "w")
    [held] = await rig.orphans("late")
    assert held.runs == 0
    await rig.route(held, "other")
    await rig.settled()
    assert len(rig.arrived) == 1


async def test_a_dispatch_to_a_worker_that_was_just_lost_is_found(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    rig.pod("w", "terminated")
    await rig.orphans("a")
    await rig.settled()
    await rig.dispatch("late", "w")
    await rig.orphans("a", "late")


async def test_what_ended_meanwhile_is_not_moved(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    await rig.end("a")
    rig.units.hide("w")
    rig.pods.hide("w-0")
    await rig.until_gone("w")
    assert (rig.arrived, rig.failed) == ([], [])


async def test_an_orphan_whose_result_comes_late_waits_no_longer(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    rig.units.hide("w")
    rig.pods.hide("w-0")
    await rig.orphans("a")
    await rig.end("a")
    await rig.until_gone("w")
    assert rig.reaper.waiting("p") == 0
    assert rig.held.count == 0


async def test_a_dispatch_that_is_no_longer_in_the_stream_fails(rig: Rig) -> None:
    """Nobody knows what was asked: it is not dispatched without its payload."""
    await rig.worker("w")
    sequence = await rig.dispatch("a", "w")
    await delete_message(rig.queue, sequence)
    rig.pod("w", "terminated")
    await until(lambda: rig.failed)
    assert [(each, failure.failure_class) for each, failure in rig.failed] == [("a", FailureClass.WORKER_LOST)]
    assert rig.arrived == []


async def test_a_dispatch_that_cannot_be_read_fails(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w", body=b'{"headers":7}')
    rig.pod("w", "terminated")
    await until(lambda: rig.failed)
    assert [(each, failure.failure_class) for each, failure in rig.failed] == [("a", FailureClass.MALFORMED_MESSAGE)]
    assert rig.arrived == []


async def test_a_late_word_of_a_lost_worker_leaves_its_orphans_waiting(rig: Rig) -> None:
    """Who waits for a second worker counts, so that a pool at zero gets one."""
    await rig.worker("w")
    await rig.dispatch("a", "w")
    rig.pod("w", "terminated")
    await rig.orphans("a")
    await rig.says("w", Event.STARTED, "a")
    await rig.caught_up()
    await rig.settled()
    assert (rig.reaper.waiting("p"), len(rig.arrived)) == (1, 1)
    await rig.worker("other")
    await rig.route(rig.arrived[0], "other")
    assert rig.reaper.waiting("p") == 0


async def test_a_unit_made_anew_does_not_run_what_its_namesake_was_given(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    await rig.dispatch("b", "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
    rig.pod("w", leaving=True)
    rig.units.hide("w")
    rig.unit("w", uid="2")
    await rig.settled()
    assert rig.arrived == [], "its namesake drains"
    rig.pods.hide("w-0")
    await rig.orphans("a", "b")
    await rig.says("w", Event.REGISTERED)
    state = await rig.state("w")
    assert state is not None
    assert (state.paused, state.pending, state.ack_pending) == (False, 0, 0)


async def test_a_fresh_workers_consumer_is_left_alone(rig: Rig) -> None:
    rig.unit("w")
    await make_worker_consumer(rig.queue, "p", "w", 1)
    before = await rig.state("w")
    rig.reaper.look_at("w")
    await rig.settled()
    assert await rig.state("w") == before


async def test_who_does_not_lead_keeps_nothing_in_mind(rig: Rig) -> None:
    rig.leads = False
    for number in range(100):
        rig.reaper.look_at(f"w{number}")
    assert rig.reaper._work._waiting == set()
