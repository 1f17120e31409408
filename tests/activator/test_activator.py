"""A whole activator between a real queue and an embedded cluster, without workers' processes (contract 9)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec import structs

from sidecar.cancellation import CancelMessage
from sidecar.messages import Event, FailureClass, InvocationResultMessage, WorkerDispatchMessage, decode, encode
from sidecar.queue import Queue
from sidecar.stored import ATTEMPT_HEADER
from sidecar.subjects import metric_message_id, sidecar_consumer
from simulator.activator.activator import Activator
from simulator.activator.settings import ActivatorSettings
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.jetstream.bucket import ACTIVATOR, BucketSettings, ensure_bucket
from simulator.jetstream.consumers import consumer_state
from simulator.journal import Journal, journal_of
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.nats_server import NatsServer
from simulator.worker_consumer import make_worker_consumer
from tests.activator.parts import WAIT_S, event, invocation
from tests.activator.station import Stream

pytestmark = pytest.mark.e2e

TRACE = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "vendor=1"}
POLL_S = 0.01

T = TypeVar("T")


async def server_says(ask: Callable[[], Awaitable[T]], condition: Callable[[T], object]) -> None:
    """Wait until the server's answer is as wanted; it tells nobody of itself."""
    async with asyncio.timeout(WAIT_S):
        while not condition(await ask()):  # noqa: ASYNC110 - as said
            await asyncio.sleep(POLL_S)


@dataclass
class Stage:
    """A queue, a cluster, and the test as API and as workers."""

    url: str
    cluster: Cluster
    units: Informer
    stream: Stream
    journal: Journal

    @asynccontextmanager
    async def activator(self, settings: ActivatorSettings | None = None) -> AsyncIterator[Activator]:
        """A running activator with a connection of its own; what ends it ends the test."""
        async with Queue.connect(self.url, client_name="activator") as queue, asyncio.TaskGroup() as tasks:
            made = Activator(self.cluster, self.units, queue, settings)
            running = tasks.create_task(made.run())
            yield made
            running.cancel()

    async def unit(self, name: str, pool: str = "p", **serverless: object) -> None:
        """Somebody makes a unit."""
        spec = {"specName": "g1.1", "serverless": {"enabled": True, "requestID": pool, **serverless}}
        metadata = {"name": name, "namespace": ACTIVE_NAMESPACE}
        await self.cluster.create(
            GPUUNIT, {"apiVersion": GPUUNIT.api_version, "kind": GPUUNIT.kind, "metadata": metadata, "spec": spec}
        )

    async def say(self, kind: str, worker: str, pool: str = "p") -> None:
        """A worker's sidecar says something of itself."""
        said = event(kind, worker, pool)
        message_id = metric_message_id(worker, kind, said.reported_at)
        await self.stream.queue.publish(self.stream.subjects.metrics(pool), encode(said), message_id=message_id)

    async def worker(self, name: str, pool: str = "p", **serverless: object) -> None:
        """A unit whose sidecar registers."""
        await self.unit(name, pool, **serverless)
        await self.say(Event.REGISTERED, name, pool)

    async def dispatched(self, count: int = 1) -> list[tuple[str, str]]:
        """Wait until so many dispatches are stored; return their invocations and workers."""
        await self.seen(lambda: len(self.dispatches()) >= count)
        return [(each.invocation_id, each.worker_name) for each in self.dispatches()]

    def dispatches(self) -> list[WorkerDispatchMessage]:
        return self.journal.of_type(WorkerDispatchMessage)

    def results(self) -> list[InvocationResultMessage]:
        return self.journal.of_type(InvocationResultMessage)

    async def result(self) -> InvocationResultMessage:
        """Wait for the first result."""
        await self.seen(self.results)
        return self.results()[0]

    async def seen(self, condition: Callable[[], object]) -> None:
        """Wait until the stream looks so."""
        await self.journal.wait_for(lambda _: bool(condition()), WAIT_S, "what the test waits for")

    async def holds(self, count: int) -> None:
        """Wait until activators hold so many invocations."""
        await server_says(self.stream.held, lambda held: held == count)

    async def settled(self) -> None:
        """Wait until no invocation is in anybody's hands."""
        await server_says(self.stream.unsettled, lambda count: count == 0)


@pytest.fixture
async def stage(nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Stage]:
    kubeconfig = tmp_path / "kubeconfig"
    async with KubeServer(ResourceStore()) as server, Queue.connect(nats_server.url, client_name="test") as queue:
        server.write_kubeconfig(kubeconfig)
        await queue.ensure_stream()
        await ensure_bucket(queue, BucketSettings(ACTIVATOR))
        async with Cluster(kubeconfig, field_manager="test") as cluster, asyncio.TaskGroup() as tasks:
            units = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE)
            watching = tasks.create_task(units.run())
            await units.synced()
            async with journal_of(queue) as journal:
                yield Stage(nats_server.url, cluster, units, Stream(queue), journal)
            watching.cancel()


async def test_a5_a_registered_worker_gets_what_waited_for_it(stage: Stage) -> None:
    """A5: neither ports, nor a URL, nor the unit's status are needed."""
    async with stage.activator():
        await stage.unit("w")
        await stage.stream.invoke("a", attributes={"k": "v"}, timeout_seconds=60)
        await stage.say(Event.REGISTERED, "w")
        assert await stage.dispatched() == [("a", "w")]
        await stage.settled()
        [stored] = await stage.stream.stored(stage.stream.subjects.dispatch("p", "w"))
        dispatch = decode(stored.data, WorkerDispatchMessage)
        assert (dispatch.attributes, dispatch.timeout_seconds) == ({"k": "v"}, 60)
        assert dispatch.worker_namespace == ACTIVE_NAMESPACE


async def test_s30_the_callers_trace_goes_with_the_dispatch(stage: Stage) -> None:
    """It comes in the headers of the message, or of the invocation."""
    async with stage.activator(ActivatorSettings(capacity=2)):
        await stage.worker("w")
        queue, subject = stage.stream.queue, stage.stream.subjects.invoke("p")
        await queue.publish(subject, encode(invocation("a")), message_id="a", headers=TRACE)
        await stage.stream.invoke("b", headers=TRACE)
        await stage.dispatched(2)
        for stored in await stage.stream.stored(stage.stream.subjects.dispatch("p", "w")):
            assert {name: stored.extra_headers.get(name) for name in TRACE} == TRACE


async def test_a12_a_restarted_activator_knows_its_workers(stage: Stage) -> None:
    """A12, A19: the workers say nothing again."""
    async with stage.activator():
        await stage.worker("w")
        await stage.stream.invoke("a")
        await stage.dispatched()
        await stage.stream.result("a")
    async with stage.activator():
        await stage.stream.invoke("b")
        assert await stage.dispatched(2) == [("a", "w"), ("b", "w")]


async def test_a18_who_ends_gives_back_what_waits(stage: Stage) -> None:
    """A18: others have it at once, long before the ack wait has passed."""
    settings = ActivatorSettings(ack_wait_s=600)
    await stage.unit("w")
    async with stage.activator(settings):
        for number in range(5):
            await stage.stream.invoke(f"i{number}")
        await stage.holds(5)
    async with stage.activator(settings):
        await stage.say(Event.REGISTERED, "w")
        for number in range(5):
            assert (await stage.dispatched(number + 1))[number] == (f"i{number}", "w")
            await stage.stream.result(f"i{number}")
        await stage.settled()


async def test_a20_an_invocation_expires_where_no_worker_comes(stage: Stage) -> None:
    async with stage.activator():
        await stage.unit("w")
        await stage.stream.invoke("a", timeout_seconds=1)
        result = await stage.result()
        assert (result.status_code, result.state, result.failure_class) == (
            504,
            "expired",
            FailureClass.ACTIVATION_TIMEOUT,
        )
        await stage.settled()
        assert stage.dispatches() == []


async def test_nobody_serves_the_pool(stage: Stage) -> None:
    """A17: the caller is told, with both times."""
    async with stage.activator(), stage.stream.queue.listen("_INBOX.a") as inbox:
        await stage.stream.invoke("a")
        told = decode(await inbox.receive(WAIT_S), InvocationResultMessage)
        assert (told.status_code, told.failure_class) == (503, FailureClass.NO_WORKER_TEMPLATE)
        assert told.started_at < told.completed_at
        await stage.settled()
        assert stage.results() == [told]


async def cancel(stage: Stage, invocation_id: str, **fields: bool) -> bytes:
    body = encode(CancelMessage(invocation_id=invocation_id, **fields))
    await stage.stream.queue.send(stage.stream.subjects.cancel_queued("p"), body)
    return body


async def test_s8_a_cancel_takes_back_what_waits(stage: Stage) -> None:
    async with stage.activator():
        await stage.unit("w")
        await stage.stream.invoke("a")
        await stage.holds(1)
        await cancel(stage, "a", if_not_started=True)
        result = await stage.result()
        assert (result.status_code, result.failure_class) == (499, FailureClass.CANCELLED)
        await stage.settled()
        await stage.say(Event.REGISTERED, "w")
        await stage.stream.invoke("b")
        assert await stage.dispatched() == [("b", "w")]


@pytest.mark.parametrize("if_not_started", [True, False])
async def test_s8_a_cancel_of_what_a_worker_has_is_passed_on_to_it(stage: Stage, if_not_started: bool) -> None:
    """With `ifNotStarted` as it was: only the worker knows whether it began."""
    subject = stage.stream.subjects.cancel("p", "w")
    async with stage.activator(), stage.stream.queue.listen(subject) as worker:
        await stage.worker("w")
        await stage.stream.invoke("a")
        await stage.dispatched()
        await stage.settled()
        sent = await cancel(stage, "a", if_not_started=if_not_started)
        passed_on = await worker.receive(WAIT_S)
        assert decode(passed_on, CancelMessage) == decode(sent, CancelMessage)
        assert (b"ifNotStarted" in passed_on) == if_not_started
        assert stage.results() == []


async def test_s13_a_pools_only_worker_gets_its_calls_back_when_it_returns(stage: Stage) -> None:
    """Although the pool may have no other worker, and this one is full by what it lost."""
    queue = stage.stream.queue
    async with stage.activator():
        await stage.worker("w", maxAvailableCount=1)
        await make_worker_consumer(queue, "p", "w", 1)
        await stage.stream.invoke("a")
        await stage.dispatched()
        await stage.settled()
        await stage.say(Event.DEREGISTERED, "w")
        await server_says(
            lambda: consumer_state(queue, sidecar_consumer("w")), lambda state: state is not None and state.start > 2
        )
        await stage.say(Event.REGISTERED, "w")
        assert await stage.dispatched(2) == [("a", "w"), ("a", "w")]
        stored = await stage.stream.stored(stage.stream.subjects.dispatch("p", "w"))
        assert stored[1].extra_headers[ATTEMPT_HEADER] == "2"


async def test_events_that_are_none_end_nothing(stage: Stage) -> None:
    async with stage.activator():
        queue, metrics = stage.stream.queue, stage.stream.subjects.metrics("p")
        for body in (b"", b"[]", b"\xff", b'{"eventType":7}'):
            await queue.publish(metrics, body)
        stranger = structs.replace(event(Event.HEARTBEAT, "nobody", "q"), worker_name="")
        await queue.publish(metrics, encode(stranger))
        await queue.send(stage.stream.subjects.cancel_queued("p"), b"[]")
        await queue.send(stage.stream.subjects.cancel_queued("p"), encode(CancelMessage(invocation_id="unknown")))
        await stage.worker("w")
        await stage.stream.invoke("a")
        assert await stage.dispatched() == [("a", "w")]
