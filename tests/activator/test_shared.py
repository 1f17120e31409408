"""What activators tell each other through their bucket (A18)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from sidecar.stored import TTL_HEADER
from simulator.activator.fleet import WorkerRecord
from simulator.activator.lifecycle import StartFailures
from simulator.activator.shared import FORGOTTEN_AFTER_S, PRESENCE_S, PRESENCES_MISSED, PoolNote, Shared, WorkerNote
from simulator.jetstream.bucket import ACTIVATOR, subject
from tests.activator.bucket_server import BucketQueue, BucketServer
from tests.activator.virtual_time import run_virtually

RECORD = WorkerRecord(first_seen=1.0, last_seen=2.0, last_activity=1.5, uid="u", registered_at=1.2)
EXPIRY_S = PRESENCES_MISSED * PRESENCE_S


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def taking_part(name: str, queue: BucketQueue) -> AsyncIterator[Shared]:
    shared = Shared(queue, name, asyncio.get_running_loop().time)  # type: ignore[arg-type]
    running = asyncio.create_task(shared.run())
    try:
        await shared.synced()
        yield shared
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()


def virtually(test: Callable[[BucketServer], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(BucketServer())

    run_virtually(run())


def put(server: BucketServer, key: str, value: bytes) -> None:
    server.store(subject(ACTIVATOR, key), value, {})


def test_an_empty_bucket_is_read_at_once() -> None:
    async def test(server: BucketServer) -> None:
        async with taking_part("a", BucketQueue(server)) as shared:
            assert now() == 0
            assert (shared.notes, shared.workers, shared.events_read) == ({}, {}, 0)
            assert not shared.is_alone, "it did not hear itself yet, so it may not hear others"
            await asyncio.sleep(0.01)
            assert shared.is_alone

    virtually(test)


def test_what_was_there_before_is_known_when_it_is_synced() -> None:
    """A12, A19: the newest of each."""

    async def test(server: BucketServer) -> None:
        async with taking_part("a", BucketQueue(server)) as first:
            await first.write_note("p", PoolNote(gave_up="old", until=1))
            await first.write_note("p", PoolNote(StartFailures(consecutive=2), "no", 7))
            await first.write_worker("p", WorkerNote("w", RECORD))
            await first.write_worker("p", WorkerNote("gone", RECORD))
            await first.forget_worker("p.gone")
            await first.write_events_read(11)
        queue = BucketQueue(server, delay=lambda: 0.1)
        async with taking_part("b", queue) as second:
            assert second.notes == {"p": PoolNote(StartFailures(consecutive=2), "no", 7)}
            assert second.gave_up("p") == ("no", 7)
            assert second.gave_up("q") == ("", 0)
            assert second.workers == {"p.w": WorkerNote("w", RECORD)}
            assert second.events_read == 11

    virtually(test)


def test_what_cannot_be_read_is_left_out() -> None:
    async def test(server: BucketServer) -> None:
        put(server, "pool.p", b"{")
        put(server, "worker.p.w", b'{"name":7}')
        put(server, "events", b"many")
        put(server, "cursor", b"12")
        put(server, "something.else", b"{}")
        put(server, "pool.q", b'{"gaveUp":"no","until":3,"later":true}')
        async with taking_part("a", BucketQueue(server)) as shared:
            assert shared.notes == {"q": PoolNote(gave_up="no", until=3)}
            assert (shared.workers, shared.events_read) == ({}, 0)

    virtually(test)


def test_a_note_reaches_the_others_and_is_told_of() -> None:
    async def test(server: BucketServer) -> None:
        async with taking_part("a", BucketQueue(server)) as one, taking_part("b", BucketQueue(server)) as other:
            told: list[str] = []
            other.on_pool = told.append
            await one.write_note("p", PoolNote(gave_up="no", until=3))
            await asyncio.sleep(0.01)
            assert (told, other.gave_up("p"), one.gave_up("p")) == (["p"], ("no", 3), ("no", 3))

    virtually(test)


def test_the_echo_of_an_earlier_note_does_not_take_back_a_later_one() -> None:
    """A10: a leader whose own words come back late does not act on what it said before."""

    async def test(server: BucketServer) -> None:
        async with taking_part("a", BucketQueue(server, lag_s=0.05)) as shared:
            for until in range(1, 20):
                await shared.write_note("p", PoolNote(gave_up="no", until=until))
                for _ in range(3):
                    assert shared.notes["p"].until == until
                    await asyncio.sleep(0.01)

    virtually(test)


def test_members_see_each_other_come_and_go() -> None:
    async def test(server: BucketServer) -> None:
        async with taking_part("a", BucketQueue(server)) as one:
            async with taking_part("b", BucketQueue(server)) as other:
                await asyncio.sleep(10 * EXPIRY_S)
                assert (one.is_alone, other.is_alone) == (False, False)
            await asyncio.sleep(0)
            assert one.is_alone, "it said that it leaves"
            assert server.value("member.b") is None

    virtually(test)


def test_a_member_that_is_silent_is_there_no_longer_and_is_forgotten() -> None:
    """Activators that were killed leave nothing in the bucket for ever."""

    async def test(server: BucketServer) -> None:
        put(server, "member.dead", b"")
        async with taking_part("a", BucketQueue(server)) as shared:
            assert not shared.is_alone, "it may only be slow"
            await asyncio.sleep(EXPIRY_S - 0.01)
            assert not shared.is_alone
            await asyncio.sleep(0.02)
            assert shared.is_alone
            await asyncio.sleep(FORGOTTEN_AFTER_S)
            assert server.value("member.dead") is None
            assert shared._members == {}
            put(server, "member.dead", b"")  # it was only very slow
            await asyncio.sleep(0.01)
            assert not shared.is_alone

    virtually(test)


def test_who_cannot_be_seen_counts_again_when_the_queue_is_back() -> None:
    async def test(server: BucketServer) -> None:
        queue = BucketQueue(server)
        async with taking_part("a", BucketQueue(server)) as one, taking_part("b", queue):
            await asyncio.sleep(EXPIRY_S)
            queue.cut = True
            await asyncio.sleep(3 * EXPIRY_S)
            assert one.is_alone
            queue.cut = False
            await asyncio.sleep(EXPIRY_S)
            assert not one.is_alone

    virtually(test)


@pytest.mark.parametrize("how", ["cut", "deaf"])
def test_it_ends_in_good_order_while_the_queue_is_away(how: str) -> None:
    """The end of an activator is a cancellation, whether it can still say goodbye or not."""

    async def test(server: BucketServer) -> None:
        queue = BucketQueue(server)
        async with taking_part("a", queue):
            await asyncio.sleep(1)
            setattr(queue, how, True)

    virtually(test)


def test_a_worker_that_was_noted_anew_meanwhile_is_kept() -> None:
    async def test(server: BucketServer) -> None:
        async with taking_part("a", BucketQueue(server)) as shared:
            await shared.write_worker("p", WorkerNote("w", RECORD))
            queue = BucketQueue(server, delay=lambda: 1.0)
            async with taking_part("b", queue) as slow:
                forgetting = asyncio.create_task(slow.forget_worker("p.w"))
                await asyncio.sleep(2.5)  # it has read, and not deleted yet
                await shared.write_worker("p", WorkerNote("w", RECORD))
                await forgetting
            assert server.value("worker.p.w") is not None

    virtually(test)


def test_what_is_gone_is_forgotten_though_its_marker_was_never_heard() -> None:
    """Markers do not stay for ever, and who was away for longer hears of none."""

    async def test(server: BucketServer) -> None:
        put(server, "member.dead", b"")
        async with taking_part("a", BucketQueue(server)) as shared:
            await shared.write_worker("p", WorkerNote("w", RECORD))
            await asyncio.sleep(0.01)
            assert (list(shared._members), list(shared.workers)) == (["dead"], ["p.w"])
            gone = [subject(ACTIVATOR, key) for key in ("member.dead", "worker.p.w")]
            server.changes[:] = [
                replace(each, subject="elsewhere") if each.subject in gone else each for each in server.changes
            ]
            await shared.forget_worker("p.w")
            await asyncio.sleep(FORGOTTEN_AFTER_S + PRESENCE_S)
            assert (shared._members, shared.workers) == ({}, {})

    virtually(test)


def test_markers_of_members_and_workers_are_not_kept_for_ever() -> None:
    """Workers and activators come and go, and none under an old name."""

    async def test(server: BucketServer) -> None:
        put(server, "member.dead", b"")
        async with taking_part("a", BucketQueue(server)) as shared:
            await shared.write_worker("p", WorkerNote("w", RECORD))
            await shared.forget_worker("p.w")
            await asyncio.sleep(FORGOTTEN_AFTER_S + 1.5 * PRESENCE_S)
        for key in ("member.dead", "worker.p.w", "member.a"):
            found = server.last(subject(ACTIVATOR, key))
            assert found is not None
            assert found.extra_headers[TTL_HEADER] == "3600s"

    virtually(test)
