"""Gives every serverless unit what its sidecar needs at the queue: a consumer, and an identity that may use it (S23).

Level-triggered: whatever changed, a unit is brought to rights as a whole. The consumer is made before the identity, so
a worker that can log in finds it. It is deleted when the unit and its last pod are gone: until then a sidecar drains.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from sidecar.concurrency import max_ack_pending
from sidecar.queue import ConsumerSettings, Queue, QueueError
from sidecar.subjects import sidecar_consumer
from simulator.errors import AlreadyExistsError
from simulator.gpuunit import MANAGED_LABELS, UnitSpecError, check_unit_name, is_stock, serverless_of
from simulator.identities.authority import Authority
from simulator.identities.permissions import worker
from simulator.identities.secret import secret_for
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import POD, SECRET, Object
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.reconciler.objects import check_owner
from simulator.reconciler.unit_index import UnitIndex

DISPATCH_ACK_WAIT_S: Final = 300.0
"""Silence after which a dispatch is delivered again (contract 2.5); a sidecar sends in-progress acks meanwhile."""

DEFAULT_CONCURRENCY: Final = 1
"""Calls that a worker runs at once unless it is told otherwise."""

WORKERS: Final = 4
"""Units worked on side by side; a unit's work is a few round trips."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the credentials name: a unit, which its name alone does not tell from a later one, in a pool."""

    uid: str
    pool: str
    credentials: str = field(repr=False)


class Issuer:
    """Keeps consumers and Secrets of all units; `units` must be a running informer, `queue` the stream owner's.

    `concurrency` is how many calls a worker runs at once, for the limit of unacknowledged dispatches.
    """

    def __init__(
        self,
        cluster: Cluster,
        units: Informer,
        queue: Queue,
        authority: Authority,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        self._cluster = cluster
        self._units = units
        self._queue = queue
        self._authority = authority
        self._max_ack_pending = max_ack_pending(concurrency)
        self._identities: dict[Key, Identity] = {}
        self._work: WorkQueue[Key] = WorkQueue()
        self._secrets = Informer(cluster, SECRET, labels=MANAGED_LABELS)
        self._pods = Informer(cluster, POD, labels=MANAGED_LABELS)
        self._secrets_of = UnitIndex(self._secrets, self._work.add)
        self._pods_of = UnitIndex(self._pods, self._work.add)
        units.on_change(self._work.add)

    async def run(self) -> None:
        """Issue until cancelled. Refusals of the API or the queue are logged and tried again."""
        async with asyncio.TaskGroup() as group:
            for informer in (self._secrets, self._pods):
                group.create_task(informer.run())
            for informer in (self._units, self._secrets, self._pods):
                await informer.synced()
            for unit in self._units.objects():
                self._work.add((unit["metadata"]["namespace"], unit["metadata"]["name"]))
            group.create_task(run_controller(self._work, self._reconcile, name="identities", workers=WORKERS))

    async def _reconcile(self, key: Key) -> None:
        unit = self._units.get(*key)
        pool = _pool_of(unit) if unit is not None else None
        try:
            if unit is None or pool is None:
                await self._withdraw(key)
            else:
                await self._provide(key, unit, pool)
        except QueueError as error:
            raise ConnectionError(f"the queue did not do it: {error}") from error  # the controller tries again

    async def _provide(self, key: Key, unit: Object, pool: str) -> None:
        name, uid = unit["metadata"]["name"], unit["metadata"]["uid"]
        identity = self._identities.get(key)
        if identity is None or (identity.uid, identity.pool) != (uid, pool):
            if identity is not None and identity.pool != pool:
                await self._queue.delete_consumer(sidecar_consumer(name))  # it listens to the former pool
            await self._make_consumer(name, pool)
            access = self._authority.worker_access(name, worker(self._queue.stream, pool, name))
            credentials = access.credentials.text if access.credentials else ""
            identity = self._identities[key] = Identity(uid, pool, credentials)
            log.info("identity issued", unit=name, pool=pool)
        await self._write_secret(unit, secret_for(unit, identity.credentials))

    async def _make_consumer(self, name: str, pool: str) -> None:
        consumer = await self._queue.consumer(
            ConsumerSettings(
                durable=sidecar_consumer(name),
                filter_subject=self._queue.subjects.dispatch(pool, name),
                ack_wait_s=DISPATCH_ACK_WAIT_S,
                max_ack_pending=self._max_ack_pending,
            )
        )
        await consumer.close()  # it is the sidecar's; here it only had to be made

    async def _write_secret(self, unit: Object, wanted: Object) -> None:
        name, namespace = wanted["metadata"]["name"], wanted["metadata"]["namespace"]
        live = self._secrets.get(namespace, name)
        if live is None:
            try:
                await self._cluster.create(SECRET, wanted)
            except AlreadyExistsError:
                live = await self._cluster.get(SECRET, name, namespace)  # not ours, or our copy lags behind
            else:
                return
        check_owner(live, unit)
        if live.get("data") != wanted["data"]:
            metadata = {**wanted["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
            await self._cluster.update(SECRET, {**wanted, "metadata": metadata})

    async def _withdraw(self, key: Key) -> None:
        if key in self._identities and not self._pods_of.objects_of(key):
            await self._queue.delete_consumer(sidecar_consumer(key[1]))
            del self._identities[key]
            log.info("consumer deleted", unit=key[1])


def _pool_of(unit: Object) -> str | None:
    """The pool that the unit's sidecar works for; None when there is no sidecar, or the reconciler refuses the unit."""
    if is_stock(unit) or unit["metadata"].get("deletionTimestamp"):
        return None
    try:
        check_unit_name(unit["metadata"]["name"])  # other names could share a subject or a consumer (S25)
        serverless = serverless_of(unit)
    except UnitSpecError:
        return None
    return serverless.request_id if serverless else None
