"""A local copy of one kind's objects that is kept up to date by a list and a watch.

Whoever needs the state of the cluster often reads it from here, at no cost, and is told of each change.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TypeVar

import structlog

from simulator.errors import ExpiredError, KubeError
from simulator.kube.client import Cluster
from simulator.kube.kinds import Kind, Object

Key = tuple[str, str]
"""Namespace ("" for a cluster-scoped kind) and name."""

FIRST_RETRY_S = 0.05
LONGEST_RETRY_S = 5.0

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def key_of(obj: Object) -> Key:
    """The object's key."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Informer:
    """A local copy of one kind's objects, kept by list and watch (re-lists after 410, reconnects with growing delay).

    Objects that it hands out are shared: read them, do not change them.
    """

    def __init__(
        self, cluster: Cluster, kind: Kind, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        self._cluster = cluster
        self._kind = kind
        self._namespace = namespace
        self._labels = labels
        self._objects: dict[Key, Object] = {}
        self._callbacks: list[Callable[[Key], None]] = []
        self._synced = asyncio.Event()
        self._changed = asyncio.Event()

    def on_change(self, callback: Callable[[Key], None]) -> None:
        """Call `callback` with the key each time after the copy changed: an object was added, modified or deleted."""
        self._callbacks.append(callback)

    async def run(self) -> None:
        """Keep the copy up to date until cancelled."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                version = await self._list()
                retry_s = FIRST_RETRY_S
                await self._follow(version)
            except ExpiredError:
                _log.debug("watch history too short, listing again", kind=self._kind.resource)
            except KubeError as error:
                _log.warning("watch broke, listing again", kind=self._kind.resource, error=str(error), delay_s=retry_s)
                await asyncio.sleep(retry_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    async def synced(self, timeout_s: float | None = 10) -> None:
        """Wait until the first list is in; None waits for ever. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._synced.wait()

    def get(self, namespace: str, name: str) -> Object | None:
        """Return the object as last seen, None if there is none; `namespace` is "" for a cluster-scoped kind."""
        return self._objects.get((namespace, name))

    def objects(self) -> list[Object]:
        """All objects as last seen."""
        return list(self._objects.values())

    async def wait_for(self, find: Callable[["Informer"], T | None], timeout_s: float | None) -> T:
        """Return what `find` finds, asking it now and after each change; None waits for ever. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while (found := find(self)) is None:
                await self._changed.wait()
        return found

    async def _list(self) -> str:
        objects, version = await self._cluster.list_with_version(self._kind, self._namespace, self._labels)
        before, self._objects = self._objects, {key_of(obj): obj for obj in objects}
        self._synced.set()
        for key in before.keys() | self._objects.keys():
            if _version(before.get(key)) != _version(self._objects.get(key)):
                self._announce(key)
        return version

    async def _follow(self, version: str) -> None:
        async for change, obj in self._cluster.watch(self._kind, self._namespace, version, self._labels):
            key = key_of(obj)
            if change == "DELETED":
                self._objects.pop(key, None)
            else:
                self._objects[key] = obj
            self._announce(key)

    def _announce(self, key: Key) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for callback in self._callbacks:
            callback(key)


def _version(obj: Object | None) -> tuple[str, str] | None:
    return (obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]) if obj else None
