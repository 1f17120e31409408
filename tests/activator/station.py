"""An activator's parts on a real queue, and the test's own hands on the stream."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from sidecar.deliveries import Delivery
from sidecar.messages import InvocationResultMessage, WorkerDispatchMessage, decode, encode
from sidecar.queue import Queue
from sidecar.subjects import ACTIVATOR_CONSUMER, result_message_id
from simulator.activator.ingress import Ingress
from simulator.activator.settings import ActivatorSettings
from simulator.jetstream.consumers import consumer_state
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import stored_message
from simulator.ledger.events import Entry, place_of, read_entry
from simulator.ledger.follower import LedgerFollower
from tests.activator.parts import WAIT_S, Parts, invocation


class Station(Parts):
    """The parts on a real queue, with what feeds them."""

    def __init__(self, queue: Queue, settings: ActivatorSettings | None = None) -> None:
        settings = settings or ActivatorSettings()
        super().__init__(queue, LedgerFollower(queue), capacity=settings.capacity, ack_wait_s=settings.ack_wait_s)
        self.queue = queue
        self.ingress = Ingress(queue, self.follower, self.held, self.answers, self.router, settings)

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        return [*super().loops(), self.follower.run(), self.ingress.run(self.tasks), self.held.keep_alive()]


class Stream:
    """The test's own hands on a real stream: as API, as worker, and as whoever looks on."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.subjects = queue.subjects

    async def invoke(self, invocation_id: str, pool: str = "p", **fields: Any) -> int:
        data = encode(invocation(invocation_id, pool, **fields))
        return (await self.queue.publish(self.subjects.invoke(pool), data, message_id=invocation_id)).sequence

    async def result(self, invocation_id: str, pool: str = "p") -> int:
        message = InvocationResultMessage(invocation_id=invocation_id, serverless_request_id=pool)
        subject, message_id = self.subjects.result(pool), result_message_id(invocation_id)
        return (await self.queue.publish(subject, encode(message), message_id=message_id)).sequence

    async def serve(self) -> None:
        """Be all workers: answer each dispatch as soon as it is stored, until cancelled."""
        async for batch in follow(self.queue, f"{self.subjects.prefix}.dispatch.*.*", 1):
            for delivery in batch:
                dispatch = decode(delivery.data, WorkerDispatchMessage)
                await self.result(dispatch.invocation_id, dispatch.serverless_request_id)

    async def stored(self, subject: str) -> list[Delivery]:
        """All that is stored on a subject now."""
        found: list[Delivery] = []
        last = await stored_message(self.queue, last_by_subject=subject)
        if last is None:
            return found
        reader = await self.queue.reader(subject, 1)
        async with asyncio.timeout(WAIT_S):
            while not found or found[-1].sequence < last.sequence:
                found += await reader.fetch(256)
        await reader.close()
        return found

    async def entries(self) -> list[Entry]:
        """The whole stream, as a ledger reads it."""
        first = len(self.subjects.prefix) + 1
        messages = await self.stored(f"{self.subjects.prefix}.>")
        entries = [
            read_entry(place_of(each.subject[first:]), each.sequence, each.message_id, each.extra_headers)
            for each in messages
        ]
        return [entry for entry in entries if entry is not None]

    async def results(self) -> list[InvocationResultMessage]:
        return [
            decode(each.data, InvocationResultMessage) for each in await self.stored(f"{self.subjects.prefix}.result.*")
        ]

    async def held(self) -> int:
        """How many invocations were delivered and are not acknowledged."""
        state = await consumer_state(self.queue, ACTIVATOR_CONSUMER)
        return state.ack_pending if state else 0

    async def unsettled(self) -> int:
        """How many invocations are not acknowledged, or not even delivered."""
        state = await consumer_state(self.queue, ACTIVATOR_CONSUMER)
        return state.ack_pending + state.pending if state else 0


@asynccontextmanager
async def station(url: str, settings: ActivatorSettings | None = None) -> AsyncIterator[Station]:
    """A running station with a connection of its own."""
    async with Queue.connect(url, client_name="station") as queue:
        made = Station(queue, settings)
        async with made.running():
            yield made
