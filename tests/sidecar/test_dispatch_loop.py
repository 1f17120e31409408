"""The loop itself: how many at once, fetching, keeping alive, draining (contract 7.3, S4, S5, S14, S15), in memory."""

import asyncio
from collections.abc import Sequence

import pytest

from sidecar import dispatch as dispatch_module
from sidecar.concurrency import fetch_batch, max_ack_pending
from sidecar.connection import Response
from sidecar.dispatch import STALLED_S
from sidecar.framework_client import BrokenCallError, FrameworkLostError
from sidecar.queue_errors import QueueRefusedError, QueueUnavailableError
from tests.sidecar.rig import Gate, Json, MemoryConsumer, MemoryDelivery, answer_ok, dispatch, running


async def test_nothing_is_fetched_while_the_framework_is_unhealthy() -> None:
    async with running(answer_ok) as rig:
        rig.healthy = False
        delivery = rig.put(dispatch())
        for _ in range(20):
            await asyncio.sleep(0)
        assert rig.consumer.batches == []
        rig.healthy = True
        assert await rig.ended(delivery) == ["ack"]


async def test_a_fetch_error_binds_the_consumer_anew() -> None:
    async with running(answer_ok) as rig:
        rig.consumer.errors = [QueueRefusedError("consumer deleted"), QueueUnavailableError("down")]
        first = rig.put(dispatch("a"))
        second = rig.put(dispatch("b"))
        assert await rig.ended(first, second) == ["ack", "ack"]
    assert rig.reopened == 2


async def test_a_consumer_is_bound_anew_until_that_succeeds() -> None:
    """The worker is not ready meanwhile, so it must not rest on a consumer that happens to deliver again."""
    async with running(answer_ok) as rig:
        rig.open_errors = [QueueUnavailableError("down")]
        rig.consumer.errors = [QueueUnavailableError("the server goes")]
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert rig.reopened == 2


async def test_a_loop_that_does_not_turn_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """S15: a fetch that never returns is seen."""

    async def stuck(_consumer: MemoryConsumer, _batch: int, _wait_s: float) -> Sequence[MemoryDelivery]:
        await asyncio.Event().wait()
        return ()

    async with running(answer_ok) as rig:
        assert rig.loop.alive
        monkeypatch.setattr(MemoryConsumer, "fetch", stuck)
        clock = rig.loop._clock
        monkeypatch.setattr(rig.loop, "_clock", lambda: clock() + STALLED_S + 1)
        assert not rig.loop.alive


@pytest.mark.parametrize("concurrency", [1, 2, 3, 64])
def test_the_consumers_limit_matches_what_is_held(concurrency: int) -> None:
    """S4: fetching never asks for more than may be unacknowledged, whatever stage the rest is in."""
    limit = max_ack_pending(concurrency)
    for running_now in range(concurrency + 1):
        for concluding in range(limit):
            batch = fetch_batch(concurrency, 0, running_now, concluding)
            assert not batch or running_now + concluding + batch <= limit
        assert fetch_batch(concurrency, 0, running_now, 0) > 0


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_calls_run_than_allowed(concurrency: int) -> None:
    gate = Gate()
    async with running(gate, SERVERLESS_MAX_CONCURRENCY=str(concurrency)) as rig:
        deliveries = [rig.put(dispatch(f"i{n}", replySubject="")) for n in range(3 * concurrency)]
        for _ in range(concurrency):
            await gate.began.get()
        gate.open.set()
        assert await rig.ended(*deliveries) == ["ack"] * len(deliveries)
    assert gate.most == concurrency
    assert len(rig.of("result")) == len(deliveries)


async def test_the_next_call_starts_before_the_last_ones_result_is_stored() -> None:
    async with running(answer_ok) as rig:
        rig.queue.errors["result"] = [QueueUnavailableError("down")] * 3
        first, second = rig.put(dispatch("a")), rig.put(dispatch("b"))
        assert await rig.ended(first, second) == ["ack", "ack"]
    assert rig.framework.calls == ["a", "b"]


async def test_running_and_waiting_deliveries_are_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5: also those that the consumer received and nobody fetched."""
    monkeypatch.setattr(MemoryConsumer, "ack_wait_s", 0.06)
    gate = Gate()
    async with running(gate, SERVERLESS_MAX_CONCURRENCY="2") as rig:
        deliveries = [rig.put(dispatch(f"i{n}", replySubject="")) for n in range(3)]
        for delivery in deliveries:
            await delivery.refreshed.wait()
        assert (len(rig.framework.calls), gate.running) == (2, 2)
        gate.open.set()
        assert await rig.ended(*deliveries) == ["ack"] * 3


async def test_a_stop_finishes_running_calls_and_gives_the_rest_back() -> None:
    gate = Gate()
    async with running(gate, SERVERLESS_MAX_CONCURRENCY="2") as rig:
        deliveries = [rig.put(dispatch(f"i{n}", replySubject="")) for n in range(3)]
        await gate.began.get()
        await gate.began.get()
        rig.stop.set()
        assert await rig.ended(deliveries[2]) == ["nak 0"]
        late = rig.put(dispatch("late"))
        gate.open.set()
        assert await rig.ended(*deliveries[:2]) == ["ack", "ack"]
    assert late.outcome == ""
    assert rig.consumer.closed
    assert len(rig.of("result")) == 2
    assert [m["eventType"] for m in rig.of("metrics")].count("invocation_finished") == 2


async def test_a_call_that_outlasts_the_drain_is_cut_and_given_back() -> None:
    gate = Gate()
    async with running(gate, SERVERLESS_DRAIN_TIMEOUT="20ms") as rig:
        delivery = rig.put(dispatch())
        await gate.began.get()
        rig.stop.set()
        await delivery.ended.wait()
    assert delivery.outcome == "nak 0"
    assert gate.cancelled == ["inv-1"]
    assert rig.of("result") == []


async def test_cancelling_the_loop_cancels_its_calls() -> None:
    gate = Gate()
    async with running(gate) as rig:
        rig.put(dispatch())
        await gate.began.get()
        rig.task.cancel()
        await asyncio.wait([rig.task])
        assert rig.task.cancelled()
    assert gate.cancelled == ["inv-1"]


@pytest.mark.parametrize(
    ("concurrency", "waiting", "running_now", "concluding", "batch"),
    [
        (1, 0, 0, 0, 2),
        (1, 0, 1, 0, 1),
        (1, 1, 1, 0, 0),
        (1, 1, 0, 0, 1),
        (1, 0, 0, 7, 2),
        (1, 0, 0, 8, 0),
        (16, 0, 0, 0, 24),
        (16, 0, 16, 0, 8),
        (16, 8, 16, 0, 0),
        (16, 5, 16, 0, 0),
        (16, 3, 16, 0, 5),
        (16, 0, 15, 0, 9),
        (16, 0, 0, 16, 0),
        (16, 30, 16, 0, 0),
    ],
)
def test_how_many_are_fetched(concurrency: int, waiting: int, running_now: int, concluding: int, batch: int) -> None:
    assert fetch_batch(concurrency, waiting, running_now, concluding) == batch


async def test_s14_a_drain_waits_for_what_runs_and_starts_nothing_new() -> None:
    gate = Gate()
    async with running(gate) as rig:
        first, second = rig.put(dispatch("a", replySubject="")), rig.put(dispatch("b", replySubject=""))
        await gate.began.get()
        drained = asyncio.create_task(rig.loop.drained())
        await asyncio.sleep(0)
        gate.open.set()
        assert await drained
        assert (first.outcome, second.outcome) == ("ack", "")
        rig.stop.set()
        await second.ended.wait()
    assert second.outcome == "nak 0"
    assert rig.framework.calls == ["a"]


async def test_s14_after_a_drain_without_a_stop_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_module, "HOLD_S", 0.05)
    async with running(answer_ok) as rig:
        assert await rig.loop.drained()
        assert await rig.ended(rig.put(dispatch())) == ["ack"]


async def test_s14_a_drain_says_when_calls_take_too_long() -> None:
    gate = Gate()
    async with running(gate, SERVERLESS_DRAIN_TIMEOUT="20ms") as rig:
        rig.put(dispatch())
        await gate.began.get()
        assert not await rig.loop.drained()
        gate.open.set()


class Breaking(Gate):
    """A handler whose calls, once they may end, end with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def __call__(self, request: Json) -> Response:
        await super().__call__(request)
        raise self._error


async def test_s14_a_call_that_loses_its_framework_in_a_stop_is_given_back() -> None:
    """Whether it runs again is for its pool to say, as for all that a worker leaves behind."""
    handle = Breaking(FrameworkLostError("killed"))
    async with running(handle) as rig:
        delivery = rig.put(dispatch())
        await handle.began.get()
        rig.stop.set()
        handle.open.set()
        await delivery.ended.wait()
        assert rig.consumer.closed
    assert delivery.outcome == "nak 0"
    assert rig.kinds() == ["invocation_started", "end"]


async def test_s14_an_answer_that_is_not_http_is_a_result_in_a_stop_too() -> None:
    handle = Breaking(BrokenCallError("not an HTTP response"))
    async with running(handle) as rig:
        delivery = rig.put(dispatch())
        await handle.began.get()
        rig.stop.set()
        handle.open.set()
        assert await rig.ended(delivery) == ["ack"]
    assert [result["failureClass"] for result in rig.of("result")] == ["framework_error"]


async def test_s14_after_a_drain_a_lost_call_waits_for_the_stop() -> None:
    """It is not given back before: this sidecar itself would get it again."""
    handle = Breaking(FrameworkLostError("killed"))
    async with running(handle) as rig:
        delivery = rig.put(dispatch())
        await handle.began.get()
        drained = asyncio.create_task(rig.loop.drained())
        await asyncio.sleep(0)
        handle.open.set()
        assert await drained
        assert (delivery.outcome, rig.of("result")) == ("", [])
        rig.stop.set()
        await delivery.ended.wait()
        assert rig.consumer.closed
    assert delivery.outcome == "nak 0"
    assert rig.kinds() == ["invocation_started", "end"]


async def test_s14_after_a_drain_without_a_stop_a_lost_call_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch_module, "HOLD_S", 0.05)
    handle = Breaking(FrameworkLostError("killed"))
    async with running(handle) as rig:
        delivery = rig.put(dispatch())
        await handle.began.get()
        drained = asyncio.create_task(rig.loop.drained())
        await asyncio.sleep(0)
        handle.open.set()
        assert await drained
        assert await rig.ended(delivery) == ["ack"]
    assert [(result["state"], result["failureClass"]) for result in rig.of("result")] == [("failed", "framework_error")]
    assert rig.framework.calls == ["inv-1"]
