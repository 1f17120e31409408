"""Plans carried out on the embedded Kubernetes API: workers made, drained, deleted, replaced (contract 9.3)."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidecar.messages import Event, WorkerMetricMessage, utc_now
from simulator.activator import lifecycle as lifecycle_module
from simulator.activator import lifecycle_loop as loop_module
from simulator.activator.fleet import FleetSettings
from simulator.activator.lifecycle_loop import LifecycleLoop
from simulator.activator.pools import is_managed
from simulator.activator.roster import Roster
from simulator.activator.shared import PoolNote, Shared
from simulator.errors import InvalidError, KubeError
from simulator.gpuunit import ACTIVE_NAMESPACE, MANAGED_LABEL, is_draining
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import GPUUNIT, POD, Kind, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.ledger.events import Dispatched, Ended, Queued
from simulator.ledger.ledger import Ledger
from tests.activator.bucket_server import BucketQueue, BucketServer
from tests.activator.parts import Shown, until

pytestmark = pytest.mark.e2e

WAIT_S = 20.0
SETTLE_S = 0.3


class WatchedCluster(Cluster):
    """A cluster that counts what is asked of it, refuses as often as it is told, and hangs for some."""

    refusals = 0
    forbids = ""
    hangs_for = ""

    def count(self) -> Counter[str]:
        counts: Counter[str] = self.__dict__.setdefault("counts", Counter())
        return counts

    async def create(self, kind: Kind, obj: Object) -> Object:
        self.count()["create"] += 1
        if self.refusals:
            self.refusals -= 1
            raise KubeError("not now")
        if self.forbids:
            raise InvalidError(self.forbids)
        if obj["spec"]["serverless"]["requestID"] == self.hangs_for:
            await asyncio.Event().wait()
        return await super().create(kind, obj)

    async def list_with_version(self, *args: Any, **kwargs: Any) -> tuple[list[Object], str]:
        self.count()["list"] += 1
        return await super().list_with_version(*args, **kwargs)


class Keeper:
    """A leader's lifecycle loop; units are the cluster's, events and invocations come from the test."""

    def __init__(self, cluster: WatchedCluster, gpu_budget: int | None = None) -> None:
        self.cluster = cluster
        self.units = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE)
        self.ledger = Ledger()
        self.bucket = BucketServer()
        self.queue = BucketQueue(self.bucket)
        settings = FleetSettings(ready_wait_s=60, drain_settle_s=SETTLE_S)
        self.roster = Roster(self.units, Shown(POD), self.ledger, settings)
        self.shared = Shared(self.queue, "leader")  # type: ignore[arg-type]
        self.orphans: Counter[str] = Counter()
        self.loop = LifecycleLoop(
            cluster, self.units, self.roster, self.ledger, self.shared, settings, gpu_budget, self.orphans.__getitem__
        )
        self.roster.on_change = self.loop.look_at
        self.deleted: list[str] = []
        self.outstanding_when_deleted: list[int] = []
        self.units.on_change(self._seen)

    def _seen(self, key: Key) -> None:
        if self.units.get(*key) is None:
            self.deleted.append(key[1])
            self.outstanding_when_deleted.append(len(self.ledger.outstanding("p", key[1])))

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Keeper"]:
        async with asyncio.TaskGroup() as tasks:
            parts = [tasks.create_task(self.units.run())]
            await self.units.synced()
            parts += [tasks.create_task(self.shared.run()), tasks.create_task(self.loop.run())]
            yield self
            for part in parts:
                part.cancel()

    async def template(self, pool: str = "p", *, gpu: int = 0, **serverless: object) -> None:
        spec = {"specName": "s", "gpu": gpu, "serverless": {"requestID": pool, "templateOnly": True, **serverless}}
        await self.cluster.create(
            GPUUNIT, {"metadata": {"name": f"{pool}-template", "namespace": ACTIVE_NAMESPACE}, "spec": spec}
        )

    def made(self, pool: str = "p") -> list[Object]:
        """The workers that the loop made and that are there."""
        of_pool = [unit for unit in self.units.objects() if unit["spec"]["serverless"]["requestID"] == pool]
        return [unit for unit in of_pool if is_managed(unit)]

    async def until_made(self, count: int, pool: str = "p") -> list[str]:
        await self.units.wait_for(lambda _: len(self.made(pool)) == count or None, WAIT_S)
        return sorted(unit["metadata"]["name"] for unit in self.made(pool))

    async def fresh(self, seen: set[str]) -> set[str]:
        """Wait for workers that were not there before."""
        return await self.units.wait_for(lambda _: {u["metadata"]["name"] for u in self.made()} - seen or None, WAIT_S)

    def notes_written(self) -> int:
        return sum(to.endswith("pool.p") for to in self.queue.writes)

    async def is_now(self, name: str, phase: str, message: str = "") -> None:
        """What the reconciler finds out about a worker."""
        ready = {"type": "Ready", "status": str(phase == "Ready"), "reason": phase, "message": message}
        ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
        status = {"status": {"phase": phase, "conditions": [ready]}}
        await self.cluster.patch_status(GPUUNIT, name, status, ACTIVE_NAMESPACE)

    def says(self, name: str, event: str) -> None:
        said = WorkerMetricMessage(
            serverless_request_id="p",
            worker_name=name,
            worker_namespace=ACTIVE_NAMESPACE,
            event_type=event,
            reported_at=utc_now(),
        )
        self.roster.hear(said, time.time())

    def enter(self, entry: Queued | Dispatched | Ended) -> None:
        """Something happens in the stream."""
        self.ledger.position = entry.sequence
        changed = self.ledger.apply(entry)
        known = self.ledger.open(changed or "") or self.ledger.ended(changed or "")
        if known:
            self.loop.look_at(known.pool)

    async def quiet(self) -> None:
        """Wait until every pool was looked at, and nothing is left to do now."""
        work = self.loop._work
        await until(lambda: not (work._waiting or work._working))

    def look(self, pool: str = "p") -> None:
        self.loop._looked_at.clear()
        self.loop.look_at(pool)


@pytest.fixture
async def cluster(tmp_path: Any) -> AsyncIterator[WatchedCluster]:
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        async with WatchedCluster(tmp_path / "kubeconfig", field_manager="test") as cluster:
            yield cluster


@pytest.fixture
async def keeper(cluster: WatchedCluster) -> AsyncIterator[Keeper]:
    async with Keeper(cluster).running() as keeper:
        yield keeper


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed starts are repeated after a moment."""
    monkeypatch.setattr(lifecycle_module, "FIRST_BACKOFF_S", 0.05)


async def test_a14_as_many_are_made_as_are_wanted_and_no_more(keeper: Keeper) -> None:
    await keeper.template(minAvailableCount=3)
    names = await keeper.until_made(3)
    for name in names:
        await keeper.is_now(name, "Progressing")
        keeper.look()
        await keeper.quiet()
    assert await keeper.until_made(3) == names
    assert {unit["metadata"]["labels"][MANAGED_LABEL] for unit in keeper.made()} == {"activator"}
    assert not any("templateOnly" in unit["spec"]["serverless"] for unit in keeper.made())


async def test_a8_names_never_collide(keeper: Keeper) -> None:
    """A8: neither within a pool nor between pools whose names look alike."""
    for pool in ("a_b", "a-b"):
        await keeper.template(pool.replace("_", "--"), requestID=pool, minAvailableCount=12)
    names = [*await keeper.until_made(12, "a_b"), *await keeper.until_made(12, "a-b")]
    assert len(set(names)) == 24
    assert keeper.cluster.count()["create"] == 24 + 2


async def test_a15_a_backlog_makes_workers_up_to_the_maximum(keeper: Keeper) -> None:
    await keeper.template(minRequestCount=2, maxAvailableCount=3)
    for number in range(1, 41):
        keeper.enter(Queued(f"i{number}", "p", number))
    await keeper.until_made(3)
    keeper.look()
    await keeper.quiet()
    assert len(keeper.made()) == 3


async def test_orphans_wake_a_pool_at_zero(keeper: Keeper) -> None:
    """S13: what waits for a second worker needs one too."""
    await keeper.template()
    keeper.orphans["p"] = 1
    keeper.look()
    await keeper.until_made(1)


async def test_a11_an_idle_worker_is_drained_and_deleted_when_nothing_is_outstanding(keeper: Keeper) -> None:
    await keeper.template(idleTimeoutSeconds=1)
    keeper.enter(Queued("i1", "p", 1))
    [name] = await keeper.until_made(1)
    keeper.says(name, Event.REGISTERED)
    keeper.enter(Dispatched("i1", "p", 2, name))
    keeper.enter(Ended("i1", "p", 3))
    await keeper.units.wait_for(
        lambda units: is_draining(units.get(ACTIVE_NAMESPACE, name) or {"metadata": {}}) or None, WAIT_S
    )
    keeper.enter(Queued("late", "p", 4))
    keeper.enter(Dispatched("late", "p", 5, name))  # by an activator that did not know yet
    await asyncio.sleep(2 * SETTLE_S)
    keeper.look()
    await keeper.quiet()
    assert keeper.deleted == []
    keeper.enter(Ended("late", "p", 6))
    await keeper.until_made(0)
    assert keeper.outstanding_when_deleted == [0]


async def test_a6_failed_workers_are_counted_and_replaced_one_by_one(keeper: Keeper, soon: None) -> None:
    await keeper.template(minAvailableCount=2)
    seen = set(await keeper.until_made(2))
    for name in list(seen):
        await keeper.is_now(name, "Failed", "no such image")
    for _ in range(3):
        [fresh] = await keeper.fresh(seen)  # A14: one is enough to find out
        seen.add(fresh)
        await keeper.is_now(fresh, "Failed", "no such image")
    [last] = await keeper.fresh(seen)
    assert keeper.shared.notes["p"].failures.consecutive == 5
    assert keeper.shared.gave_up("p") == ("", 0), "nobody waits"
    keeper.says(last, Event.REGISTERED)
    await keeper.until_made(2)
    await until(lambda: keeper.shared.notes["p"].failures.consecutive == 0)


async def test_a_pool_that_cannot_start_says_so_once_for_all_that_wait(
    keeper: Keeper, soon: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its note is good for who waited then, and is not written again for them."""
    await keeper.template()
    for number in range(1, 6):
        keeper.enter(Queued(f"i{number}", "p", number))
    seen: set[str] = set()
    for _ in range(FleetSettings().max_start_failures - 1):
        [fresh] = await keeper.fresh(seen)
        seen.add(fresh)
        await keeper.is_now(fresh, "Failed", "no such image")
    [fresh] = await keeper.fresh(seen)
    monkeypatch.setattr(lifecycle_module, "FIRST_BACKOFF_S", 60.0)
    await keeper.is_now(fresh, "Failed", "no such image")
    await until(lambda: keeper.shared.gave_up("p")[0])
    reason, end = keeper.shared.gave_up("p")
    assert ("no such image" in reason, end) == (True, 5)
    await keeper.until_made(0)
    keeper.look()
    await keeper.quiet()
    written = keeper.notes_written()
    for position in range(6, 11):
        keeper.ledger.position = position
        keeper.look()
        await keeper.quiet()
        assert keeper.notes_written() == written
    keeper.enter(Queued("i6", "p", 11))
    await until(lambda: keeper.shared.gave_up("p")[1] == 11)


async def test_what_was_given_up_is_forgotten_when_a_worker_is_up(keeper: Keeper) -> None:
    await keeper.template()
    await keeper.shared.write_note("p", PoolNote(gave_up="no such image", until=5))
    keeper.enter(Queued("i6", "p", 6))
    [name] = await keeper.until_made(1)
    keeper.says(name, Event.REGISTERED)
    await until(lambda: keeper.shared.gave_up("p") == ("", 0))


async def test_a9_refusals_of_the_api_are_tried_again(keeper: Keeper) -> None:
    await keeper.template(minAvailableCount=1)
    keeper.cluster.refusals = 3
    await keeper.until_made(1)


async def test_a6_a_pool_whose_workers_are_forbidden_is_answered(keeper: Keeper) -> None:
    """A refusal that trying again cannot change is told at once, with the cluster's reason, and not for ever tried."""
    await keeper.template()
    asked = keeper.cluster.count()["create"]
    keeper.cluster.forbids = "exceeded quota: gpus"
    keeper.enter(Queued("i6", "p", 6))
    await until(lambda: keeper.shared.gave_up("p")[0])
    reason, end = keeper.shared.gave_up("p")
    assert "exceeded quota: gpus" in reason
    assert end >= 6
    assert keeper.cluster.count()["create"] == asked + 1


async def test_a2_a_pool_whose_workers_cannot_be_made_holds_up_no_other(keeper: Keeper) -> None:
    keeper.cluster.hangs_for = "p"
    await keeper.cluster.create(
        GPUUNIT,
        {
            "metadata": {"name": "p-template", "namespace": ACTIVE_NAMESPACE},
            "spec": {"specName": "s", "serverless": {"requestID": "P", "templateOnly": True, "minAvailableCount": 1}},
        },
    )
    await until(lambda: keeper.cluster.count()["create"] == 2)
    for pool in ("q", "r", "s"):
        await keeper.template(pool, minAvailableCount=2)
    for pool in ("q", "r", "s"):
        await keeper.until_made(2, pool)


async def test_a4_nothing_is_listed_while_invocations_come(keeper: Keeper) -> None:
    await keeper.template(minAvailableCount=1)
    [name] = await keeper.until_made(1)
    keeper.says(name, Event.REGISTERED)
    listed = keeper.cluster.count()["list"]
    for number in range(1, 301, 3):
        keeper.enter(Queued(f"i{number}", "p", number))
        keeper.enter(Dispatched(f"i{number}", "p", number + 1, name))
        keeper.enter(Ended(f"i{number}", "p", number + 2))
        await asyncio.sleep(0)
    await keeper.quiet()
    assert keeper.cluster.count()["list"] == listed


async def test_two_pools_share_the_gpus_that_there_are(
    cluster: WatchedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at side by side, they take no GPU twice; one that gets free goes to who waits."""
    async with Keeper(cluster, gpu_budget=2).running() as keeper:
        monkeypatch.setattr(loop_module, "LOOK_INTERVAL_S", 0.0)
        for pool in ("p", "q"):
            await keeper.template(pool, gpu=2)
        await keeper.units.wait_for(lambda units: len(units.objects()) == 2 or None, WAIT_S)
        keeper.enter(Queued("i1", "p", 1))
        keeper.enter(Queued("i2", "q", 2))
        await until(lambda: keeper.made("p") or keeper.made("q"))
        await keeper.quiet()
        assert len(keeper.made("p")) + len(keeper.made("q")) == 1
        first, second = ("p", "q") if keeper.made("p") else ("q", "p")
        [made] = keeper.made(first)
        keeper.enter(Ended("i1" if first == "p" else "i2", first, 3))
        await keeper.quiet()
        await cluster.delete(GPUUNIT, made["metadata"]["name"], ACTIVE_NAMESPACE)
        await keeper.until_made(1, second)


async def test_a_unit_that_is_gone_already_needs_no_deleting(keeper: Keeper) -> None:
    await keeper.template(minAvailableCount=1)
    [name] = await keeper.until_made(1)
    await keeper.cluster.delete(GPUUNIT, name, ACTIVE_NAMESPACE)
    assert await keeper.fresh({name})
    assert keeper.deleted == [name]
