"""Who gets what, and who gets an answer instead: the router on stubs (A1, A2, A5, A20, S8)."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from framework.contract import ZERO_TIME
from sidecar.messages import Event, FailureClass, InvocationResultMessage, State, utc_now
from sidecar.queue import QueueUnavailableError
from simulator.activator import router as router_module
from simulator.ledger.events import Buried
from tests.activator.parts import Bench, invocation, turns, unit, until


def failure(result: InvocationResultMessage) -> tuple[str, int, str, str]:
    return result.invocation_id, result.status_code, result.failure_class, result.state


def long_ago(seconds: float) -> datetime:
    return utc_now() - timedelta(seconds=seconds)


async def test_a1_least_outstanding_first_ties_by_name() -> None:
    bench = Bench(capacity=3)
    async with bench.running():
        for name in ("b", "a", "c"):
            bench.worker(name)
        for number in range(9):
            bench.invoke(f"i{number}")
        sent = await bench.given_out(9)
        assert [each.dispatch.worker_name for each in sent] == ["a", "b", "c"] * 3
        for each in sent:
            each.stored()
            bench.known(each)
        bench.ended("i5")
        bench.ended("i2")  # "c" has one left, the others have three
        for number in range(9, 13):
            bench.invoke(f"i{number}")
        sent = await bench.given_out(11)
        assert [each.pair for each in sent[9:]] == [("i9", "c"), ("i10", "c")]


async def test_a1_oldest_first_and_one_goes_when_one_ends() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        for number in range(4):
            bench.invoke(f"i{number}")
        for number in range(4):
            sent = (await bench.given_out(number + 1))[-1]
            assert sent.pair == (f"i{number}", "w")
            sent.stored()
            bench.known(sent)
            bench.ended(f"i{number}")
        await until(lambda: not bench.held.count)
        bench.nothing_left()


async def test_a2_a_pool_that_waits_holds_no_other() -> None:
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("cold-unit", "cold"))
        bench.worker("w", "warm")
        for number in range(3000):
            bench.invoke(f"cold-{number}", "cold")
        bench.invoke("warm-0", "warm")
        [sent] = await bench.given_out(1)
        assert sent.pair == ("warm-0", "w")
        assert bench.held.count == 3001


async def test_a5_a_unit_without_ports_serves_once_it_is_registered() -> None:
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        bench.invoke("a")
        await bench.given_out(0)
        bench.say(Event.REGISTERED, "w")
        assert (await bench.given_out(1))[0].pair == ("a", "w")


@pytest.mark.parametrize("capacity", [1, 3])
async def test_capacity_is_kept_while_dispatches_are_on_their_way(capacity: int) -> None:
    """A1: whether the ledger knows of a dispatch yet, of its invocation, or of nothing, it takes a place."""
    bench = Bench(capacity=capacity)
    async with bench.running():
        bench.worker("w")
        for number in range(capacity + 2):
            bench.arrive(invocation(f"i{number}"))
        sent = await bench.given_out(capacity)
        for number in range(capacity + 2):
            bench.queued(f"i{number}")  # the ledger is behind the ingress
        bench.router.look_at("p")
        await bench.given_out(capacity)
        for each in list(sent):
            each.stored()
            await bench.given_out(capacity)
            bench.known(each)
            bench.router.look_at("p")
            await bench.given_out(capacity)


async def test_an_end_that_nobody_reported_makes_room_too() -> None:
    """A dispatch that was dead-lettered without a result is outstanding no longer."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.invoke("a")
        bench.invoke("b")
        [sent] = await bench.given_out(1)
        sent.stored()
        bench.known(sent)
        bench.enter(Buried(bench.sequence))
        assert (await bench.given_out(2))[1].pair == ("b", "w")


async def test_s13_a_call_that_a_worker_lost_can_go_to_its_next_sidecar() -> None:
    """What waits here to be moved takes no place at the worker that lost it."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.invoke("a")
        [sent] = await bench.given_out(1)
        sent.stored()
        bench.known(sent)
        await until(lambda: not bench.held.count)
        bench.arrive(invocation("a"), sequence=1, attempt=2, runs=1)
        again = (await bench.given_out(2))[1]
        assert again.pair == ("a", "w")
        assert (again.headers["Serverless-Attempt"], again.headers["Serverless-Runs"]) == ("2", "1")
        assert again.message_id == "dispatch-a-w-2"
        bench.invoke("b")
        await bench.given_out(2)


async def test_two_pools_that_got_the_same_id_do_not_end_the_activator() -> None:
    """Nobody checks the IDs of whoever publishes to the queue directly."""
    bench = Bench()
    async with bench.running():
        bench.worker("w", "p")
        bench.worker("x", "q")
        bench.invoke("same", "p")
        bench.invoke("same", "q")
        bench.invoke("other", "q")
        sent = await bench.given_out(2)
        assert [each.pair for each in sent] == [("same", "w"), ("other", "x")]
        for each in sent:
            each.stored()
            bench.known(each)
        await until(lambda: not bench.held.count)
        bench.ended("same")
        bench.ended("other", "q")
        bench.invoke("next", "p")
        assert (await bench.given_out(3))[2].pair == ("next", "w")


async def test_an_unknown_pool_gets_a_moment_then_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "UNKNOWN_POOL_GRACE_S", 0.05)
    bench = Bench()
    async with bench.running():
        claim = bench.invoke("a", "nobody")
        await turns()
        assert (bench.queue.published, bench.held.count) == ([], 1)
        await until(lambda: not bench.held.count)
        [result] = bench.queue.results()
        assert failure(result) == ("a", 503, FailureClass.NO_WORKER_TEMPLATE, State.FAILED)
        assert claim.heard == ["ack"]
        assert bench.queue.replies == [("_INBOX.a", bench.queue.published[0][2])]
        bench.nothing_left()


async def test_the_clusters_word_may_come_after_the_queues() -> None:
    bench = Bench()
    async with bench.running():
        bench.invoke("a")
        await turns()
        bench.worker("w")
        assert (await bench.given_out(1))[0].pair == ("a", "w")
        assert bench.queue.published == []


async def test_when_the_last_unit_goes_all_who_wait_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "UNKNOWN_POOL_GRACE_S", 0.0)
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        bench.invoke("a")
        await turns()
        bench.units.hide("w")
        await until(lambda: not bench.held.count)
        assert [failure(each)[2] for each in bench.queue.results()] == [FailureClass.NO_WORKER_TEMPLATE]


async def test_a6_a_pool_that_was_given_up_answers_exactly_those_that_came_before() -> None:
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        for number in range(5):
            bench.invoke(f"i{number}")  # at the sequences 1 to 5
        await turns()
        bench.given_up["p"] = ("unit w: ImagePullBackOff", 3)
        bench.router.look_at("p")
        await until(lambda: bench.held.count == 2)
        await turns()
        assert [failure(each) for each in bench.queue.results()] == [
            (f"i{number}", 503, FailureClass.ACTIVATION_TIMEOUT, State.FAILED) for number in range(3)
        ]
        assert {each.error for each in bench.queue.results()} == {"unit w: ImagePullBackOff"}
        bench.worker("w")
        bench.given_up.clear()
        assert (await bench.given_out(1))[0].pair == ("i3", "w")


async def test_a20_an_invocation_expires_without_any_other_event() -> None:
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        claim = bench.invoke("a", timeout_seconds=1, enqueued_at=long_ago(0.9))
        bench.invoke("b", timeout_seconds=3600)
        bench.invoke("c", timeout_seconds=1, enqueued_at=ZERO_TIME)  # nobody knows since when it waits
        await turns()
        assert bench.queue.published == []
        await until(lambda: claim.heard)
        [result] = bench.queue.results()
        assert failure(result) == ("a", 504, FailureClass.ACTIVATION_TIMEOUT, State.EXPIRED)
        assert bench.held.count == 2


async def test_a20_an_expired_invocation_is_not_dispatched_and_takes_no_place() -> None:
    bench = Bench()
    async with bench.running():
        bench.invoke("late", timeout_seconds=1, enqueued_at=long_ago(2))
        bench.invoke("next")
        bench.worker("w")
        assert [each.pair for each in await bench.given_out(1)] == [("next", "w")]
        assert [failure(each)[:2] for each in bench.queue.results()] == [("late", 504)]


async def test_a20_the_clock_may_be_put_back_while_an_invocation_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The timer measures another clock than the deadline: when it is early, it is set again."""
    bench, behind = Bench(), timedelta(0)
    monkeypatch.setattr(router_module, "utc_now", lambda: utc_now() - behind)
    async with bench.running():
        bench.units.show(unit("w"))
        claim = bench.invoke("a", timeout_seconds=1, enqueued_at=long_ago(0.98))
        behind = timedelta(seconds=0.05)
        await until(lambda: claim.heard)
        assert [failure(each)[:2] for each in bench.queue.results()] == [("a", 504)]


async def test_a20_its_time_may_be_over_while_it_was_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose dispatch came to nothing, and that waits again, is not forgotten."""
    monkeypatch.setattr(router_module, "GIVEN_OUT_S", 0.01)
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        enqueued_at = long_ago(0.95)
        claim = bench.invoke("a", timeout_seconds=1, enqueued_at=enqueued_at)
        [sent] = await bench.given_out(1)
        await until(lambda: utc_now() > enqueued_at + timedelta(seconds=1.01))
        bench.say(Event.DEREGISTERED, "w")
        sent.refused()
        await until(lambda: claim.heard)
        assert [failure(each)[:2] for each in bench.queue.results()] == [("a", 504)]
        bench.nothing_left()


@pytest.mark.parametrize("enqueued_at", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
async def test_a_time_that_no_clock_shows_does_no_harm(enqueued_at: datetime) -> None:
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        bench.invoke("odd", timeout_seconds=2**31 - 1, enqueued_at=enqueued_at)
        bench.worker("x", "other")
        bench.invoke("other", "other")
        assert [each.pair for each in await bench.given_out(1)] == [("other", "x")]


async def test_timers_of_what_was_dispatched_are_forgotten() -> None:
    """An invocation that may take an hour is not kept for an hour when it took a moment."""
    bench = Bench(capacity=20_000)
    async with bench.running():
        bench.worker("w")
        for number in range(3000):
            bench.arrive(invocation(f"i{number}", timeout_seconds=3600))
            if number % 100 == 99:
                for each in (await bench.given_out(number + 1))[-100:]:
                    each.stored()
                await until(lambda: not bench.held.count)
        assert len(bench.router._deadlines) < 1500


async def test_s8_a_cancelled_invocation_that_waits_is_answered() -> None:
    bench = Bench()
    async with bench.running() as _:
        bench.units.show(unit("w"))
        claim = bench.invoke("a")
        bench.invoke("b")
        assert bench.router.cancel("a", "p", bench.tasks)
        assert not bench.router.cancel("a", "p", bench.tasks)
        assert not bench.router.cancel("b", "q", bench.tasks)
        await until(lambda: claim.heard)
        assert [failure(each) for each in bench.queue.results()] == [("a", 499, FailureClass.CANCELLED, State.FAILED)]
        assert claim.heard == ["ack"]
        bench.worker("w")
        assert (await bench.given_out(1))[0].pair == ("b", "w")


async def test_s8_an_invocation_that_is_on_its_way_to_a_worker_is_not_cancelled_here() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.invoke("a")
        await bench.given_out(1)
        assert not bench.router.cancel("a", "p", bench.tasks)
        assert bench.queue.published == []


async def test_a10_stale_invocations_are_dropped_and_hold_up_nobody() -> None:
    """Somebody else may have them; they are neither answered nor given back."""
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        stale = [bench.invoke(f"stale-{number}") for number in range(5)]
        await turns()
        bench.skew = 15.0
        bench.invoke("fresh")
        bench.worker("w")
        assert [each.pair for each in await bench.given_out(1)] == [("fresh", "w")]
        assert [claim.heard for claim in stale] == [[]] * 5
        assert (bench.held.count, bench.queue.published) == (1, [])


@pytest.mark.parametrize("how", ["dispatched", "ended"])
async def test_a10_what_another_activator_settled_is_not_held_any_longer(how: str) -> None:
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        claim = bench.invoke("a")
        await turns()
        if how == "dispatched":
            bench.worker("x")
            [sent] = await bench.given_out(1)
            bench.known(sent)  # stored by whomever; here nobody heard
            sent.lost()
        else:
            bench.ended("a")
        await until(lambda: claim.heard)
        assert claim.heard == ["ack"]
        assert bench.queue.published == []
        bench.nothing_left()


async def test_a10_an_id_may_be_used_again_after_its_end() -> None:
    """The ledger may know of the first invocation's result only."""
    bench = Bench()
    async with bench.running():
        bench.queued("a")
        bench.ended("a")
        bench.arrive(invocation("a"))  # the ledger does not know of it yet
        bench.worker("w")
        [sent] = await bench.given_out(1)
        assert sent.pair == ("a", "w")


async def test_an_answer_that_cannot_be_acknowledged_is_no_loss() -> None:
    """A result is stored; the invocation comes again and is found to be settled."""
    bench = Bench()
    async with bench.running():
        bench.units.show(unit("w"))
        claim = bench.invoke("a")
        claim.refuses = QueueUnavailableError("the connection is closed")
        assert bench.router.cancel("a", "p", bench.tasks)
        await until(lambda: not bench.held.count)
        assert Counter(each.invocation_id for each in bench.queue.results()) == {"a": 1}
        bench.nothing_left()
