"""A reaper on a real stream, with workers that a test makes, loses and brings back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from sidecar.messages import (
    Event,
    InvocationMessage,
    InvocationResultMessage,
    WorkerDispatchMessage,
    WorkerMetricMessage,
    decode,
    encode,
    utc_now,
)
from sidecar.queue import Consumer, ConsumerSettings, Delivery, Queue
from sidecar.stored import ATTEMPT_HEADER, RUNS_HEADER
from sidecar.subjects import dispatch_message_id, metric_message_id, result_message_id, sidecar_consumer
from simulator.activator.fates import Fail
from simulator.activator.fleet import Condition, FleetSettings
from simulator.activator.held import Held, HeldInvocations
from simulator.activator.reaper import Reaper
from simulator.activator.roster import Roster
from simulator.gpuunit import ACTIVE_NAMESPACE, MANAGED_LABELS, SIDECAR_CONTAINER, UNIT_LABEL
from simulator.jetstream.consumers import ConsumerState, consumer_state
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import last_sequence
from simulator.kube.kinds import GPUUNIT, POD, Object
from simulator.ledger.follower import LedgerFollower
from simulator.worker_consumer import make_worker_consumer
from tests.activator.parts import Shown, until

WAIT_S = 20.0


class Rig:
    """A leader's reaper on a real stream, with units and pods, and a router, in the test's hands."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.units, self.pods = Shown(GPUUNIT), Shown(POD)
        self.follower = LedgerFollower(queue)
        self.ledger = self.follower.ledger
        self.roster = Roster(self.units, self.pods, self.ledger, FleetSettings())
        self.held = HeldInvocations(15, asyncio.get_running_loop().time, lambda: True)
        self.leads = True
        self.events_read = 0
        self.hears = asyncio.Event()
        self.hears.set()
        self.arrived: list[Held] = []
        self.failed: list[tuple[str, Fail]] = []
        self.reaper = self.new_reaper()
        self.reaping: asyncio.Task[None] | None = None
        self.roster.on_loss = lambda name: self.reaper.look_at(name)
        self.follower.on_change.append(lambda each: self.reaper.ledger_changed(each))

    def new_reaper(self) -> Reaper:
        return Reaper(
            self.queue,
            self.follower,
            self.roster,
            self.held,
            1,
            answer=lambda held, failure: self.failed.append((held.invocation_id, failure)),
            arrived=self.arrived.append,
            is_leader=lambda: self.leads,
            events_read=lambda: self.events_read,
            hear_events=lambda _timeout_s: asyncio.sleep(0),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        async with asyncio.TaskGroup() as tasks:
            parts = [tasks.create_task(part) for part in (self.follower.run(), self._hear(), self._lead())]
            yield self
            for part in (*parts, self.reaping):
                if part:
                    part.cancel()

    async def _lead(self) -> None:
        self.reaping = asyncio.create_task(self.reaper.run())
        with suppress(asyncio.CancelledError):
            await self.reaping

    async def hand_over(self) -> None:
        """The leader stops, and another one begins, which knows nothing."""
        assert self.reaping
        self.leads = False
        self.reaping.cancel()
        await asyncio.wait([self.reaping])
        self.arrived.clear()
        self.leads, self.reaper = True, self.new_reaper()
        self.reaping = asyncio.create_task(self.reaper.run())

    async def _hear(self) -> None:
        async for batch in follow(self.queue, self.queue.subjects.metrics("*"), 1):
            await self.hears.wait()
            for delivery in batch:
                self.roster.hear(decode(delivery.data, WorkerMetricMessage), delivery.stored_at)
                self.events_read = delivery.sequence

    # What the cluster shows

    def unit(self, name: str, pool: str = "p", uid: str = "1", **serverless: Any) -> None:
        self.units.show(
            {
                "metadata": {"name": name, "namespace": ACTIVE_NAMESPACE, "uid": f"{name}-{uid}"},
                "spec": {"serverless": {"requestID": pool, **serverless}},
            }
        )

    def pod(self, of: str, state: str = "running", *, leaving: bool = False) -> None:
        started = {"startedAt": "2026-01-01T00:00:00Z"} if state == "running" else {}
        metadata: Object = {
            "name": f"{of}-0",
            "namespace": ACTIVE_NAMESPACE,
            "labels": {**MANAGED_LABELS, UNIT_LABEL: of},
        }
        if leaving:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        status = {"initContainerStatuses": [{"name": SIDECAR_CONTAINER, "state": {state: started}}]}
        self.pods.show({"metadata": metadata, "status": status})

    async def worker(self, name: str, pool: str = "p", **serverless: Any) -> None:
        """A worker with unit, pod and consumer that has registered."""
        self.unit(name, pool, **serverless)
        self.pod(name)
        await make_worker_consumer(self.queue, pool, name, 1)
        await self.says(name, Event.REGISTERED)
        await until(lambda: self.condition(name) is Condition.LIVE)

    def condition(self, name: str) -> Condition | None:
        worker = self.roster.worker(name)
        return worker.condition if worker else None

    # What is stored

    async def says(self, worker: str, event: str, invocation_id: str = "") -> int:
        now = utc_now()
        message = WorkerMetricMessage(
            serverless_request_id="p",
            worker_name=worker,
            worker_namespace=ACTIVE_NAMESPACE,
            event_type=event,
            invocation_id=invocation_id,
            reported_at=now,
        )
        message_id = metric_message_id(worker, event, now, invocation_id)
        return (
            await self.queue.publish(self.queue.subjects.metrics("p"), encode(message), message_id=message_id)
        ).sequence

    async def dispatch(self, invocation_id: str, worker: str, attempt: int = 1, body: bytes = b"") -> int:
        subjects = self.queue.subjects
        if attempt == 1:
            invocation = InvocationMessage(invocation_id=invocation_id, serverless_request_id="p")
            await self.queue.publish(subjects.invoke("p"), encode(invocation), message_id=invocation_id)
        message = WorkerDispatchMessage(
            invocation_id=invocation_id,
            serverless_request_id="p",
            worker_name=worker,
            worker_namespace=ACTIVE_NAMESPACE,
            attributes={"of": invocation_id},
            reply_subject="_INBOX.x",
        )
        stored = await self.queue.publish(
            subjects.dispatch("p", worker),
            body or encode(message),
            message_id=dispatch_message_id(invocation_id, worker, attempt),
            headers={ATTEMPT_HEADER: str(attempt), RUNS_HEADER: "0"} if attempt > 1 else {},
        )
        await self.caught_up()
        return stored.sequence

    async def route(self, held: Held, worker: str) -> None:
        """Do with an orphan what the router does."""
        self.held.take(held)
        await self.dispatch(held.invocation_id, worker, held.attempt)
        self.held.drop(held)

    async def end(self, invocation_id: str, worker: str = "") -> None:
        message = InvocationResultMessage(invocation_id=invocation_id, serverless_request_id="p", worker_name=worker)
        message_id = result_message_id(invocation_id)
        await self.queue.publish(self.queue.subjects.result("p"), encode(message), message_id=message_id)
        await self.caught_up()

    async def caught_up(self) -> None:
        await self.follower.caught_up(await last_sequence(self.queue), WAIT_S)

    # What is seen

    @asynccontextmanager
    async def sidecar(self, worker: str) -> AsyncIterator[Consumer]:
        settings = ConsumerSettings(sidecar_consumer(worker), self.queue.subjects.dispatch("p", worker), 300, 1)
        consumer = await self.queue.consumer(settings)
        yield consumer
        await consumer.close()

    async def state(self, worker: str) -> ConsumerState | None:
        return await consumer_state(self.queue, sidecar_consumer(worker))

    async def orphans(self, *invocation_ids: str) -> list[Held]:
        """Wait until these, and no others, wait for another worker."""
        await until(lambda: len(self.arrived) >= len(invocation_ids))
        assert [held.invocation_id for held in self.arrived] == list(invocation_ids)
        return self.arrived

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait for something at the server, of which nobody tells."""
        async with asyncio.timeout(WAIT_S):
            while not await condition():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def until_gone(self, worker: str) -> None:
        async def is_gone() -> bool:
            return await self.state(worker) is None

        await self.until(is_gone)

    async def settled(self) -> None:
        """Wait until the reaper has nothing to do."""
        work = self.reaper._work
        await until(lambda: not (work._waiting or work._working or work._timers))


async def take(consumer: Consumer, count: int) -> list[Delivery]:
    """Fetch so many, as a sidecar does, and conclude none."""
    found: list[Delivery] = []
    async with asyncio.timeout(WAIT_S):
        while len(found) < count:
            found += await consumer.fetch(count)
    return found


def ids(deliveries: list[Delivery]) -> list[str]:
    return [decode(each.data, WorkerDispatchMessage).invocation_id for each in deliveries]
