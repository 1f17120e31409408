"""The dispatch loop over an in-memory queue and a scripted framework (contract 7.3 and 7.4)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from framework.contract import ZERO_TIME
from sidecar.concurrency import fetch_batch, max_ack_pending
from sidecar.config import Config
from sidecar.connection import Response
from sidecar.dispatch import STALLED_S, DispatchLoop
from sidecar.events import Events
from sidecar.framework_client import BrokenCallError, FrameworkClient, NeverSentError
from sidecar.framework_watch import FrameworkWatch
from sidecar.invocation import Invocations
from sidecar.messages import utc_now
from sidecar.metrics import Meters
from sidecar.publishing import Publisher
from sidecar.queue_errors import QueueError, QueueRefusedError, QueueUnavailableError
from sidecar.requests import Answer
from sidecar.stored import Published
from sidecar.subjects import Subjects
from sidecar.tracing import NO_HEADERS

ENV = {
    "SERVERLESS_NATS_URL": "nats://127.0.0.1:4222",
    "SERVERLESS_WORKER_NAME": "w1",
    "SERVERLESS_WORKER_NAMESPACE": "ns",
    "SERVERLESS_REQUEST_ID": "pool",
    "SERVERLESS_DISPATCH_BACKOFF": "2s,10s",
}
OK = Response(200, b'{"statusCode":201,"body":{"ok":1}}')
Json = dict[str, Any]
Handle = Callable[[Json], Awaitable[Response]]


def dispatch(invocation_id: str = "inv-1", **changes: object) -> bytes:
    fields: dict[str, object] = {
        "version": "v1",
        "invocationID": invocation_id,
        "serverlessRequestID": "pool",
        "workerName": "w1",
        "workerNamespace": "ns",
        "mode": "sync",
        "payload": {"n": 1},
        "replySubject": "_INBOX.1",
    }
    return msgspec.json.encode(fields | changes)


@dataclass
class MemoryDelivery:
    """A delivery that notes what happened to it; `ended` is set by ack, nak and term."""

    data: bytes
    sequence: int
    attempt: int
    note: Callable[[str, Json], None]
    subject: str = "runtime.serverless.dispatch.pool.w1"
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    consumer_sequence: int = 1
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    refreshed: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: str = ""
    fails: int = 0

    def _end(self, outcome: str) -> None:
        self.outcome = outcome
        self.note("end", {"outcome": outcome, "sequence": self.sequence})
        self.ended.set()

    async def ack(self) -> None:
        if self.fails:
            self._end("ack lost")
            raise QueueUnavailableError("ack lost")
        self._end("ack")

    async def nak(self, delay_s: float = 0) -> None:
        self._end(f"nak {delay_s:g}")

    async def term(self, reason: str) -> None:
        self._end(f"term {reason}")

    async def in_progress(self) -> None:
        self.refreshed.set()


class MemoryConsumer:
    """Hands out what was put in; `batches` are the sizes it was asked for."""

    ack_wait_s = 300.0

    def __init__(self) -> None:
        self.ready: asyncio.Queue[MemoryDelivery] = asyncio.Queue()
        self.held: list[MemoryDelivery] = []
        self.batches: list[int] = []
        self.errors: list[QueueError] = []
        self.closed = False

    async def fetch(self, batch: int, wait_s: float) -> Sequence[MemoryDelivery]:
        self.batches.append(batch)
        if self.errors:
            raise self.errors.pop()
        try:
            async with asyncio.timeout(wait_s):
                fetched = [await self.ready.get()]
        except TimeoutError:
            return []
        while len(fetched) < batch and not self.ready.empty():
            fetched.append(self.ready.get_nowait())
        return fetched

    async def close(self) -> None:
        self.closed = True


class MemoryQueue:
    """Keeps what is published, message ids deduplicated; `errors` are raised first."""

    def __init__(self, note: Callable[[str, Json], None]) -> None:
        self.subjects = Subjects()
        self.max_payload = 100_000
        self.ids: set[str] = set()
        self.errors: dict[str, list[QueueError]] = {}
        self._note = note

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> Published:
        return self._stored(subject, data, message_id, headers)

    def start_publish(
        self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None, answer: Answer
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            stored = self._stored(subject, data, message_id, headers)
        except QueueError as error:
            loop.call_soon(answer.set_exception, error)
        else:
            said = msgspec.json.encode({"seq": stored.sequence, "duplicate": stored.duplicate})
            loop.call_soon(answer.set_result, said)

    def _stored(self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str] | None) -> Published:
        family = subject.split(".")[2]
        if self.errors.get(family):
            raise self.errors[family].pop()
        duplicate = message_id in self.ids
        self.ids.add(message_id)
        note = {"duplicate": duplicate, "subject": subject, "natsHeaders": dict(headers or {})}
        self._note(family, msgspec.json.decode(data) | note)
        return Published("S", len(self.ids), duplicate)

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self.errors.get("reply"):
            raise self.errors["reply"].pop()
        self._note("reply", msgspec.json.decode(data) | {"subject": subject, "natsHeaders": dict(headers or {})})


class ScriptedFramework(FrameworkClient):
    """Answers with `handle`; counts the calls."""

    def __init__(self, handle: Handle) -> None:
        super().__init__("/nowhere")
        self.handle = handle
        self.calls: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.timeouts: list[float | None] = []

    async def invoke(
        self, body: bytes, timeout_s: float | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> Response:
        request: Json = msgspec.json.decode(body)
        self.headers.append(headers)
        self.timeouts.append(timeout_s)
        self.calls.append(request["invocationID"])
        return await self.handle(request)


class Rig:
    """A loop with everything around it in memory; `story` is all that was published, in order."""

    def __init__(self, handle: Handle, **settings: str) -> None:
        self.config = Config.from_env(ENV | settings)
        self.story: list[tuple[str, Json]] = []
        self.queue = MemoryQueue(lambda kind, fields: self.story.append((kind, fields)))
        self.consumer = MemoryConsumer()
        self.reopened = 0
        self.healthy = True
        self.framework = ScriptedFramework(handle)
        self.watch = FrameworkWatch(self._is_healthy)
        self.meters = Meters()
        self.events = Events(self.queue, self.meters)
        publisher = Publisher(self.queue)
        self.invocations = Invocations(self.config, publisher, self.events, self.framework, self.watch, self.meters)
        self.stop = asyncio.Event()
        self.loop = DispatchLoop(
            self.consumer,
            self._reopen,
            self.invocations,
            self.watch,
            drain_timeout_s=self.config.drain_timeout_s,
            concurrency=self.config.concurrency,
        )
        self.task: asyncio.Task[None]
        self._sequence = 0

    async def _is_healthy(self) -> bool:
        return self.healthy

    async def _reopen(self) -> MemoryConsumer:
        self.reopened += 1
        return self.consumer

    def put(self, data: bytes, attempt: int = 1, **options: Any) -> MemoryDelivery:
        self._sequence += 1
        delivery = MemoryDelivery(
            data, self._sequence, attempt, lambda kind, fields: self.story.append((kind, fields)), **options
        )
        self.consumer.ready.put_nowait(delivery)
        return delivery

    async def ended(self, *deliveries: MemoryDelivery) -> list[str]:
        """Wait until the deliveries and all events are out; return how each delivery ended."""
        for delivery in deliveries:
            await delivery.ended.wait()
        await self.events.flush(10)
        return [delivery.outcome for delivery in deliveries]

    def of(self, kind: str) -> list[Json]:
        return [fields for found, fields in self.story if found == kind]

    def kinds(self) -> list[str]:
        return [fields["eventType"] if kind == "metrics" else kind for kind, fields in self.story]


@asynccontextmanager
async def running(handle: Handle, **settings: str) -> AsyncIterator[Rig]:
    """Run a rig; at the end of the block it is stopped and drained."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        rig = Rig(handle, **settings)
        background = [tasks.create_task(rig.watch.run()), tasks.create_task(rig.events.run())]
        rig.task = tasks.create_task(rig.loop.run(rig.stop))
        yield rig
        rig.stop.set()
        await asyncio.wait([rig.task])
        for task in background:
            task.cancel()


async def answer_ok(_request: Json) -> Response:
    for _ in range(3):  # an answer takes some turns of the loop, as it does over a socket
        await asyncio.sleep(0)
    return OK


class Gate:
    """A handler that tells when a call began and waits until it may end."""

    def __init__(self) -> None:
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.open = asyncio.Event()
        self.running = 0
        self.most = 0
        self.cancelled: list[str] = []

    async def __call__(self, request: Json) -> Response:
        self.running += 1
        self.most = max(self.most, self.running)
        self.began.put_nowait(request["invocationID"])
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request["invocationID"])
            raise
        finally:
            self.running -= 1
        return OK


async def test_one_dispatch_in_the_contracts_order() -> None:
    """S16 too: the finished event no longer counts its own call."""
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert rig.kinds()[:3] == ["invocation_started", "result", "reply"]
    assert sorted(rig.kinds()[3:]) == ["end", "invocation_finished"]
    (result,) = rig.of("result")
    assert result["subject"] == "runtime.serverless.result.pool"
    assert (result["state"], result["statusCode"], result["body"]) == ("succeeded", 201, {"ok": 1})
    (reply,) = rig.of("reply")
    assert reply["subject"] == "_INBOX.1"
    assert {k: v for k, v in reply.items() if k != "subject"} == {
        k: v for k, v in result.items() if k not in {"subject", "duplicate"}
    }
    started, finished = rig.of("metrics")
    assert (started["inflight"], finished.get("inflight", 0)) == (1, 0)
    assert started["reportedAt"] == result["startedAt"]
    assert finished["reportedAt"] == result["completedAt"]
    assert rig.queue.ids >= {"result-inv-1", "metric-inv-1-invocation_started", "metric-inv-1-invocation_finished"}


async def test_the_reply_follows_the_subject_and_not_the_mode() -> None:
    async with running(answer_ok) as rig:
        first = rig.put(dispatch("a", mode="sync", replySubject=""))
        second = rig.put(dispatch("b", mode="async"))
        third = rig.put(dispatch("c", replySubject="runtime.serverless.invoke.pool"))
        assert await rig.ended(first, second, third) == ["ack"] * 3
    assert [reply["invocationID"] for reply in rig.of("reply")] == ["b"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Response(200, b'{"error":"bad","statusCode":500}'), ("failed", "handler_error", 500, "invocation_failed")),
        (Response(503, b"loading"), ("failed", "framework_refused", 502, "invocation_failed")),
        (BrokenCallError("the answer was lost"), ("failed", "framework_error", 502, "invocation_failed")),
    ],
)
async def test_failures_are_final_results(answer: Response | Exception, expected: tuple[str, str, int, str]) -> None:
    async def handle(_request: Json) -> Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    (result,) = rig.of("result")
    event = rig.of("metrics")[-1]
    assert (result["state"], result["failureClass"], result["statusCode"], event["eventType"]) == expected
    assert event["error"] == result["error"]
    assert rig.framework.calls == ["inv-1"]


async def test_the_time_budget_cancels_the_call() -> None:
    gate = Gate()
    async with running(gate) as rig:
        assert await rig.ended(rig.put(dispatch(timeoutSeconds=1))) == ["ack"]
    assert gate.cancelled == ["inv-1"]
    (result,) = rig.of("result")
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("expired", "framework_timeout", 504)


async def test_a_framework_that_is_not_there_is_waited_for() -> None:
    refusals = 3

    async def handle(_request: Json) -> Response:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise NeverSentError("nobody")
        return OK

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert rig.framework.calls == ["inv-1"] * 4
    assert [result["state"] for result in rig.of("result")] == ["succeeded"]


async def test_nothing_is_fetched_while_the_framework_is_unhealthy() -> None:
    async with running(answer_ok) as rig:
        rig.healthy = False
        delivery = rig.put(dispatch())
        for _ in range(20):
            await asyncio.sleep(0)
        assert rig.consumer.batches == []
        rig.healthy = True
        assert await rig.ended(delivery) == ["ack"]


async def test_a_redelivery_is_answered_from_memory() -> None:
    async with running(answer_ok) as rig:
        first = rig.put(dispatch(), fails=1)
        assert await rig.ended(first) == ["ack lost"]
        second = rig.put(dispatch(replySubject="_INBOX.2"), attempt=9)
        assert await rig.ended(second) == ["ack"]
    assert rig.framework.calls == ["inv-1"]
    assert [result["duplicate"] for result in rig.of("result")] == [False, True]
    assert [reply["subject"] for reply in rig.of("reply")] == ["_INBOX.1", "_INBOX.2"]
    assert len(rig.of("metrics")) == 2


async def test_a_redelivery_beside_the_running_call_waits_for_it() -> None:
    gate = Gate()
    async with running(gate, SERVERLESS_MAX_CONCURRENCY="2") as rig:
        first, second = rig.put(dispatch()), rig.put(dispatch(), attempt=2)
        assert await gate.began.get() == "inv-1"
        gate.open.set()
        assert await rig.ended(first, second) == ["ack", "ack"]
    assert rig.framework.calls == ["inv-1"]
    assert sorted(result["duplicate"] for result in rig.of("result")) == [False, True]


async def test_only_the_publish_is_repeated_when_a_result_cannot_be_stored() -> None:
    async with running(answer_ok) as rig:
        rig.queue.errors["result"] = [QueueUnavailableError("down"), QueueRefusedError("no stream")]
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert rig.framework.calls == ["inv-1"]
    assert len(rig.of("result")) == 1


async def test_a_lost_reply_or_event_changes_nothing_else() -> None:
    async with running(answer_ok) as rig:
        rig.queue.errors["reply"] = [QueueUnavailableError("down")]
        rig.queue.errors["metrics"] = [QueueUnavailableError("down")]
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    assert sorted(rig.kinds()) == ["end", "invocation_finished", "invocation_started", "result"]


async def test_a_result_that_no_message_can_carry_is_replaced() -> None:
    async def handle(_request: Json) -> Response:
        return Response(200, b'{"body":"' + b"x" * 200_000 + b'"}')

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch())) == ["ack"]
    (result,) = rig.of("result")
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("failed", "result_too_large", 502)
    assert "body" not in result
    assert "bytes" in result["error"]
    assert rig.of("metrics")[-1]["eventType"] == "invocation_failed"


@pytest.mark.parametrize(
    ("data", "failure_class", "answered"),
    [
        (b"\xff garbage", "malformed_message", False),
        (b"[]", "malformed_message", False),
        (dispatch(timeoutSeconds="soon"), "malformed_message", True),
        (dispatch(serverlessRequestID=7), "malformed_message", False),
        (dispatch(workerName="other"), "dispatch_error", True),
        (dispatch(workerNamespace="other"), "dispatch_error", True),
        (dispatch(serverlessRequestID="other"), "dispatch_error", True),
    ],
)
async def test_what_cannot_be_handled_is_dead_lettered(data: bytes, failure_class: str, answered: bool) -> None:
    async with running(answer_ok) as rig:
        bad, good = rig.put(data), rig.put(dispatch("good", replySubject=""))
        assert await rig.ended(bad, good) == [f"term {failure_class}", "ack"]
    (letter,) = rig.of("dlq")
    assert (letter["failureClass"], letter["streamSequence"], letter["deliveryCount"]) == (failure_class, 1, 1)
    failures = [result for result in rig.of("result") if result["invocationID"] != "good"]
    assert [(f["state"], f["failureClass"]) for f in failures] == ([("failed", failure_class)] if answered else [])
    assert len(rig.of("reply")) == len(failures)
    assert rig.framework.calls == ["good"]


async def test_names_are_compared_as_the_subjects_tokens() -> None:
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(workerName=" W1 ", serverlessRequestID="POOL"))) == ["ack"]


async def test_too_many_deliveries_are_dead_lettered_without_a_run() -> None:
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch("a"), attempt=5), rig.put(dispatch("b"), attempt=6)) == [
            "ack",
            "term retry_exhausted",
        ]
    assert rig.framework.calls == ["a"]
    assert [(r["invocationID"], r.get("failureClass")) for r in rig.of("result")] == [
        ("a", None),
        ("b", "retry_exhausted"),
    ]


@pytest.mark.parametrize(
    ("attempt", "outcome"), [(1, "nak 2"), (2, "nak 10"), (4, "nak 10"), (5, "term retry_exhausted")]
)
async def test_an_unexpected_failure_is_retried_with_growing_delays(attempt: int, outcome: str) -> None:
    async def handle(_request: Json) -> Response:
        raise RuntimeError("a fault of the sidecar itself")

    async with running(handle) as rig:
        assert await rig.ended(rig.put(dispatch(), attempt=attempt)) == [outcome]
    assert len(rig.of("dlq")) == (1 if outcome.startswith("term") else 0)


async def test_a_fetch_error_binds_the_consumer_anew() -> None:
    async with running(answer_ok) as rig:
        rig.consumer.errors = [QueueRefusedError("consumer deleted"), QueueUnavailableError("down")]
        first = rig.put(dispatch("a"))
        second = rig.put(dispatch("b"))
        assert await rig.ended(first, second) == ["ack", "ack"]
    assert rig.reopened == 2


def seconds_ago(seconds: float) -> str:
    return (utc_now() - timedelta(seconds=seconds)).isoformat()


@pytest.mark.parametrize(
    ("ages_s", "timeout_s", "runs"),
    [
        ({"enqueuedAt": 500, "dispatchedAt": 1}, 200, False),
        ({"dispatchedAt": 500}, 200, False),
        ({"enqueuedAt": 5, "dispatchedAt": 500}, 200, True),
        ({"dispatchedAt": -500}, 200, True),
        ({}, 200, True),
        ({"enqueuedAt": 500}, 0, True),
    ],
)
async def test_what_is_too_late_is_answered_without_running(ages_s: Json, timeout_s: int, runs: bool) -> None:
    """S7: the budget counts from when the caller's request was queued; the sender's clock may be ahead."""
    unset = {"dispatchedAt": ZERO_TIME.isoformat()}
    times = unset | {name: seconds_ago(age_s) for name, age_s in ages_s.items()}
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(**Json(times | {"timeoutSeconds": timeout_s})))) == ["ack"]
    (result,) = rig.of("result")
    (reply,) = rig.of("reply")
    assert reply["state"] == result["state"]
    if runs:
        assert (result["state"], rig.framework.calls) == ("succeeded", ["inv-1"])
    else:
        assert (result["state"], result["failureClass"], result["statusCode"]) == ("expired", "deadline_exceeded", 504)
        assert rig.framework.calls == []
        assert [event["eventType"] for event in rig.of("metrics")] == ["invocation_failed"]


async def test_a_running_call_is_cancelled_on_demand() -> None:
    """S8: the request is closed, so the handler is cancelled, and the result says so."""
    gate = Gate()
    async with running(gate) as rig:
        delivery = rig.put(dispatch())
        await gate.began.get()
        rig.invocations.cancel("inv-1")
        rig.invocations.cancel("inv-1")
        assert await rig.ended(delivery) == ["ack"]
    assert gate.cancelled == ["inv-1"]
    (result,) = rig.of("result")
    assert (result["state"], result["failureClass"], result["statusCode"]) == ("failed", "cancelled", 499)
    assert sorted(rig.kinds()[3:]) == ["end", "invocation_failed"]


async def test_a_waiting_call_that_is_cancelled_does_not_start() -> None:
    """S8: and a later invocation of another caller is not touched."""
    gate = Gate()
    async with running(gate) as rig:
        deliveries = [rig.put(dispatch(name, replySubject="")) for name in ("a", "b", "c")]
        await gate.began.get()
        rig.invocations.cancel("b")
        gate.open.set()
        assert await rig.ended(*deliveries) == ["ack"] * 3
    assert rig.framework.calls == ["a", "c"]
    assert [(r["invocationID"], r.get("failureClass")) for r in rig.of("result")] == [
        ("a", None),
        ("b", "cancelled"),
        ("c", None),
    ]


@pytest.mark.parametrize("timeout_s", [0, 4_000, 100_000])
async def test_there_is_no_hidden_cap_on_a_call(timeout_s: int) -> None:
    """S6: the call's only limit is its own budget, and none when it has none."""
    gate = Gate()
    async with running(gate) as rig:
        delivery = rig.put(dispatch(timeoutSeconds=timeout_s))
        await gate.began.get()
        timer, now = rig.invocations._calls["inv-1"].timer, asyncio.get_running_loop().time()
        gate.open.set()
        assert await rig.ended(delivery) == ["ack"]
    assert rig.framework.timeouts == [None]
    assert (timer is None) if not timeout_s else (timer is not None and timer.when() - now > timeout_s - 60)


async def test_the_trace_context_goes_through() -> None:
    """S30: from the NATS headers, or else from the invocation's own, to framework, result, reply and events."""
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    own = parent.replace("b7ad", "c7ad")
    async with running(answer_ok) as rig:
        first = rig.put(dispatch("a", headers={"traceparent": own}), extra_headers={"traceparent": parent, "x": "y"})
        second = rig.put(dispatch("b", headers={"Traceparent": own, "tracestate": "v=1", "x": "y"}))
        third = rig.put(dispatch("c", headers={"traceparent": "nonsense"}))
        assert await rig.ended(first, second, third) == ["ack"] * 3
    expected = [{"traceparent": parent}, {"traceparent": own, "tracestate": "v=1"}, {}]
    assert [dict(headers) for headers in rig.framework.headers] == expected
    for kind in ("result", "reply"):
        assert [fields["natsHeaders"] for fields in rig.of(kind)] == expected
    assert [fields["natsHeaders"] for fields in rig.of("metrics") if fields["eventType"] == "invocation_finished"] == (
        expected
    )


@pytest.mark.parametrize(
    ("field_name", "subject", "outcome"),
    [
        ("resultSubject", "runtime.serverless.result.pool", "ack"),
        ("resultSubject", "elsewhere.result.pool", "term dispatch_error"),
        ("metricsSubject", "runtime.serverless.metrics.pool", "ack"),
        ("metricsSubject", "runtime.serverless.metrics.other", "term dispatch_error"),
    ],
)
async def test_subjects_of_another_platform_are_refused(field_name: str, subject: str, outcome: str) -> None:
    """S19: a result that nobody there would find is not published here in silence: its caller is told."""
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(**{field_name: subject}))) == [outcome]
    (result,) = rig.of("result")
    assert result.get("failureClass", "") == ("" if outcome == "ack" else "dispatch_error")
    assert subject in result.get("error", subject)


async def test_the_events_of_a_second_run_are_seen() -> None:
    """S12: their ids carry the attempt, from the second on, so that the stream does not drop them as duplicates."""
    async with running(answer_ok) as rig:
        assert await rig.ended(rig.put(dispatch(), attempt=2)) == ["ack"]
    assert rig.queue.ids >= {"metric-inv-1-invocation_started-2", "metric-inv-1-invocation_finished-2"}


async def test_what_happens_is_counted() -> None:
    """S30."""
    async with running(answer_ok) as rig:
        deliveries = [
            rig.put(dispatch("a", dispatchedAt=seconds_ago(2))),
            rig.put(dispatch("a"), attempt=2),
            rig.put(b"nonsense"),
            rig.put(dispatch("b", timeoutSeconds=1, dispatchedAt=seconds_ago(2))),
        ]
        await rig.ended(*deliveries)
    meters = rig.meters
    assert dict(meters.outcomes) == {("succeeded", ""): 1, ("expired", "deadline_exceeded"): 1}
    assert (meters.redeliveries, meters.answered_from_memory, meters.inflight) == (1, 1, 0)
    assert dict(meters.dead_letters) == {"malformed_message": 1}
    assert [sum(h.counts) for h in (meters.queue_wait, meters.handler, meters.publish)] == [2, 1, 3]


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
