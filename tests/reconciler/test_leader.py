"""Which reconciler works: the rules of a Lease, and candidates on an embedded API."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulator.errors import ConflictError, KubeError, UsageError
from simulator.kube.client import Cluster
from simulator.kube.kinds import GPUUNIT, LEASE, Kind, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.reconciler.controller import Reconciler
from simulator.reconciler.leader import (
    LeaderElection,
    LeaseSettings,
    LeaseTimes,
    MayWrite,
    NotLeadingError,
    may_take,
    released,
    taken,
)
from simulator.reconciler.settings import ReconcilerSettings

if TYPE_CHECKING:
    from tests.reconciler.conftest import MakeUnit, ProbedCluster, World

NAMESPACE = "runtime-instance"
WAIT_S = 10
NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
NOW_TEXT = "2026-03-04T05:06:07.890000Z"
EARLIER = "2026-03-04T05:00:00.000000Z"
QUICK = LeaseTimes(lease_s=1, renew_s=0.6, retry_s=0.1)
A = LeaseSettings(NAMESPACE, times=QUICK, identity="a")
B = LeaseSettings(NAMESPACE, times=QUICK, identity="b")


def lease(holder: str | None, **spec: Any) -> Object:
    fixed = {"leaseDurationSeconds": 15, "acquireTime": EARLIER, "renewTime": EARLIER, "leaseTransitions": 4}
    held = {"holderIdentity": holder} if holder is not None else {}
    return {"metadata": {"name": "gpuunit-reconciler", "resourceVersion": "7"}, "spec": {**held, **fixed, **spec}}


def test_the_times_are_those_of_client_go() -> None:
    times = LeaseTimes()
    assert (times.lease_s, times.renew_s, times.retry_s) == (15, 10, 2)


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2.4, 2), (15, 10, 0), (15, 10, -1)])
def test_times_that_leave_no_room_are_refused(times: tuple[int, float, float]) -> None:
    with pytest.raises(UsageError, match="longer than"):
        LeaseTimes(*times)


def test_no_two_candidates_are_alike() -> None:
    assert LeaseSettings("n").identity != LeaseSettings("n").identity


@pytest.mark.parametrize(
    ("held", "now_s", "may"),
    [
        pytest.param(lease("a"), 100, True, id="ours"),
        pytest.param(lease("b"), 100, False, id="anothers"),
        pytest.param(lease("b"), 114.9, False, id="anothers-until-the-end"),
        pytest.param(lease("b"), 115, True, id="unchanged-for-as-long-as-it-says"),
        pytest.param(lease("b", leaseDurationSeconds=1), 101, True, id="it-says-how-long"),
        pytest.param(lease(None), 100, True, id="given-back"),
        pytest.param(lease(""), 100, True, id="nobodys"),
        pytest.param({"metadata": {}}, 100, True, id="empty"),
    ],
)
def test_who_may_take_a_lease(held: Object, now_s: float, may: bool) -> None:
    """Told by the candidate's own clock: the times in the lease, which are another's, do not matter."""
    assert may_take(held, 100, now_s, "a") is may


@pytest.mark.parametrize(
    ("before", "acquired", "transitions"),
    [
        pytest.param(None, NOW_TEXT, 0, id="the-first"),
        pytest.param(lease("a"), EARLIER, 4, id="again"),
        pytest.param(lease("b"), NOW_TEXT, 5, id="from-another"),
        pytest.param(lease(None), NOW_TEXT, 5, id="from-nobody"),
        pytest.param({"metadata": {"name": "x"}}, NOW_TEXT, 1, id="empty"),
    ],
)
def test_what_a_leader_writes(before: Object | None, acquired: str, transitions: int) -> None:
    written = taken(before, LeaseSettings(NAMESPACE, identity="a"), NOW)
    assert written["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": acquired,
        "renewTime": NOW_TEXT,
        "leaseTransitions": transitions,
    }
    assert written["metadata"] == (
        before["metadata"] if before else {"name": "gpuunit-reconciler", "namespace": NAMESPACE}
    )


def test_a_lease_that_is_given_back() -> None:
    spec = released(lease("a"), A, NOW)["spec"]
    assert (spec.get("holderIdentity"), spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (None, 1, 4)


class Cut(Cluster):
    """A connection that can be cut."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig, field_manager="test")
        self.is_cut = False
        self.interfere = False
        self.updated = asyncio.Event()

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        if self.is_cut:
            raise KubeError("cut off")
        return await super().get(kind, name, namespace)

    async def update(self, kind: Kind, obj: Object) -> Object:
        if self.interfere:
            self.interfere = False
            self.updated.clear()
            raise ConflictError("somebody put a note on it")
        answer = await super().update(kind, obj)
        self.updated.set()
        return answer


@pytest.fixture
async def kubeconfig(tmp_path: Path) -> AsyncIterator[Path]:
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        yield tmp_path / "kubeconfig"


@pytest.fixture
async def cluster(kubeconfig: Path) -> AsyncIterator[Cluster]:
    async with Cluster(kubeconfig, field_manager="test") as client:
        yield client


@pytest.fixture
async def cut(kubeconfig: Path) -> AsyncIterator[Cut]:
    async with Cut(kubeconfig) as client:
        yield client


class Candidate:
    """A candidate whose work is to note that it works."""

    def __init__(self, cluster: Cluster, settings: LeaseSettings) -> None:
        self.election = LeaderElection(cluster, settings)
        self.works = asyncio.Event()
        self.stopped = asyncio.Event()
        self.terms = 0
        self.may_write: MayWrite | None = None

    async def _work(self, may_write: MayWrite) -> None:
        self.terms += 1
        self.may_write = may_write
        self.works.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.works.clear()
            self.stopped.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Candidate"]:
        task = asyncio.create_task(self.election.run(self._work))
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def check(self) -> None:
        assert self.may_write is not None
        self.may_write()


async def happens(event: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_S):
        await event.wait()


async def holder(cluster: Cluster) -> str | None:
    lease: Object = await cluster.get(LEASE, "gpuunit-reconciler", NAMESPACE)
    found = lease["spec"].get("holderIdentity")
    return None if found is None else str(found)


async def test_one_works_and_gives_back_what_it_had(cluster: Cluster) -> None:
    """The second does not wait for the lease of the first to run out: nobody holds it."""
    first, second = Candidate(cluster, A), Candidate(cluster, B)
    async with first.running():
        await happens(first.works)
        async with asyncio.timeout(WAIT_S):
            assert not await second.election._try_take()
        assert await holder(cluster) == "a"
        first.check()
    assert not first.works.is_set()
    assert await holder(cluster) is None
    with pytest.raises(NotLeadingError):
        first.check()
    async with second.running():
        await happens(second.works)
    assert (await cluster.get(LEASE, "gpuunit-reconciler", NAMESPACE))["spec"]["leaseTransitions"] == 1


async def test_who_hears_nothing_stops_before_the_next_begins(cluster: Cluster, cut: Cut) -> None:
    """As a leader does that was killed, or is cut off: the lease runs out; until then nobody else works."""
    order: list[str] = []
    first, second = Candidate(cut, A), Candidate(cluster, B)
    async with first.running():
        await happens(first.works)
        async with second.running():
            cut.is_cut = True
            async with asyncio.TaskGroup() as group:
                for event, name in ((first.stopped, "first stops"), (second.works, "second works")):
                    group.create_task(noted(event, name, order))
            with pytest.raises(NotLeadingError, match="not renewed in time"):
                first.check()
            second.check()
    assert order == ["first stops", "second works"]
    assert (first.terms, second.terms) == (1, 1)


async def noted(event: asyncio.Event, name: str, order: list[str]) -> None:
    await happens(event)
    order.append(name)


async def test_a_leader_that_finds_another_in_its_place_stops_at_once(cluster: Cluster) -> None:
    first = Candidate(cluster, A)
    async with first.running():
        await happens(first.works)
        others = {"spec": {"holderIdentity": "b", "leaseDurationSeconds": 3600}}
        await cluster.patch(LEASE, "gpuunit-reconciler", others, NAMESPACE)
        await happens(first.stopped)
        with pytest.raises(NotLeadingError):
            first.check()
    assert await holder(cluster) == "b"  # it is not given back: it is not ours


async def test_a_conflict_is_no_loss(cut: Cut) -> None:
    first = Candidate(cut, A)
    async with first.running():
        await happens(first.works)
        await happens(cut.updated)
        cut.interfere = True
        cut.updated.clear()
        await happens(cut.updated)
        assert not cut.interfere
        first.check()
    assert first.terms == 1


async def test_of_many_candidates_one_works(kubeconfig: Path) -> None:
    names = "abcde"
    async with contextlib.AsyncExitStack() as stack:
        candidates = []
        for name in names:
            cluster = await stack.enter_async_context(Cluster(kubeconfig, field_manager="test"))
            candidates.append(Candidate(cluster, LeaseSettings(NAMESPACE, times=QUICK, identity=name)))
        for candidate in candidates:
            await stack.enter_async_context(candidate.running())
        works = [asyncio.create_task(candidate.works.wait()) for candidate in candidates]
        await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
        assert [candidate.terms for candidate in candidates].count(1) == 1
        for task in works:
            task.cancel()
        await asyncio.wait(works)


async def test_what_ends_the_work_ends_the_election(cluster: Cluster) -> None:
    async def fails(may_write: MayWrite) -> None:
        may_write()
        raise ValueError("a fault of the program")

    with pytest.raises(ValueError, match="a fault"):
        await LeaderElection(cluster, A).run(fails)
    assert await holder(cluster) is None


def over() -> None:
    raise NotLeadingError("another leads")


async def test_a_reconciler_whose_time_is_over_writes_nothing(
    world: "World", make_unit: "MakeUnit", settings: ReconcilerSettings
) -> None:
    """Neither objects nor status nor events, whatever there is to do."""
    await world.create(make_unit(serverless={"requestID": "tts"}))
    await world.unit_with("UnitProgressing")
    changed = ReconcilerSettings(nats_url=settings.nats_url, sidecar_image="other:1")
    assert await writes_of(world, changed, over) == []
    await world.cluster.patch(GPUUNIT, "u1", {"spec": {"serverless": {"requestID": "a b"}}}, NAMESPACE)
    await world.unit_with("ServerlessConfigInvalid")
    assert await writes_of(world, changed, over) == []


async def writes_of(world: "World", settings: ReconcilerSettings, may_write: MayWrite) -> list[tuple[str, Kind]]:
    """What a second reconciler tries to write at its first look."""
    cluster: ProbedCluster
    async with type(world.cluster)(world.kubeconfig) as cluster:
        again = Reconciler(cluster, settings, may_write)
        informers = (again._units, *again._children.informers)
        tasks = [asyncio.create_task(informer.run()) for informer in informers]
        try:
            for informer in informers:
                await informer.synced(WAIT_S)
            with contextlib.suppress(NotLeadingError):
                await again.reconcile((NAMESPACE, "u1"))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert again._events._recorder._due.empty()
        return cluster.writes
