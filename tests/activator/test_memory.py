"""What an activator knows after a restart, and from where it reads the stream (A12, A19)."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.messages import Event, InvocationMessage, WorkerMetricMessage, encode, utc_now
from sidecar.queue import Delivery, Queue
from sidecar.subjects import metric_message_id
from simulator.activator import memory as memory_module
from simulator.activator import worker_events as events_module
from simulator.activator.activator import Activator
from simulator.activator.fleet import WorkerRecord
from simulator.activator.settings import ActivatorSettings
from simulator.activator.shared import EVENTS_KEY, WorkerNote
from simulator.gpuunit import ACTIVE_NAMESPACE, MANAGED_LABEL
from simulator.jetstream.bucket import ACTIVATOR, Bucket, BucketSettings, Entry, ensure_bucket
from simulator.jetstream.follow import follow
from simulator.jetstream.stored import last_sequence
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.ledger import follower as follower_module
from simulator.ledger.follower import CURSOR_KEY
from simulator.nats_server import NatsServer

pytestmark = pytest.mark.e2e

WAIT_S = 20.0


@dataclass
class Site:
    """A queue and a cluster, for one activator after the other; `read` holds the sequences that were delivered."""

    queue: Queue
    cluster: Cluster
    bucket: Bucket
    read: list[int] = field(default_factory=list)

    @asynccontextmanager
    async def activator(self) -> AsyncIterator[Activator]:
        units = Informer(self.cluster, GPUUNIT, ACTIVE_NAMESPACE)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(units.run())
            activator = Activator(self.cluster, units, self.queue, ActivatorSettings(lease_s=1.0))
            running = tasks.create_task(activator.run())
            yield activator
            running.cancel()
            await asyncio.wait([running])
            watching.cancel()

    async def unit(self, name: str, pool: str = "p", **metadata: Any) -> Object:
        spec: Object = {"specName": "s", **({"serverless": {"requestID": pool}} if pool else {})}
        metadata = {"name": name, "namespace": ACTIVE_NAMESPACE, **metadata}
        return await self.cluster.create(GPUUNIT, {"metadata": metadata, "spec": spec})

    async def says(self, worker: str, event: str) -> int:
        now = utc_now()
        message = WorkerMetricMessage(
            serverless_request_id="p",
            worker_name=worker,
            worker_namespace=ACTIVE_NAMESPACE,
            event_type=event,
            reported_at=now,
        )
        message_id = metric_message_id(worker, event, now)
        return (
            await self.queue.publish(self.queue.subjects.metrics("p"), encode(message), message_id=message_id)
        ).sequence

    async def entry(self, key: str, value: bytes | None = None) -> Entry:
        """Wait for a key of the bucket to be there, with this value."""
        async with asyncio.timeout(WAIT_S):
            while (found := await self.bucket.get(key)) is None or value not in (None, found.value):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found

    async def until_read(self, sequence: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while not self.read or self.read[-1] < sequence:  # noqa: ASYNC110 - the deliveries are only counted
                await asyncio.sleep(0.01)


@pytest.fixture
async def site(nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr(memory_module, "INTERVAL_S", 0.05)
    kubeconfig = tmp_path / "kubeconfig"
    connection = Queue.connect(nats_server.url, client_name="test")
    async with connection as queue, KubeServer(ResourceStore()) as kube:
        kube.write_kubeconfig(kubeconfig)
        await queue.ensure_stream()
        await ensure_bucket(queue, BucketSettings(ACTIVATOR))
        async with Cluster(kubeconfig, field_manager="test") as cluster:
            site = Site(queue, cluster, Bucket(queue, ACTIVATOR))

            async def counted(queue: Queue, subject: str, start: int) -> AsyncGenerator[list[Delivery], None]:
                async for batch in follow(queue, subject, start):
                    yield batch
                    site.read += [delivery.sequence for delivery in batch]

            monkeypatch.setattr(events_module, "follow", counted)
            yield site


def note(name: str, unit: Object, **changes: float) -> bytes:
    now = time.time()
    seen = {"first_seen": now - 900, "last_seen": now, "last_activity": now, "registered_at": now - 900} | changes
    record = WorkerRecord(uid=unit["metadata"]["uid"], **seen)  # type: ignore[arg-type]
    return msgspec.json.encode(WorkerNote(name, record))


async def test_a12_after_a_restart_an_idle_worker_is_removed_though_it_only_says_that_it_lives(site: Site) -> None:
    await site.unit("template")
    managed = {MANAGED_LABEL: "activator"}
    idle = await site.unit("idle", labels=managed)
    busy = await site.unit("busy", labels=managed)
    await site.bucket.put("worker.p.idle", note("idle", idle, last_activity=time.time() - 400))
    await site.bucket.put("worker.p.busy", note("busy", busy))
    async with site.activator() as activator:
        for each in ("idle", "busy", "template"):
            await site.says(each, Event.HEARTBEAT)
        gone = activator._units.wait_for(lambda units: units.get(ACTIVE_NAMESPACE, "idle") is None or None, WAIT_S)
        assert await gone
        names = sorted(unit["metadata"]["name"] for unit in activator._units.objects())
        assert names == ["busy", "template"]


async def test_a19_events_are_read_from_where_they_were_noted(site: Site) -> None:
    last = [await site.says("w", Event.HEARTBEAT) for _ in range(50)][-1]
    await site.bucket.put(EVENTS_KEY, str(last - 5).encode())
    async with site.activator():
        await site.until_read(last)
    assert site.read == list(range(last - 4, last + 1))


async def test_a19_a_position_in_a_stream_that_was_deleted_since_says_nothing(site: Site) -> None:
    await site.bucket.put(EVENTS_KEY, b"9000")
    last = await site.says("w", Event.HEARTBEAT)
    async with site.activator():
        await site.until_read(last)
    assert site.read == [last]


async def test_a19_a_pool_at_zero_reads_no_more_than_one_with_workers(site: Site) -> None:
    """How far was read is noted on its own: there may be no worker whose note could say it."""
    last = [await site.says("gone", Event.HEARTBEAT) for _ in range(10)][-1]
    async with site.activator():
        await site.entry(EVENTS_KEY, str(last).encode())
    site.read.clear()
    async with site.activator():
        more = await site.says("gone", Event.HEARTBEAT)
        await site.until_read(more)
    assert site.read == [more]


async def test_what_is_known_of_workers_is_written_down_and_forgotten_with_them(site: Site) -> None:
    await site.unit("w")
    async with site.activator() as activator:
        registered = await site.says("w", Event.REGISTERED)
        await site.entry(EVENTS_KEY, str(registered).encode())
        written = msgspec.json.decode((await site.entry("worker.p.w")).value, type=WorkerNote)
        assert (written.name, written.record) == ("w", activator._roster.records()["w"])
        assert written.record.registered_at is not None
        await site.cluster.delete(GPUUNIT, "w", ACTIVE_NAMESPACE)
        async with asyncio.timeout(WAIT_S):
            while await site.bucket.get("worker.p.w"):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
        assert activator._roster.changed == set()


async def test_a_unit_that_serves_no_pool_keeps_nothing_from_being_written(site: Site) -> None:
    await site.unit("a-plain-one", pool="")
    await site.unit("w")
    async with site.activator():
        last = await site.says("w", Event.REGISTERED)
        await site.entry("worker.p.w")
        await site.entry(EVENTS_KEY, str(last).encode())


async def test_a_new_ledger_starts_at_the_cursor(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.unit("w")
    subjects = site.queue.subjects
    for _ in range(5):
        await site.says("w", Event.HEARTBEAT)
    async with site.activator():
        stored = await site.queue.publish(
            subjects.invoke("p"),
            encode(InvocationMessage(invocation_id="open", serverless_request_id="p")),
            message_id="open",
        )
        for _ in range(5):
            await site.says("w", Event.HEARTBEAT)
        await site.entry(CURSOR_KEY, str(stored.sequence).encode())
    read: list[int] = []

    async def counted(
        queue: Queue, subject: str, start: int, *, headers_only: bool
    ) -> AsyncGenerator[list[Delivery], None]:
        async for batch in follow(queue, subject, start, headers_only=headers_only):
            read.extend(delivery.sequence for delivery in batch)
            yield batch

    monkeypatch.setattr(follower_module, "follow", counted)
    follower = follower_module.LedgerFollower(site.queue)
    running = asyncio.create_task(follower.run())
    last = await last_sequence(site.queue)
    await follower.caught_up(last, WAIT_S)
    running.cancel()
    await asyncio.wait([running])
    assert read == list(range(stored.sequence, last + 1))
    assert follower.ledger.open("open") is not None
