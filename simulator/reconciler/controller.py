"""The loop that makes the cluster agree with the GPUUnits (contract 6): watch, compare, apply what differs.

Level-triggered: whatever changed, a unit is brought to rights as a whole from the informers' copies. Nothing is polled;
a unit is looked at again when it or one of its objects changes, or, with growing delay, when writing failed.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from simulator.errors import ConflictError, KubeError, NotFoundError, PlatformError
from simulator.gpuunit import UnitSpecError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key, key_of
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, NETWORK_POLICY, SERVICE, Kind, Object
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.reconciler.children import OWNED_KINDS, Children
from simulator.reconciler.deployment import deployment_for
from simulator.reconciler.latest import Latest
from simulator.reconciler.leader import NotLeadingError
from simulator.reconciler.network_policy import network_policy_for
from simulator.reconciler.service import service_for
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.status import (
    DEPLOYMENT_SYNC_FAILED,
    NETWORK_POLICY_SYNC_FAILED,
    SERVICE_SYNC_FAILED,
    failure_status,
    spec_failure_reason,
    status_changed,
    status_for,
    status_patch,
)
from simulator.reconciler.unit_events import UnitEvents, event_of

SYNC_TIMEOUT_S = 30.0
"""For the first list of each kind."""

WORKERS = 4
"""Units worked on side by side; a unit's work is a few round trips to the API."""

_SYNC_FAILED = {
    SERVICE: SERVICE_SYNC_FAILED,
    NETWORK_POLICY: NETWORK_POLICY_SYNC_FAILED,
    DEPLOYMENT: DEPLOYMENT_SYNC_FAILED,
}


def _always() -> None:
    """Nobody else reconciles this cluster."""


class Reconciler:
    """Keeps the objects and the status of all GPUUnits of a cluster; `run` does the work.

    `may_write` is asked before each write and raises `NotLeadingError` when another reconciler may be at work.
    """

    def __init__(self, cluster: Cluster, settings: ReconcilerSettings, may_write: Callable[[], None] = _always) -> None:
        self._cluster = cluster
        self._settings = settings
        self._may_write = may_write
        self._queue: WorkQueue[Key] = WorkQueue()
        self._events = UnitEvents(cluster)
        self._latest = Latest()
        self._units = Informer(cluster, GPUUNIT)
        self._units.on_change(self._queue.add)
        self._children = Children(cluster, self._events, self._queue.add, may_write)

    async def run(self) -> None:
        """Reconcile until cancelled. Failures of the API are logged and retried."""
        informers = [self._units, *self._children.informers]
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            await self._all_synced(informers)
            group.create_task(self._events.run())
            group.create_task(run_controller(self._queue, self.reconcile, name="gpuunit", workers=WORKERS))

    async def _all_synced(self, informers: list[Informer]) -> None:
        try:
            for informer in informers:
                await informer.synced(SYNC_TIMEOUT_S)
        except TimeoutError as error:
            raise PlatformError(
                f"{self._cluster.url} did not list the GPUUnits and their objects within {SYNC_TIMEOUT_S} s; "
                "check that it runs and that the GPUUnit resource is installed"
            ) from error

    async def reconcile(self, key: Key) -> None:
        """Bring one unit, by namespace and name, to rights; `run` does so for each that changes. Raises KubeError."""
        unit = self._latest.of(GPUUNIT, key, self._units.get(*key))
        if unit is None or unit["metadata"].get("deletionTimestamp"):
            self._events.forget(key)
            return  # the cluster collects what the unit owned
        try:
            wanted: dict[Kind, Object | None] = {
                SERVICE: service_for(unit),
                NETWORK_POLICY: network_policy_for(unit, self._settings),
                DEPLOYMENT: deployment_for(unit, self._settings),
            }
        except UnitSpecError as error:
            # Trying again cannot help: the unit comes back when its spec changes.
            await self._write_failure(unit, spec_failure_reason(error), str(error))
            return
        deployment = await self._sync_all(unit, wanted)
        pods = self._children.pods_of(key)
        await self._write_status(unit, status_for(unit, deployment, pods, self._settings, datetime.now(UTC)))

    async def _sync_all(self, unit: Object, wanted: dict[Kind, Object | None]) -> Object | None:
        """Apply what differs and return the Deployment as it now is."""
        live: dict[Kind, Object | None] = {}
        for kind in OWNED_KINDS:
            try:
                live[kind] = await self._children.sync(unit, kind, wanted[kind])
            except (ConflictError, NotFoundError, NotLeadingError):
                raise  # a stale copy, or not our affair now: try again later
            except KubeError as error:
                await self._write_failure(unit, _SYNC_FAILED[kind], str(error))
                raise
        return live[DEPLOYMENT]

    async def _write_failure(self, unit: Object, reason: str, message: str) -> None:
        await self._write_status(unit, failure_status(unit, reason, message, self._settings, datetime.now(UTC)))

    async def _write_status(self, unit: Object, status: Object) -> None:
        metadata, before = unit["metadata"], unit.get("status") or {}
        if not status_changed(before, status):
            return
        self._may_write()
        # With the version that was read, so an older view never replaces a newer one.
        version = {"metadata": {"resourceVersion": metadata["resourceVersion"]}}
        patch = {**version, "status": status_patch(before, status)}
        answer = await self._cluster.patch_status(GPUUNIT, metadata["name"], patch, metadata["namespace"])
        self._latest.wrote(GPUUNIT, key_of(unit), unit, answer)
        if event := event_of(before, status):
            self._events.tell(unit, event)
