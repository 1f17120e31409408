"""GPUUnits in memory, and what other writers do to them."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from simulator.errors import AlreadyExistsError, ConflictError, NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.client import Cluster, Listing
from simulator.kube.kinds import GPUUNIT, Kind, Object


class StubCluster(Cluster):
    """GPUUnits in memory.

    `rivals` are called one by one before each write: what other processes did just then. `before_watch` is awaited when
    a watch begins, `when_told` called with each object that a watch told of.
    """

    def __init__(self) -> None:
        self.units: dict[str, Object] = {}
        self.writes: list[str] = []
        self.rivals: list[Callable[[], object]] = []
        self.failure: Exception | None = None
        self.before_watch: Callable[[], Awaitable[object]] | None = None
        self.when_told: Callable[[Object], object] | None = None
        self.silent = False
        self.history: list[tuple[str, Object]] = []

    def put(self, unit: Object) -> Object:
        """Store a unit as any writer would; its resource version changes."""
        stored = copy.deepcopy(unit)
        metadata = stored["metadata"]
        change = "MODIFIED" if metadata["name"] in self.units else "ADDED"
        metadata["resourceVersion"] = str(len(self.history) + 1)
        metadata.setdefault("uid", f"uid-{len(self.history) + 1}")
        self.units[metadata["name"]] = stored
        self.history.append((change, copy.deepcopy(stored)))
        return copy.deepcopy(stored)

    def drop(self, name: str) -> None:
        """Delete a unit as anybody would."""
        self.history.append(("DELETED", self.units.pop(name)))

    async def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        await self._answer(kind, namespace)
        if name not in self.units:
            raise NotFoundError(f"gpuunits {name!r} not found")
        return copy.deepcopy(self.units[name])

    async def list(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        units, _ = await self.list_with_version(kind, namespace, labels)
        return units

    async def list_with_version(
        self, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> Listing:
        await self._answer(kind, namespace)
        return copy.deepcopy(list(self.units.values())), str(len(self.history))

    async def watch(
        self, kind: Kind, namespace: str | None, resource_version: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[tuple[str, Object]]:
        await self._answer(kind, namespace)
        if self.before_watch is not None:
            await self.before_watch()
        for change, unit in self.history[int(resource_version) :]:
            yield change, copy.deepcopy(unit)
            if self.when_told is not None:
                self.when_told(unit)
        await asyncio.Event().wait()

    async def create(self, kind: Kind, obj: Object) -> Object:
        await self._answer(kind, obj["metadata"]["namespace"])
        self._let_rival_act()
        if obj["metadata"]["name"] in self.units:
            raise AlreadyExistsError("gpuunits already exists")
        self.writes.append("create")
        return self.put(obj)

    async def update(self, kind: Kind, obj: Object) -> Object:
        await self._answer(kind, obj["metadata"]["namespace"])
        self._let_rival_act()
        stored = self.units[obj["metadata"]["name"]]
        if stored["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise ConflictError("the object has been modified")
        self.writes.append("update")
        return self.put(obj)

    async def delete(
        self, kind: Kind, name: str, namespace: str | None = None, *, grace_period_s: int | None = None
    ) -> None:
        await self.get(kind, name, namespace)
        self.writes.append("delete")
        self.drop(name)

    async def _answer(self, kind: Kind, namespace: str | None) -> None:
        assert (kind, namespace) == (GPUUNIT, ACTIVE_NAMESPACE)
        if self.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure

    def _let_rival_act(self) -> None:
        if self.rivals:
            self.rivals.pop(0)()
