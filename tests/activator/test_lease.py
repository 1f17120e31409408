"""Who leads (A18): at most one at a time, whatever happens to the queue, and somebody again soon."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sidecar.queue import Queue
from simulator.activator.lease import LEASE_KEY, Lease
from simulator.jetstream.bucket import (
    ACTIVATOR,
    BucketSettings,
    ensure_bucket,
    subject,
)
from simulator.nats_server import NatsServer
from tests.activator.bucket_server import BucketQueue, BucketServer, shaky
from tests.activator.virtual_time import run_virtually

LEASE_S = 6.0
KEY = subject(ACTIVATOR, LEASE_KEY)


@dataclass
class Rivals:
    """Who acts as the leader now and who did, and how often two did at once."""

    leading: set[str] = field(default_factory=set)
    terms: list[str] = field(default_factory=list)
    overlaps: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def lead(self, name: str) -> None:
        """A leader's work."""
        self.overlaps += bool(self.leading)
        self.leading.add(name)
        self.terms.append(name)
        async with self.changed:
            self.changed.notify_all()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.discard(name)

    async def until(self, terms: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.terms) >= terms)


@asynccontextmanager
async def candidate(name: str, queue: BucketQueue | Queue, rivals: Rivals) -> AsyncIterator[Lease]:
    clock = asyncio.get_running_loop().time
    lease = Lease(queue, name, LEASE_S, clock)  # type: ignore[arg-type]
    running = asyncio.create_task(lease.run(lambda: rivals.lead(name)))
    try:
        yield lease
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()


def now() -> float:
    return asyncio.get_running_loop().time()


def virtually(test: Callable[[BucketServer, Rivals], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(BucketServer(), Rivals())

    run_virtually(run())


def test_the_first_candidate_leads_at_once() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        async with candidate("a", BucketQueue(server), rivals) as lease:
            await rivals.until(1)
            assert (now(), lease.is_held, server.value(LEASE_KEY)) == (0, True, b"a")
        assert not lease.is_held
        assert server.value(LEASE_KEY) is None

    virtually(test)


def test_the_second_leads_at_once_when_the_first_gives_back() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        async with AsyncExitStack() as first:
            await first.enter_async_context(candidate("a", BucketQueue(server), rivals))
            await rivals.until(1)
            async with candidate("b", BucketQueue(server), rivals) as second:
                await asyncio.sleep(100 * LEASE_S)
                assert (rivals.terms, second.is_held) == (["a"], False), "it is renewed in time, for ever"
                given_back = now()
                await first.aclose()
                await rivals.until(2)
                assert (rivals.terms, now()) == (["a", "b"], given_back)

    virtually(test)


def test_who_does_not_lead_gives_nothing_back() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        async with candidate("a", BucketQueue(server), rivals):
            await rivals.until(1)
            async with candidate("b", BucketQueue(server), rivals):
                await asyncio.sleep(LEASE_S / 2)
            assert server.value(LEASE_KEY) == b"a"

    virtually(test)


def test_a_silent_holders_lease_is_taken_after_a_whole_lease() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        queue = BucketQueue(server)
        async with candidate("a", queue, rivals):
            await rivals.until(1)
            async with candidate("b", BucketQueue(server), rivals):
                await asyncio.sleep(0.4 * LEASE_S)
                last_renewed = LEASE_S / 4
                queue.cut = True
                await rivals.until(2)
                assert rivals.terms == ["a", "b"]
                assert now() == pytest.approx(last_renewed + LEASE_S)
                assert rivals.overlaps == 0

    virtually(test)


def test_a_dead_leaders_lease_is_waited_for_by_whoever_comes_later() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        server.store(KEY, b"dead", {})
        async with candidate("b", BucketQueue(server), rivals):
            await rivals.until(1)
            assert now() == LEASE_S

    virtually(test)


def test_a_lease_that_was_given_back_before_is_free() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        server.store(KEY, b"x", {})
        server.store(KEY, b"", {"KV-Operation": "DEL"})
        async with candidate("b", BucketQueue(server), rivals):
            await rivals.until(1)
            assert now() == 0

    virtually(test)


def test_a_holder_over_whom_another_wrote_stops_at_once() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        async with candidate("a", BucketQueue(server), rivals) as lease:
            await rivals.until(1)
            server.store(KEY, b"usurper", {})
            await asyncio.sleep(0.001)
            assert (lease.is_held, rivals.leading) == (False, set())
            await rivals.until(2)
            assert now() == pytest.approx(LEASE_S, abs=0.01), "the usurper is silent"

    virtually(test)


@pytest.mark.parametrize("how", ["cut", "deaf", "slow"])
def test_a_holder_that_cannot_renew_stops_before_its_lease_can_be_taken(how: str) -> None:
    """Another may begin a lease after the last renewal that it could see."""

    async def test(server: BucketServer, rivals: Rivals) -> None:
        queue = BucketQueue(server, delay=lambda: 0.9 * LEASE_S / 8)  # there and back: nearly what a write may take
        async with candidate("a", queue, rivals) as lease:
            await rivals.until(1)
            renewed_at = now() / 2
            if how == "slow":
                queue.delay = lambda: LEASE_S
            else:
                setattr(queue, how, True)
            while rivals.leading:
                assert lease.is_held, "it leads as long as it holds, and no longer"
                await asyncio.sleep(0.01)
            if how != "deaf":  # else its renewals are seen
                assert now() < renewed_at + LEASE_S

    virtually(test)


def test_work_goes_on_over_short_losses_of_the_queue() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        queue = BucketQueue(server)
        async with candidate("a", queue, rivals):
            await rivals.until(1)
            for _ in range(20):
                queue.cut = True
                await asyncio.sleep(LEASE_S / 4)
                queue.cut = False
                await asyncio.sleep(LEASE_S)
            assert rivals.terms == ["a"]

    virtually(test)


@pytest.mark.parametrize("seed", range(20))
def test_never_two_lead_at_once_whatever_the_queue_does(seed: int) -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        rng = random.Random(seed)
        queues = [BucketQueue(server, delay=shaky(seed + each, LEASE_S / 8)) for each in range(3)]
        first, second, third = (candidate(name, queue, rivals) for name, queue in zip("abc", queues, strict=True))
        async with first, second, third:
            for _ in range(150):
                await asyncio.sleep(rng.uniform(0, LEASE_S))
                for queue in queues:
                    queue.cut, queue.deaf = rng.random() < 0.3, rng.random() < 0.2
            for queue in queues:
                queue.cut = queue.deaf = False
            await asyncio.sleep(3 * LEASE_S)
            assert len(rivals.leading) == 1, "in the end somebody leads"
        assert rivals.overlaps == 0
        assert len(rivals.terms) > 10

    virtually(test)


def test_what_goes_wrong_in_the_leaders_work_is_raised_and_another_leads_at_once() -> None:
    async def test(server: BucketServer, rivals: Rivals) -> None:
        async def fail() -> None:
            await asyncio.sleep(1)
            raise ZeroDivisionError

        broken = Lease(BucketQueue(server), "a", LEASE_S, now)  # type: ignore[arg-type]
        running = asyncio.create_task(broken.run(fail))
        await asyncio.sleep(0.5)
        async with candidate("b", BucketQueue(server), rivals):
            await asyncio.wait([running])
            error = running.exception()
            assert isinstance(error, ExceptionGroup)
            assert error.subgroup(ZeroDivisionError)
            await rivals.until(1)
            assert (now(), broken.is_held) == (1, False)

    virtually(test)


@pytest.mark.e2e
async def test_over_many_hand_overs_never_two_lead_on_a_real_server(nats_server: NatsServer) -> None:
    connections = (Queue.connect(nats_server.url, client_name=name) for name in "ab")
    async with next(connections) as one, next(connections) as other:
        await one.ensure_stream()
        await ensure_bucket(one, BucketSettings(ACTIVATOR))
        rivals = Rivals()
        before = AsyncExitStack()
        async with asyncio.timeout(50):
            for turn in range(24):
                after = AsyncExitStack()
                await after.enter_async_context(candidate(str(turn), (one, other)[turn % 2], rivals))
                await rivals.until(1)
                await before.aclose()
                async with rivals.changed:
                    await rivals.changed.wait_for(lambda: str(turn) in rivals.leading)  # noqa: B023 - used at once
                before = after
            await before.aclose()
        assert rivals.overlaps == 0
        assert rivals.terms == [str(turn) for turn in range(24)]
        assert rivals.leading == set()
