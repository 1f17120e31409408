"""Builders that the reconciler's tests share, and a cluster with a running reconciler."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import InvalidError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, EVENT, GPUUNIT, POD, Kind, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.reconciler.controller import Reconciler
from simulator.reconciler.settings import ReconcilerSettings

MakeUnit = Callable[..., Object]
MakePod = Callable[..., Object]

NAMESPACE = "runtime-instance"
UNIT = "u1"
TIMEOUT_S = 10.0


@pytest.fixture(scope="session")
def make_unit() -> MakeUnit:
    """Build a GPUUnit of which the given spec fields are added to the shortest valid spec."""

    def build(
        *, name: str = "u1", namespace: str = "runtime-instance", status: Object | None = None, **spec: object
    ) -> Object:
        unit: Object = {
            "apiVersion": "runtime.lokiwager.io/v1alpha1",
            "kind": "GPUUnit",
            "metadata": {"name": name, "namespace": namespace, "uid": f"uid-of-{name}", "generation": 3},
            "spec": {"specName": "g1.1", **spec},
        }
        return unit if status is None else {**unit, "status": status}

    return build


@pytest.fixture(scope="session")
def make_pod() -> MakePod:
    """Build a pod with the given container statuses."""

    def build(
        *,
        name: str = "u1-7c9f-abcde",
        phase: str = "Running",
        init: list[Object] | None = None,
        main: list[Object] | None = None,
        deleted: bool = False,
        **status: object,
    ) -> Object:
        metadata: Object = {"name": name, "namespace": "runtime-instance"}
        if deleted:
            metadata["deletionTimestamp"] = "2026-03-04T05:00:00Z"
        return {
            "metadata": metadata,
            "status": {
                "phase": phase,
                "initContainerStatuses": init or [],
                "containerStatuses": main or [],
                **status,
            },
        }

    return build


@pytest.fixture(scope="session")
def settings() -> ReconcilerSettings:
    return ReconcilerSettings(nats_url="nats://127.0.0.1:4222")


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)


class ProbedCluster(Cluster):
    """A connection that notes what is written, and on which the creation of some kinds can be refused."""

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__(kubeconfig, field_manager="test")
        self.refused: frozenset[Kind] = frozenset()
        self.writes: list[tuple[str, Kind]] = []

    async def apply(self, kind: Kind, obj: Object, *, manager: str, force: bool = False) -> Object:
        self.writes.append(("apply", kind))
        if kind in self.refused:
            raise InvalidError(f"no {kind.kind} today")
        return await super().apply(kind, obj, manager=manager, force=force)

    async def create(self, kind: Kind, obj: Object) -> Object:
        if kind != EVENT:  # about what was written, and written in its own time
            self.writes.append(("create", kind))
        return await super().create(kind, obj)

    async def update(self, kind: Kind, obj: Object) -> Object:
        self.writes.append(("update", kind))
        return await super().update(kind, obj)

    async def patch(self, kind: Kind, name: str, patch: Object, namespace: str | None = None) -> Object:
        if kind != EVENT:
            self.writes.append(("patch", kind))
        return await super().patch(kind, name, patch, namespace)

    async def patch_status(self, kind: Kind, name: str, patch: Object, namespace: str | None = None) -> Object:
        self.writes.append(("patch status", kind))
        return await super().patch_status(kind, name, patch, namespace)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace_period_s: int | None = None
    ) -> None:
        self.writes.append(("delete", kind))
        await super().delete(kind, name, namespace, grace_period_s=grace_period_s)


class World:
    """A cluster with a running reconciler, and the test's own view of the units."""

    def __init__(self, cluster: ProbedCluster, kubeconfig: Path, units: Informer) -> None:
        self.cluster = cluster
        self.kubeconfig = kubeconfig
        self.units = units
        self.phases: list[str] = []
        units.on_change(self._note_phase)

    def _note_phase(self, key: tuple[str, str]) -> None:
        unit = self.units.get(*key)
        if unit is not None:
            self.phases.append(str(unit.get("status", {}).get("phase", "")))

    async def create(self, unit: Object) -> None:
        metadata = {name: unit["metadata"][name] for name in ("name", "namespace")}
        await self.cluster.create(GPUUNIT, {**unit, "metadata": metadata})

    async def unit_with(self, reason: str) -> Object:
        """Wait until the unit's Ready condition has the reason."""

        def find(units: Informer) -> Object | None:
            unit = units.get(NAMESPACE, UNIT)
            conditions = (unit or {}).get("status", {}).get("conditions", [])
            return unit if any(entry["reason"] == reason for entry in conditions) else None

        return await self.units.wait_for(find, TIMEOUT_S)

    async def object_with(self, kind: Kind, find: Callable[[Informer], Object | None]) -> Object:
        """Wait until `find` finds something among the objects of a kind."""
        informer = Informer(self.cluster, kind, NAMESPACE)
        watching = asyncio.create_task(informer.run())
        try:
            await informer.synced(TIMEOUT_S)  # an empty copy says nothing before its first list
            return await informer.wait_for(find, TIMEOUT_S)
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def gone(self, kind: Kind, name: str) -> None:
        """Wait until there is no such object."""

        def find(informer: Informer) -> Object | None:
            return None if informer.get(NAMESPACE, name) else {}

        await self.object_with(kind, find)

    async def make_pod(self, status: Object, name: str = "u1-pod") -> None:
        """Make a pod as the unit's Deployment wants it, with a status that its kubelet might report."""
        deployment = await self.cluster.get(DEPLOYMENT, UNIT, NAMESPACE)
        template = deployment["spec"]["template"]
        metadata = {"name": name, "namespace": NAMESPACE, "labels": template["metadata"]["labels"]}
        await self.cluster.create(POD, {"metadata": metadata, "spec": template["spec"]})
        await self.cluster.patch_status(POD, name, {"status": status}, NAMESPACE)

    async def make_available(self) -> None:
        """Say what the cluster's own controllers would say of a running pod, and run one."""
        await self.make_pod({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        await self.cluster.patch_status(DEPLOYMENT, UNIT, {"status": dict.fromkeys(counts, 1)}, NAMESPACE)

    async def make_unavailable(self) -> None:
        """The pod goes, and the Deployment says so."""
        await self.cluster.delete(POD, "u1-pod", NAMESPACE, grace_period_s=0)
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        await self.cluster.patch_status(DEPLOYMENT, UNIT, {"status": dict.fromkeys(counts)}, NAMESPACE)

    async def writes_of_another_reconciler(
        self, settings: ReconcilerSettings, namespace: str, name: str
    ) -> list[tuple[str, Kind]]:
        """What a second reconciler, new as after a restart, writes when it looks at a unit three times."""
        async with ProbedCluster(self.kubeconfig) as cluster:
            again = Reconciler(cluster, settings)
            async with running(again.run()):
                for informer in (again._units, *again._children.informers):
                    await informer.synced()
                for _ in range(3):
                    await again.reconcile((namespace, name))
            return cluster.writes

    async def versions(self, objects: Iterable[tuple[Kind, str]]) -> list[str]:
        """The resource versions of some objects."""
        found = [await self.cluster.get(kind, name, NAMESPACE) for kind, name in objects]
        return [obj["metadata"]["resourceVersion"] for obj in found]


@asynccontextmanager
async def running(*parts: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        yield
        assert not [task for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
async def world(tmp_path: Path, settings: ReconcilerSettings) -> AsyncIterator[World]:
    kubeconfig = tmp_path / "kubeconfig"
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(kubeconfig)
        async with ProbedCluster(kubeconfig) as cluster:
            units = Informer(cluster, GPUUNIT)
            made = World(cluster, kubeconfig, units)
            async with running(units.run(), Reconciler(cluster, settings).run()):
                await units.synced()
                yield made
