"""The activator's shell between a stub queue and stub units: what it publishes, acknowledges and creates."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from sidecar.messages import (
    DeadLetterMessage,
    FailureClass,
    InvocationMessage,
    InvocationResultMessage,
    State,
    WorkerDispatchMessage,
    decode,
    encode,
    utc_now,
)
from sidecar.queue import Published, QueueUnavailableError, StreamSettings
from simulator.activator.activator import MAX_ATTEMPTS, Activator, ActivatorSettings
from simulator.activator.decisions import MANAGED_LABEL, worker_from
from simulator.errors import AlreadyExistsError, KubeError
from simulator.kube.kinds import Object

WAIT_S = 5


@dataclass
class StubDelivery:
    data: bytes
    attempt: int = 1
    sequence: int = 7
    consumer_sequence: int = 7
    subject: str = "runtime.serverless.invoke.p"
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    def _end(self, how: str) -> None:
        self.ended.append(how)
        self.end.set()

    async def ack(self) -> None:
        self._end("ack")

    async def nak(self, delay_s: float = 0) -> None:
        self._end(f"nak {delay_s:g}")

    async def term(self, reason: str) -> None:
        self._end(f"term {reason}")

    async def in_progress(self) -> None: ...


class StubQueue:
    """Hands out what the test delivers and records what the activator publishes."""

    def __init__(self) -> None:
        self.stream = StreamSettings()
        self.subjects = self.stream.subjects
        self.deliveries: asyncio.Queue[StubDelivery] = asyncio.Queue()
        self.published: list[tuple[str, str, bytes]] = []
        self.replies: list[tuple[str, bytes]] = []
        self.refuse_publish = False
        self.max_payload = 1024 * 1024

    async def consumer(self, _settings: object) -> "StubQueue":
        return self

    async def fetch(self, batch: int) -> list[StubDelivery]:
        return [await self.deliveries.get()]

    async def close(self) -> None: ...

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str] | None = None
    ) -> Published:
        if self.refuse_publish:
            raise QueueUnavailableError("no answer")
        self.published.append((subject, message_id, data))
        return Published("S", len(self.published), duplicate=False)

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.replies.append((subject, data))


class StubUnits:
    """What the watch would show; `set` changes it and wakes whoever waits."""

    def __init__(self) -> None:
        self._units: dict[str, Object] = {}
        self._changed = asyncio.Event()

    def set(self, name: str, phase: str, managed: bool = False) -> None:
        labels = {MANAGED_LABEL: "activator"} if managed else {}
        self.put(
            {
                "metadata": {"name": name, "namespace": "ns", "labels": labels},
                "spec": {"serverless": {"requestID": "p"}},
                "status": {"phase": phase},
            }
        )

    def put(self, unit: Object) -> None:
        self._units[unit["metadata"]["name"]] = unit
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def synced(self) -> None: ...

    def objects(self) -> list[Object]:
        return list(self._units.values())

    def get(self, _namespace: str, name: str) -> Object | None:
        return self._units.get(name)

    async def wait_for(self, find: Callable[[Any], Any], timeout_s: float) -> Any:
        async with asyncio.timeout(timeout_s):
            while (found := find(self)) is None:
                await self._changed.wait()
        return found


class StubCluster:
    """Shows each created unit to the watch at once, in the phase that the test chose."""

    def __init__(self, units: StubUnits, phase: str = "Ready") -> None:
        self.created: list[Object] = []
        self.error: KubeError | None = None
        self.on_refusal: Callable[[], None] = lambda: None
        self._units, self._phase = units, phase

    async def create(self, _kind: object, unit: Object) -> Object:
        if self.error:
            self.on_refusal()
            raise self.error
        self.created.append(unit)
        self._units.put(unit | {"status": {"phase": self._phase}})
        return unit


class Bench:
    def __init__(self) -> None:
        self.queue = StubQueue()
        self.units = StubUnits()
        self.cluster = StubCluster(self.units)

    @asynccontextmanager
    async def running(self, ready_wait_s: float = WAIT_S) -> AsyncIterator["Bench"]:
        settings = ActivatorSettings(worker_ready_wait_s=ready_wait_s)
        activator = Activator(self.cluster, self.units, self.queue, settings)  # type: ignore[arg-type]
        task = asyncio.create_task(activator.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    def deliver(self, data: bytes, attempt: int = 1) -> StubDelivery:
        delivery = StubDelivery(data, attempt)
        self.queue.deliveries.put_nowait(delivery)
        return delivery

    async def settle(self, data: bytes, attempt: int = 1) -> list[str]:
        delivery = self.deliver(data, attempt)
        async with asyncio.timeout(WAIT_S):
            await delivery.end.wait()
        return delivery.ended

    def results(self) -> list[InvocationResultMessage]:
        return [
            decode(data, InvocationResultMessage) for subject, _, data in self.queue.published if ".result." in subject
        ]


def invocation(invocation_id: str = "inv-1", **fields: Any) -> bytes:
    defaults: dict[str, Any] = {"serverless_request_id": "p", "reply_subject": "_INBOX.x", "enqueued_at": utc_now()}
    return encode(InvocationMessage(invocation_id=invocation_id, **(defaults | fields)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_ready_worker_gets_the_dispatch(bench: Bench) -> None:
    bench.units.set("w", "Ready")
    async with bench.running():
        assert await bench.settle(invocation(attributes={"a": "b"}, timeout_seconds=9)) == ["ack"]
    [(subject, message_id, data)] = bench.queue.published
    assert (subject, message_id) == ("runtime.serverless.dispatch.p.w", "dispatch-inv-1-w")
    dispatch = decode(data, WorkerDispatchMessage)
    assert (dispatch.worker_name, dispatch.worker_namespace, dispatch.state) == ("w", "ns", State.DISPATCHING)
    assert (dispatch.attributes, dispatch.timeout_seconds) == ({"a": "b"}, 9)
    assert (dispatch.result_subject, dispatch.metrics_subject, dispatch.reply_subject) == (
        "runtime.serverless.result.p",
        "runtime.serverless.metrics.p",
        "_INBOX.x",
    )
    assert bench.queue.replies == []


async def test_a2_a_cold_pool_keeps_nobody_waiting(bench: Bench) -> None:
    bench.units.set("cold", "Progressing")
    async with bench.running():
        waiting = bench.deliver(invocation("inv-cold"))
        ended = await bench.settle(invocation("inv-lost", serverless_request_id="q"))
        assert ended == ["ack"]  # answered, while the cold one still waits
        assert waiting.ended == []
        bench.units.set("cold", "Ready")
        async with asyncio.timeout(WAIT_S):
            await waiting.end.wait()
    assert waiting.ended == ["ack"]
    assert [message_id for _, message_id, _ in bench.queue.published] == ["result-inv-lost", "dispatch-inv-cold-cold"]


async def test_no_unit_gives_a_failed_result_and_a_reply(bench: Bench) -> None:
    async with bench.running():
        assert await bench.settle(invocation()) == ["ack"]
    [result] = bench.results()
    assert (result.status_code, result.state, result.failure_class) == (
        503,
        State.FAILED,
        FailureClass.NO_WORKER_TEMPLATE,
    )
    assert result.worker_name == ""
    assert bench.queue.replies == [("_INBOX.x", bench.queue.published[0][2])]


async def test_a17_failure_results_have_both_times(bench: Bench) -> None:
    enqueued_at = utc_now() - timedelta(seconds=3)
    async with bench.running():
        await bench.settle(invocation(enqueued_at=enqueued_at))
    [result] = bench.results()
    assert result.started_at == enqueued_at < result.completed_at


async def test_a_failed_template_is_replaced_by_a_new_worker(bench: Bench) -> None:
    bench.units.set("template", "Failed")
    async with bench.running():
        assert await bench.settle(invocation()) == ["ack"]
    [worker] = bench.cluster.created
    dispatch = decode(bench.queue.published[0][2], WorkerDispatchMessage)
    assert dispatch.worker_name == worker["metadata"]["name"]


async def test_a6_workers_that_cannot_run_end_in_a_result_not_in_more_workers(bench: Bench) -> None:
    bench.cluster = StubCluster(bench.units, phase="Failed")
    bench.units.set("template", "Failed")
    async with bench.running():
        assert await bench.settle(invocation("inv-1")) == ["ack"]
        assert await bench.settle(invocation("inv-2")) == ["ack"]
    assert len(bench.cluster.created) == 1
    assert [result.failure_class for result in bench.results()] == [FailureClass.ACTIVATION_TIMEOUT] * 2


async def test_a_worker_that_does_not_become_ready_in_time_is_given_up(bench: Bench) -> None:
    bench.units.set("slow", "Progressing")
    async with bench.running(ready_wait_s=0.05):
        assert await bench.settle(invocation()) == ["ack"]
    assert len(bench.cluster.created) == 1
    assert bench.queue.published[0][1].startswith("dispatch-inv-1-unit-p-worker-")


async def test_another_activator_made_the_worker_already(bench: Bench) -> None:
    bench.units.set("template", "Failed")
    template = bench.units.objects()[0]
    bench.cluster.error = AlreadyExistsError("it exists")
    bench.cluster.on_refusal = lambda: bench.units.put(worker_from(template, "inv-1") | {"status": {"phase": "Ready"}})
    async with bench.running():
        assert await bench.settle(invocation()) == ["ack"]
    assert decode(bench.queue.published[0][2], WorkerDispatchMessage).invocation_id == "inv-1"


@pytest.mark.parametrize(("attempt", "delay"), [(1, "2"), (2, "10"), (3, "30"), (4, "30")])
async def test_a9_a_passing_fault_is_retried_later(bench: Bench, attempt: int, delay: str) -> None:
    bench.units.set("template", "Failed")
    bench.cluster.error = KubeError("no answer")
    async with bench.running():
        assert await bench.settle(invocation(), attempt) == [f"nak {delay}"]
    assert bench.queue.published == []


async def test_a9_after_the_last_attempt_there_is_a_result(bench: Bench) -> None:
    bench.units.set("template", "Failed")
    bench.cluster.error = KubeError("no answer")
    async with bench.running():
        assert await bench.settle(invocation(), MAX_ATTEMPTS) == ["ack"]
    [result] = bench.results()
    assert (result.status_code, result.failure_class, result.error) == (502, FailureClass.DISPATCH_ERROR, "no answer")


async def test_without_the_queue_an_invocation_is_not_lost(bench: Bench) -> None:
    bench.units.set("w", "Ready")
    bench.queue.refuse_publish = True
    async with bench.running():
        assert await bench.settle(invocation()) == ["nak 2"]
        bench.queue.refuse_publish = False
        assert await bench.settle(invocation(), attempt=2) == ["ack"]
    assert [message_id for _, message_id, _ in bench.queue.published] == ["dispatch-inv-1-w"]


async def test_a20_an_expired_invocation_is_not_dispatched(bench: Bench) -> None:
    bench.units.set("w", "Ready")
    async with bench.running():
        data = invocation(timeout_seconds=2, enqueued_at=utc_now() - timedelta(seconds=3))
        assert await bench.settle(data) == ["ack"]
    [result] = bench.results()
    assert (result.status_code, result.state) == (504, State.EXPIRED)
    assert len(bench.queue.published) == 1


@pytest.mark.parametrize(
    ("data", "recognised"),
    [
        pytest.param(b"\xff\x00", False, id="not text"),
        pytest.param(b"[]", False, id="not an object"),
        pytest.param(b'{"invocationID":"inv-1"}', False, id="no pool"),
        pytest.param(b'{"invocationID":"inv-1","serverlessRequestID":"P","headers":7}', True, id="wrong type"),
        pytest.param(b'{"invocationID":"inv-1","serverlessRequestID":"a.b"}', False, id="bad pool"),
        pytest.param(b'{"invocationID":"","serverlessRequestID":"p"}', False, id="empty ID"),
    ],
)
async def test_q3_malformed_invocations_are_dead_lettered(bench: Bench, data: bytes, recognised: bool) -> None:
    bench.units.set("w", "Ready")
    async with bench.running():
        assert await bench.settle(data) == [f"term {FailureClass.MALFORMED_MESSAGE}"]
        assert await bench.settle(invocation("inv-next")) == ["ack"]  # the activator lives on
    subject, _, letter = bench.queue.published[0]
    assert subject.startswith("runtime.serverless.dlq.invocation.")
    assert decode(letter, DeadLetterMessage).stream_sequence == 7
    failures = [(result.invocation_id, result.failure_class) for result in bench.results()]
    assert failures == ([("inv-1", FailureClass.MALFORMED_MESSAGE)] if recognised else [])
