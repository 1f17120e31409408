"""Workers whose sidecar is back before its loss was seen, or whose framework is unhealthy for long (S13)."""

import asyncio

import pytest

from sidecar.cancellation import CancelMessage
from sidecar.messages import Event, FailureClass, decode
from simulator.activator import reaper as reaper_module
from simulator.activator import reaping as reaping_module
from simulator.activator.fleet import Condition
from tests.activator.parts import until
from tests.activator.reaper_rig import WAIT_S, Rig, ids, take

pytestmark = pytest.mark.e2e


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not begun when a sidecar registers was its predecessor's."""
    monkeypatch.setattr(reaper_module, "BEGIN_WAIT_S", 0.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unhealthy framework is waited for no longer than it takes to say so."""
    for module in (reaper_module, reaping_module):
        monkeypatch.setattr(module, "UNHEALTHY_WAIT_S", 0.0)


async def comes_back(rig: Rig, worker: str = "w") -> None:
    """The worker's next sidecar registers, and all is done that follows from it."""
    registered = await rig.says(worker, Event.REGISTERED)
    await until(lambda: rig.events_read >= registered)
    await rig.settled()


async def test_what_the_former_sidecar_began_is_moved_when_the_next_one_registers(rig: Rig) -> None:
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
        await rig.says("w", Event.STARTED, "a")
    await rig.says("w", Event.REGISTERED)
    [held] = await rig.orphans("a")
    assert (held.attempt, held.runs) == (2, 1)
    assert rig.condition("w") is Condition.LIVE
    state = await rig.state("w")
    assert state is not None
    assert not state.paused


async def test_where_nothing_may_run_twice_it_fails_when_the_next_one_registers(rig: Rig) -> None:
    await rig.worker("w", onWorkerLoss="never")
    await rig.dispatch("a", "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
        await rig.says("w", Event.STARTED, "a")
    await comes_back(rig)
    assert [(each, failure.failure_class) for each, failure in rig.failed] == [("a", FailureClass.WORKER_LOST)]
    assert rig.arrived == []


@pytest.mark.usefixtures("at_once")
async def test_what_the_former_sidecar_had_and_did_not_begin_is_moved_as_well(rig: Rig) -> None:
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
    await rig.says("w", Event.REGISTERED)
    [held] = await rig.orphans("a")
    assert held.runs == 1, "it may have run"


@pytest.mark.usefixtures("at_once")
async def test_what_was_not_delivered_is_the_next_sidecars(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    await comes_back(rig)
    assert rig.arrived == []
    async with rig.sidecar("w") as sidecar:
        assert ids(await take(sidecar, 1)) == ["a"]


async def test_what_the_next_sidecar_took_itself_is_left_alone(rig: Rig) -> None:
    """Also what was dispatched before it registered."""
    await rig.worker("w")
    await rig.worker("other")
    for each in ("lost", "waits"):
        await rig.dispatch(each, "w")
    async with rig.sidecar("w") as former, rig.sidecar("w") as sidecar:
        assert ids(await take(former, 1)) == ["lost"]
        await rig.says("w", Event.STARTED, "lost")
        await rig.says("w", Event.REGISTERED)
        assert ids(await take(sidecar, 1)) == ["waits"]
        await rig.says("w", Event.STARTED, "waits")
        await rig.dispatch("later", "w")
        assert ids(await take(sidecar, 1)) == ["later"]
        await rig.orphans("lost")
        await asyncio.sleep(reaping_module.BEGIN_WAIT_S + 0.1)  # so long it could be in doubt
        await rig.settled()
        assert [held.invocation_id for held in rig.arrived] == ["lost"]


@pytest.mark.usefixtures("at_once")
async def test_what_a_sidecar_gave_back_in_good_order_is_the_next_ones(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    async with rig.sidecar("w") as sidecar:
        [delivery] = await take(sidecar, 1)
        rig.roster.on_loss = lambda _worker: None  # the next one is there before its end is seen
        await rig.says("w", Event.DEREGISTERED)
        await delivery.nak()
    rig.roster.on_loss = rig.reaper.look_at
    await comes_back(rig)
    rig.reaper.look_at("w")
    await rig.settled()
    assert rig.arrived == []


async def test_the_next_sidecar_is_told_what_it_is_not_to_run_and_its_successor_too(rig: Rig) -> None:
    """After the ack wait the consumer delivers once more what was moved."""
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    async with rig.sidecar("w") as sidecar:
        [delivery] = await take(sidecar, 1)
        await rig.says("w", Event.STARTED, "a")
        async with rig.queue.listen(rig.queue.subjects.cancel("p", "w")) as inbox:
            await rig.says("w", Event.REGISTERED)
            [held] = await rig.orphans("a")
            await rig.route(held, "other")
            told = CancelMessage(invocation_id="a", moved=1)
            assert decode(await inbox.receive(WAIT_S), CancelMessage) == told
            await rig.says("w", Event.REGISTERED)
            assert decode(await inbox.receive(WAIT_S), CancelMessage) == told
            await delivery.ack()
            await comes_back(rig)
            assert rig.reaper._moved.known("w") == [], "the consumer will not deliver it again"


@pytest.mark.parametrize("ended", [False, True], ids=["another's", "ended"])
async def test_the_next_leader_tells_what_the_last_one_moved(rig: Rig, ended: bool) -> None:
    """The ack wait is longer than a handover: who leads then was not there when it was moved."""
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    for own in ("own", "done"):
        await rig.dispatch(own, "w")
    async with rig.sidecar("w") as former, rig.sidecar("w") as sidecar:
        assert ids(await take(former, 1)) == ["a"]
        await rig.says("w", Event.STARTED, "a")
        await comes_back(rig)
        assert ids(await take(sidecar, 2)) == ["own", "done"]
        await rig.end("done", "w")  # its ack is under way
        await rig.route(rig.arrived[0], "other")
        if ended:
            await rig.end("a", "other")
        await rig.settled()
        async with rig.queue.listen(rig.queue.subjects.cancel("p", "w")) as inbox:
            await rig.hand_over()
            told = decode(await inbox.receive(WAIT_S), CancelMessage)
            assert told == CancelMessage(invocation_id="a", moved=1)
            await rig.settled()
            assert [each.invocation_id for each in rig.reaper._moved.known("w")] == ["a"], "the others are its own"


@pytest.mark.usefixtures("impatient")
async def test_what_nobody_began_does_not_wait_for_an_unhealthy_framework_for_ever(rig: Rig) -> None:
    await rig.worker("w", onWorkerLoss="never")
    await rig.worker("other", onWorkerLoss="never")
    sequence = await rig.dispatch("a", "w")
    await rig.says("w", Event.FRAMEWORK_UNHEALTHY)
    await until(lambda: rig.condition("w") is Condition.UNHEALTHY)
    await rig.reaper.look_again()
    [held] = await rig.orphans("a")
    assert (held.attempt, held.runs) == (2, 0)
    await rig.reaper.look_again()
    await rig.settled()
    assert len(rig.arrived) == 1
    await rig.route(held, "other")
    await rig.says("w", Event.FRAMEWORK_HEALTHY)
    await rig.settled()
    state = await rig.state("w")
    assert state is not None
    assert (state.paused, state.pending, state.ack_pending) == (False, 0, 0)
    assert state.start > sequence


@pytest.mark.usefixtures("impatient")
async def test_what_an_unhealthy_workers_sidecar_has_in_hand_stays_with_it(rig: Rig) -> None:
    await rig.worker("w")
    for each in ("a", "b"):
        await rig.dispatch(each, "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
        before = await rig.state("w")
        await rig.says("w", Event.FRAMEWORK_UNHEALTHY)
        await until(lambda: rig.condition("w") is Condition.UNHEALTHY)
        await rig.reaper.look_again()
        await rig.settled()
        assert (rig.arrived, await rig.state("w")) == ([], before)


async def test_an_unhealthy_framework_is_waited_for_a_while(rig: Rig) -> None:
    await rig.worker("w")
    await rig.dispatch("a", "w")
    await rig.says("w", Event.FRAMEWORK_UNHEALTHY)
    await until(lambda: rig.condition("w") is Condition.UNHEALTHY)
    await rig.reaper.look_again()
    await rig.settled()
    assert rig.arrived == []


async def test_one_that_came_back_while_it_was_reaped_is_looked_at_once_more(rig: Rig) -> None:
    """Its registration was stored, and not heard, when its consumer was paused."""
    await rig.worker("w")
    await rig.worker("other")
    await rig.dispatch("a", "w")
    async with rig.sidecar("w") as sidecar:
        await take(sidecar, 1)
        started = await rig.says("w", Event.STARTED, "a")
        await until(lambda: rig.events_read >= started)
        rig.hears.clear()
        await rig.says("w", Event.REGISTERED)
        await rig.caught_up()
        rig.pod("w", "terminated")
        await rig.settled()
        assert rig.arrived == []
        rig.pod("w")
        rig.hears.set()
        await until(lambda: rig.condition("w") is Condition.LIVE)
        await rig.reaper.look_again()
        [held] = await rig.orphans("a")
        assert held.runs == 1
