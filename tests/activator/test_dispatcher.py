"""What comes of a dispatch: stored, refused, or nobody knows (A3, A9, A10)."""

import dataclasses

import pytest
from msgspec import structs

from sidecar.messages import FailureClass, State
from sidecar.queue import MessageTooLargeError, QueueUnavailableError
from sidecar.stored import EXPECTED_HEADER
from simulator.activator import dispatcher as dispatcher_module
from simulator.activator.dispatcher import MAX_REFUSALS
from tests.activator.parts import Bench, invocation, turns, until

HOUR_S = 3600.0
WRONG_SEQUENCE = 10071
TRACE = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}


@pytest.fixture(autouse=True)
def _retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "RETRY_DELAYS_S", (0.0,))


async def test_a_dispatch_carries_what_its_invocation_had() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("Unit.W")
        claim = bench.invoke("a", attributes={"k": "v"}, timeout_seconds=9, mode="sync")
        [sent] = await bench.given_out(1)
        assert (sent.subject, sent.message_id) == ("runtime.serverless.dispatch.p.unit-w", "dispatch-a-unit-w")
        dispatch = sent.dispatch
        assert (dispatch.worker_name, dispatch.worker_namespace) == ("Unit.W", "runtime-instance")
        assert (dispatch.state, dispatch.mode, dispatch.attributes) == (State.DISPATCHING, "sync", {"k": "v"})
        assert dispatch.timeout_seconds == 9
        assert dispatch.enqueued_at <= dispatch.dispatched_at
        assert (dispatch.result_subject, dispatch.metrics_subject, dispatch.reply_subject) == (
            "runtime.serverless.result.p",
            "runtime.serverless.metrics.p",
            "_INBOX.a",
        )
        assert sent.headers == {}
        assert claim.heard == []
        sent.stored()
        await until(lambda: claim.heard)
        assert claim.heard == ["ack"]
        bench.nothing_left()


async def test_s30_a_dispatch_carries_its_callers_trace() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.queued("a")
        bench.arrive(invocation("a"), trace=TRACE)
        assert (await bench.given_out(1))[0].headers == TRACE


async def test_a9_a_refused_dispatch_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher_module, "RETRY_DELAYS_S", (0.0, HOUR_S))
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        claim = bench.invoke("a")
        (await bench.given_out(1))[0].refused()
        (await bench.given_out(2))[1].refused()
        await bench.given_out(2)  # not before an hour has passed
        assert (bench.held.count, claim.heard, bench.queue.published) == (1, [], [])
        for task in [task for task in bench.tasks._tasks if "_again" in str(task.get_coro())]:
            task.cancel()


async def test_a9_after_the_last_refusal_there_is_a_failed_result() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        claim = bench.invoke("a")
        for number in range(MAX_REFUSALS):
            assert bench.queue.published == []
            (await bench.given_out(number + 1))[number].refused()
        await until(lambda: not bench.held.count)
        [result] = bench.queue.results()
        assert (result.status_code, result.failure_class, result.state) == (
            502,
            FailureClass.DISPATCH_ERROR,
            State.FAILED,
        )
        assert "not this one" in result.error
        assert claim.heard == ["ack"]
        await bench.given_out(MAX_REFUSALS)
        bench.nothing_left()


async def test_a9_a_refused_dispatch_frees_its_place_and_may_go_elsewhere() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("a")
        bench.invoke("x")
        [sent] = await bench.given_out(1)
        bench.worker("b")
        sent.refused()
        assert (await bench.given_out(2))[1].pair in {("x", "a"), ("x", "b")}
        assert bench.dispatcher.under_way("p", "a") + bench.dispatcher.under_way("p", "b") == 1


async def test_a_dispatch_that_no_message_can_carry_is_a_failed_result_at_once() -> None:
    """S9: it will not become smaller."""
    bench = Bench()
    async with bench.running():
        bench.queue.refuses = MessageTooLargeError("2 MB")
        bench.worker("w")
        bench.invoke("a")
        await until(lambda: bench.queue.published and not bench.held.count)
        assert [each.failure_class for each in bench.queue.results()] == [FailureClass.DISPATCH_ERROR]
        bench.queue.refuses = None
        bench.invoke("b")
        assert (await bench.given_out(1))[0].pair == ("b", "w")


async def test_a9_without_the_queue_it_is_tried_for_ever_and_nothing_is_lost() -> None:
    """However long it takes: neither refusals nor the depth of the stack are counted."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        claim = bench.invoke("a")
        [sent] = await bench.given_out(1)
        bench.queue.away = True
        sent.lost()
        asked = bench.queue.asked
        await until(lambda: bench.queue.asked > asked + 2000)
        assert (bench.held.count, claim.heard, bench.queue.published) == (1, [], [])
        bench.queue.away = False
        (await bench.given_out(2))[1].stored()
        await until(lambda: claim.heard)
        assert bench.queue.published == []
        bench.nothing_left()


async def test_a10_nobody_knows_the_ledger_is_asked_first() -> None:
    """It was stored: it is not dispatched again, and its invocation is acknowledged."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.worker("x")
        claim = bench.invoke("a")
        [sent] = await bench.given_out(1)
        bench.stub.behind = True
        sent.lost()
        await turns()
        assert (len(bench.queue.sent), bench.held.count) == (1, 1)
        bench.known(sent)
        bench.stub.behind = False
        await until(lambda: claim.heard)
        assert (len(bench.queue.sent), claim.heard) == (1, ["ack"])
        bench.nothing_left()


async def test_a10_nobody_knows_it_goes_to_the_same_worker_under_the_same_id() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("b")
        bench.invoke("x")
        [first] = await bench.given_out(1)
        bench.worker("a")  # has less outstanding, and comes first by name
        first.lost()
        second = (await bench.given_out(2))[1]
        assert (second.pair, second.message_id) == (first.pair, first.message_id)
        second.stored()
        await until(lambda: not bench.held.count)
        bench.nothing_left()


async def test_a10_nobody_knows_and_its_worker_is_gone() -> None:
    bench = Bench()
    async with bench.running():
        bench.worker("b")
        bench.invoke("x")
        [first] = await bench.given_out(1)
        bench.worker("a")
        bench.units.hide("b")
        first.lost()
        assert (await bench.given_out(2))[1].pair == ("x", "a")


async def test_capacity_holds_while_nobody_knows() -> None:
    """A1: a dispatch that may have been stored keeps its place until that is clear."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.invoke("a")
        [first] = await bench.given_out(1)
        bench.queue.away = True
        first.lost()
        bench.invoke("b")
        bench.router.look_at("p")
        await bench.given_out(1)
        bench.queue.away = False
        assert [each.pair for each in await bench.given_out(2)] == [("a", "w"), ("a", "w")]


async def test_a10_a_claim_that_ran_out_meanwhile_is_not_dispatched_again() -> None:
    """Another activator may have the invocation by now."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        claim = bench.invoke("a")
        [sent] = await bench.given_out(1)
        bench.skew = 15.0
        sent.lost()
        await until(lambda: not bench.held.count)
        await bench.given_out(1)
        assert claim.heard == []
        bench.nothing_left()
        bench.invoke("b")
        assert (await bench.given_out(2))[1].pair == ("b", "w")  # its place is free


async def test_a10_nothing_is_dispatched_into_a_lost_connection() -> None:
    """It would be written when the connection is back, long after somebody else dispatched it."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.queue.connected = False
        bench.queue.away = True
        bench.invoke("a")
        await turns()
        assert bench.queue.sent == []
        bench.queue.connected, bench.queue.away = True, False
        assert (await bench.given_out(1))[0].pair == ("a", "w")


async def test_a18_with_others_a_dispatch_must_be_the_next_of_its_worker() -> None:
    bench = Bench(capacity=2)
    bench.alone = False
    async with bench.running():
        bench.worker("w")
        bench.invoke("a")
        bench.invoke("b")
        [first] = await bench.given_out(1)  # the second follows it when it is known
        assert first.headers == {EXPECTED_HEADER: "0"}
        first.stored()
        bench.known(first)
        assert (await bench.given_out(2))[1].headers == {EXPECTED_HEADER: str(bench.sequence)}


@pytest.mark.parametrize("alone", [True, False])
async def test_the_ledger_may_know_of_a_dispatch_before_its_answer_comes(alone: bool) -> None:
    bench = Bench(capacity=2)
    bench.alone = alone
    async with bench.running():
        bench.worker("w")
        bench.invoke("a")
        bench.invoke("b")
        first = (await bench.given_out(2 if alone else 1))[0]
        bench.known(first)
        assert len(await bench.given_out(2)) == 2
        first.stored(bench.sequence)
        bench.ended("a")
        await until(lambda: bench.held.count == 1)
        bench.invoke("c")
        second = bench.queue.sent[1]
        bench.known(second)
        second.stored(bench.sequence)
        assert (await bench.given_out(3))[2].pair == ("c", "w")


async def test_a_place_is_free_when_the_ledger_will_never_know() -> None:
    """A dispatch under an ID that was stored before is a duplicate: nothing new comes."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        bench.arrive(invocation("a"))
        [sent] = await bench.given_out(1)
        sent.stored(sequence=0)
        await until(lambda: not bench.held.count)
        bench.invoke("b")
        assert (await bench.given_out(2))[1].pair == ("b", "w")


async def test_a18_somebody_else_was_first_it_is_decided_anew() -> None:
    bench = Bench()
    bench.alone = False
    async with bench.running():
        bench.worker("w")
        bench.worker("x")
        claim = bench.invoke("a")
        [first] = await bench.given_out(1)
        assert first.pair == ("a", "w")
        bench.queued("b")
        bench.stub.behind = True
        first.refused(err_code=WRONG_SEQUENCE)
        await turns()
        assert len(bench.queue.sent) == 1  # not before the other's dispatch is known
        bench.known(dataclasses.replace(first, dispatch=structs.replace(first.dispatch, invocation_id="b")))
        bench.stub.behind = False
        second = (await bench.given_out(2))[1]
        assert second.pair == ("a", "x")
        assert claim.heard == []
        for _ in range(2 * MAX_REFUSALS):
            sent = bench.queue.sent[-1]
            count = len(bench.queue.sent)
            sent.refused(err_code=WRONG_SEQUENCE)
            await until(lambda count=count: len(bench.queue.sent) > count)  # type: ignore[misc]
        assert bench.queue.published == []  # that is no refusal


async def test_a18_what_is_stored_and_not_known_takes_a_place() -> None:
    """The worker's last dispatch is asked of the stream, which is ahead of what the decision was made from."""
    bench = Bench()
    bench.alone = False
    async with bench.running():
        bench.worker("w")
        bench.queue.newest = 7
        bench.invoke("a")
        bench.stub.behind = True
        await bench.given_out(0)
        bench.sequence = 7
        bench.queued("b")
        bench.stub.behind = False
        [sent] = await bench.given_out(1)
        assert sent.headers == {EXPECTED_HEADER: "7"}


async def test_a_claim_that_cannot_be_acknowledged_ends_nothing() -> None:
    """It comes again, and the ledger knows it."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        claim = bench.invoke("a")
        claim.refuses = QueueUnavailableError("the connection is closed")
        (await bench.given_out(1))[0].stored()
        await until(lambda: not bench.held.count)
        bench.nothing_left()


@pytest.mark.parametrize(("how", "heard"), [("stored", ["ack"]), ("refused", []), ("lost", [])])
async def test_an_answer_that_comes_after_the_end_starts_nothing(how: str, heard: list[str]) -> None:
    """It comes in the turn of whoever reads from the connection, which must not suffer."""
    bench = Bench()
    async with bench.running():
        bench.worker("w")
        claim = bench.invoke("a")
        [sent] = await bench.given_out(1)
    getattr(sent, how)()
    assert claim.heard == heard


async def test_a18_a_last_dispatch_that_the_stream_has_no_longer_is_asked_for() -> None:
    """The ledger remembers what has expired since: the expectation is refused once, then the stream is asked."""
    bench = Bench(capacity=2)
    bench.alone = False
    async with bench.running():
        bench.worker("w")
        bench.invoke("a")
        [first] = await bench.given_out(1)
        first.stored()
        bench.known(first)
        bench.invoke("b")
        second = (await bench.given_out(2))[1]
        assert second.headers == {EXPECTED_HEADER: str(bench.sequence - 1)}
        second.refused(400, WRONG_SEQUENCE)
        third = (await bench.given_out(3))[2]
        assert third.headers == {EXPECTED_HEADER: "0"}
        third.stored()
        await until(lambda: bench.held.get("b") is None)
