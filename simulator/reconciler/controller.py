"""The loop that makes the cluster agree with the GPUUnits (contract 6): watch, compare, write what differs.

Level-triggered: whatever changed, a unit is brought to rights as a whole from the informers' copies. Nothing is polled;
a unit is looked at again when it or one of its objects changes, or, with growing delay, when writing failed.
"""

import asyncio
import contextlib
from datetime import UTC, datetime

import structlog

from simulator.errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError, PlatformError
from simulator.gpuunit import MANAGED_LABELS, UnitSpecError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, NETWORK_POLICY, POD, SERVICE, Kind, Object
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.reconciler.deployment import deployment_for
from simulator.reconciler.network_policy import network_policy_for
from simulator.reconciler.objects import check_owner, is_controlled_by, must_write, updated
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
)
from simulator.reconciler.unit_index import UnitIndex

SYNC_TIMEOUT_S = 30.0
"""For the first list of each kind."""

WORKERS = 4
"""Units worked on side by side; a unit's work is a few round trips to the API."""

_SYNC_FAILED = {
    SERVICE: SERVICE_SYNC_FAILED,
    NETWORK_POLICY: NETWORK_POLICY_SYNC_FAILED,
    DEPLOYMENT: DEPLOYMENT_SYNC_FAILED,
}
_log = structlog.get_logger(__name__)


class Reconciler:
    """Keeps the objects and the status of all GPUUnits of a cluster; `run` does the work."""

    def __init__(self, cluster: Cluster, settings: ReconcilerSettings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._queue: WorkQueue[Key] = WorkQueue()
        self._units = Informer(cluster, GPUUNIT)
        self._owned = {kind: Informer(cluster, kind, labels=MANAGED_LABELS) for kind in (*_SYNC_FAILED, POD)}
        self._units.on_change(self._queue.add)
        self._index = {kind: UnitIndex(informer, self._queue.add) for kind, informer in self._owned.items()}

    async def run(self) -> None:
        """Reconcile until cancelled. Failures of the API are logged and retried."""
        informers = [self._units, *self._owned.values()]
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            await self._all_synced(informers)
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
        unit = self._units.get(*key)
        if unit is None or unit["metadata"].get("deletionTimestamp"):
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
        pods = self._index[POD].objects_of(key)
        await self._write_status(unit, status_for(unit, deployment, pods, self._settings, datetime.now(UTC)))

    async def _sync_all(self, unit: Object, wanted: dict[Kind, Object | None]) -> Object | None:
        """Write what differs and return the Deployment as it now is."""
        live: dict[Kind, Object | None] = {}
        for kind, desired in wanted.items():
            try:
                live[kind] = await self._sync(unit, kind, desired)
            except (ConflictError, NotFoundError):
                raise  # a stale copy: try again with a fresh one
            except KubeError as error:
                await self._write_failure(unit, _SYNC_FAILED[kind], str(error))
                raise
        return live[DEPLOYMENT]

    async def _sync(self, unit: Object, kind: Kind, desired: Object | None) -> Object | None:
        if desired is None:
            await self._remove_all(unit, kind)
            return None
        name, namespace = desired["metadata"]["name"], desired["metadata"]["namespace"]
        live = self._owned[kind].get(namespace, name)
        if live is None:
            try:
                created = await self._cluster.create(kind, desired)
            except AlreadyExistsError:
                live = await self._cluster.get(kind, name, namespace)  # not ours, or our copy lags behind
            else:
                _log.info("created", kind=kind.kind, namespace=namespace, name=name)
                return created
        check_owner(live, unit)
        if not must_write(live, desired):
            return live
        _log.info("updating", kind=kind.kind, namespace=namespace, name=name)
        return await self._cluster.update(kind, updated(live, desired))

    async def _remove_all(self, unit: Object, kind: Kind) -> None:
        metadata = unit["metadata"]
        for obj in self._index[kind].objects_of((metadata["namespace"], metadata["name"])):
            if is_controlled_by(obj, unit):
                _log.info("removing", kind=kind.kind, namespace=metadata["namespace"], name=obj["metadata"]["name"])
                with contextlib.suppress(NotFoundError):
                    await self._cluster.delete(kind, obj["metadata"]["name"], metadata["namespace"])

    async def _write_failure(self, unit: Object, reason: str, message: str) -> None:
        await self._write_status(unit, failure_status(unit, reason, message, self._settings, datetime.now(UTC)))

    async def _write_status(self, unit: Object, status: Object) -> None:
        if status_changed(unit.get("status") or {}, status):
            # Written over the version that was read, so an older view never replaces a newer one.
            await self._cluster.update_status(GPUUNIT, {**unit, "status": status})
