"""What nobody decided in time, and what the stream no longer holds: the leader's last resort (S7, S13)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from framework.contract import ZERO_TIME
from sidecar.cancellation import CancelMessage
from sidecar.messages import (
    Event,
    FailureClass,
    InvocationMessage,
    State,
    WorkerDispatchMessage,
    decode,
    encode,
    utc_now,
)
from simulator.activator import overdue as overdue_module
from simulator.activator.fates import Fail
from simulator.activator.held import Held
from simulator.activator.overdue import NEVER, ROUNDS_TO_COMPARE, ROUNDS_TO_READ, Overdue, due, out_of_time
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.jetstream.stored import last_sequence, stored_message
from simulator.ledger.ledger import Phase
from tests.activator.parts import StubClaim
from tests.activator.reaper_rig import WAIT_S, Rig

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
GRACE_S = 30.0


def dispatch(**fields: Any) -> WorkerDispatchMessage:
    return WorkerDispatchMessage(
        invocation_id="a",
        serverless_request_id="p",
        worker_name="w",
        worker_namespace=ACTIVE_NAMESPACE,
        reply_subject="_INBOX.x",
        **fields,
    )


@pytest.mark.parametrize(
    ("fields", "after_s"),
    [
        pytest.param({"timeout_seconds": 20, "enqueued_at": NOON}, 50, id="from when it was queued"),
        pytest.param(
            {"timeout_seconds": 20, "enqueued_at": NOON, "dispatched_at": NOON + timedelta(hours=1)},
            50,
            id="whenever it was dispatched",
        ),
        pytest.param({"timeout_seconds": 20, "dispatched_at": NOON + timedelta(seconds=5)}, 55, id="or dispatched"),
        pytest.param({"timeout_seconds": 20}, 110, id="or else stored"),
        pytest.param({"timeout_seconds": 20, "enqueued_at": ZERO_TIME}, 110, id="Go's zero time is none"),
        pytest.param({"enqueued_at": NOON}, None, id="no budget"),
        pytest.param({"timeout_seconds": -1, "enqueued_at": NOON}, None, id="nor is a negative one"),
        pytest.param({"timeout_seconds": 2**31 - 1, "enqueued_at": datetime.max.replace(tzinfo=UTC)}, None, id="never"),
    ],
)
def test_s7_when_an_invocation_must_have_its_result(fields: dict[str, Any], after_s: float | None) -> None:
    found = due(dispatch(**fields), NOON + timedelta(seconds=60), GRACE_S)
    if after_s is None:
        assert found == NEVER
    else:
        assert found.at == NOON + timedelta(seconds=after_s)
        assert "20 s are over" in found.reason


@pytest.mark.parametrize(
    ("phase", "failure_class"),
    [
        (Phase.QUEUED, FailureClass.ACTIVATION_TIMEOUT),
        (Phase.DISPATCHED, FailureClass.ACTIVATION_TIMEOUT),
        (Phase.RUNNING, FailureClass.FRAMEWORK_TIMEOUT),
    ],
)
def test_s7_its_class_says_whether_it_began(phase: Phase, failure_class: str) -> None:
    failure = out_of_time(phase, "why")
    assert (failure.status_code, failure.state, failure.failure_class) == (504, State.EXPIRED, failure_class)
    assert failure.reason.endswith(": why")


class Case:
    """What is overdue on a rig's stream; `answered` are the invocations that were decided."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.answered: list[tuple[Held, Fail]] = []
        self.overdue = Overdue(
            rig.queue,
            rig.follower,
            rig.held,
            GRACE_S,
            answer=lambda held, failure: self.answered.append((held, failure)),
            is_leader=lambda: rig.leads,
        )

    async def given(self, age_s: float, timeout_s: int = 10) -> int:
        body = encode(dispatch(timeout_seconds=timeout_s, enqueued_at=utc_now() - timedelta(seconds=age_s)))
        return await self.rig.dispatch("a", "w", body=body)

    async def rounds(self, count: int = ROUNDS_TO_READ) -> list[tuple[str, str]]:
        for _ in range(count):
            await self.overdue.look()
        return [(held.invocation_id, failure.failure_class) for held, failure in self.answered]

    async def purge(self) -> None:
        """The stream forgets all that it holds, as it does with what is too old."""
        await self.rig.queue.request(f"$JS.API.STREAM.PURGE.{self.rig.queue.stream.name}", b"")


@pytest.fixture
def case(rig: Rig) -> Case:
    return Case(rig)


@pytest.mark.e2e
async def test_a_live_worker_that_never_takes_it_does_not_keep_its_caller_waiting(case: Case) -> None:
    await case.rig.worker("w")
    await case.given(age_s=60)
    assert await case.rounds() == [("a", FailureClass.ACTIVATION_TIMEOUT)]
    [(held, _)] = case.answered
    assert held.invocation.reply_subject == "_INBOX.x", "who waits gets the reply"


@pytest.mark.e2e
async def test_nor_does_one_that_never_ends_it(case: Case) -> None:
    await case.rig.worker("w")
    await case.given(age_s=60)
    await case.rig.says("w", Event.STARTED, "a")
    await case.rig.caught_up()
    assert await case.rounds() == [("a", FailureClass.FRAMEWORK_TIMEOUT)]


@pytest.mark.e2e
@pytest.mark.parametrize(("age_s", "timeout_s"), [(60, 0), (5, 10), (35, 10), (60, 100_000)])
async def test_what_is_in_time_is_its_workers(
    case: Case, age_s: float, timeout_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also within the grace; and its budget is read once, and not at once: most invocations end before."""
    read: list[int] = []

    async def counted(queue: Any, *, sequence: int) -> Any:
        read.append(sequence)
        return await stored_message(queue, sequence=sequence)

    monkeypatch.setattr(overdue_module, "stored_message", counted)
    await case.rig.worker("w")
    sequence = await case.given(age_s, timeout_s)
    assert (await case.rounds(ROUNDS_TO_READ - 1), read) == ([], [])
    assert (await case.rounds(5), read) == ([], [sequence])


@pytest.mark.e2e
async def test_what_ended_meanwhile_is_not_decided(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that was stored and not heard counts: never two."""
    await case.rig.worker("w")
    await case.given(age_s=60)
    late = case.overdue._late

    async def ends_now() -> Any:
        found = await late()
        await case.rig.end("a")
        return found

    monkeypatch.setattr(case.overdue, "_late", ends_now)
    assert await case.rounds() == []


@pytest.mark.e2e
async def test_what_is_moved_just_now_is_in_other_hands(case: Case) -> None:
    await case.rig.worker("w")
    await case.given(age_s=60)
    held = Held(InvocationMessage(invocation_id="a", serverless_request_id="p"), StubClaim(), 1, 1)
    case.rig.held.add(held)
    assert await case.rounds() == []
    case.rig.held.drop(held)
    assert await case.rounds(1) == [("a", FailureClass.ACTIVATION_TIMEOUT)]


@pytest.mark.e2e
async def test_who_leads_no_longer_decides_nothing(case: Case) -> None:
    await case.rig.worker("w")
    await case.given(age_s=60)
    case.rig.leads = False
    assert await case.rounds() == []


@pytest.mark.e2e
async def test_its_worker_is_told_when_the_decision_stands(case: Case) -> None:
    """Not before: its own word on a call that it ended must not come first."""
    rig = case.rig
    await rig.worker("w")
    await case.given(age_s=60)
    async with rig.queue.listen(rig.queue.subjects.cancel("p", "w")) as inbox:
        await case.rounds(ROUNDS_TO_READ + 1)
        with pytest.raises(TimeoutError):
            await inbox.receive(0.01)
        await rig.end("a")
        await case.rounds(2)
        assert decode(await inbox.receive(WAIT_S), CancelMessage) == CancelMessage(invocation_id="a")
        with pytest.raises(TimeoutError):
            await inbox.receive(0.01)
    assert case.overdue._decided == {}


@pytest.mark.e2e
async def test_what_the_stream_no_longer_holds_is_decided_wherever_it_was(case: Case) -> None:
    """It would be open for ever, and pin where a new ledger starts."""
    rig = case.rig
    await rig.worker("w")
    await rig.dispatch("dispatched", "w")
    await rig.dispatch("running", "w")
    await rig.says("w", Event.STARTED, "running")
    for each in ("queued", "held"):
        invocation = InvocationMessage(invocation_id=each, serverless_request_id="p")
        await rig.queue.publish(rig.queue.subjects.invoke("p"), encode(invocation), message_id=each)
    await rig.caught_up()
    known = rig.ledger.open("held")
    assert known is not None
    invocation = InvocationMessage(invocation_id="held", serverless_request_id="p", reply_subject="_INBOX.y")
    rig.held.add(Held(invocation, StubClaim(), known.sequence, 1))
    await case.purge()
    await rig.dispatch("young", "w")
    expected = {
        "dispatched": FailureClass.ACTIVATION_TIMEOUT,
        "running": FailureClass.FRAMEWORK_TIMEOUT,
        "queued": FailureClass.ACTIVATION_TIMEOUT,
        "held": FailureClass.ACTIVATION_TIMEOUT,
    }
    assert dict(await case.rounds(ROUNDS_TO_COMPARE)) == expected
    assert [held.invocation.reply_subject for held, _ in case.answered if held.invocation_id == "held"] == ["_INBOX.y"]
    for each in expected:
        await rig.end(each)
    assert [each.invocation_id for each in rig.ledger.all_open()] == ["young"]
    assert rig.ledger.cursor > await last_sequence(rig.queue) - 6, "behind what is gone"


@pytest.mark.e2e
async def test_what_is_old_and_was_dispatched_lately_goes_on(case: Case) -> None:
    """Its invocation is gone, and its dispatch is not."""
    rig = case.rig
    await rig.worker("w")
    invocation = InvocationMessage(invocation_id="a", serverless_request_id="p")
    await rig.queue.publish(rig.queue.subjects.invoke("p"), encode(invocation), message_id="a")
    await rig.caught_up()
    await case.purge()
    await rig.dispatch("a", "w")
    assert await case.rounds(ROUNDS_TO_COMPARE) == []


@pytest.mark.e2e
async def test_a_single_dispatch_that_was_deleted_is_decided_too(case: Case) -> None:
    rig = case.rig
    await rig.worker("w")
    sequence = await case.given(age_s=0, timeout_s=0)
    await rig.dispatch("b", "w")
    await rig.queue.request(f"$JS.API.STREAM.MSG.DELETE.{rig.queue.stream.name}", b'{"seq":%d}' % sequence)
    assert await case.rounds() == [("a", FailureClass.ACTIVATION_TIMEOUT)]
    assert overdue_module.GONE in case.answered[0][1].reason
