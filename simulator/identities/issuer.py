"""Gives every serverless unit what its sidecar needs at the queue: a consumer, and an identity that may use it (S23).

Level-triggered: whatever changed, a unit is brought to rights as a whole. The consumer is made before the identity, so
a worker that can log in finds it. Who a unit was is refused by the queue as soon as the pods of that time are gone.

The issuer makes consumers and never deletes one: what a lost or former worker was given and did not do hangs on its
consumer. The activator's leader gives that to other workers first, and then deletes the consumer (S13). Until it has,
a unit whose name the consumer bears gets no identity.
"""

import asyncio
import contextlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from sidecar.queue import Access, Queue, QueueError
from sidecar.subjects import sidecar_consumer
from simulator.errors import AlreadyExistsError, NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE, MANAGED_LABELS, UnitSpecError, check_unit_name, is_stock, serverless_of
from simulator.identities.jwt import bearer_of
from simulator.identities.permissions import Grants, worker
from simulator.identities.secret import credentials_in, secret_for, secret_name
from simulator.jetstream.consumers import consumer_state
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key, key_of
from simulator.kube.kinds import POD, SECRET, Object
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.reconciler.objects import check_owner, is_controlled_by
from simulator.reconciler.unit_index import UnitIndex, unit_key
from simulator.worker_consumer import DEFAULT_CONCURRENCY, make_worker_consumer

WORKERS: Final = 4
"""Units worked on side by side; a unit's work is a few round trips."""
RETRY_S: Final = 1.0
"""Pause after the queue did not say which identities there are."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the credentials name: a unit, which its name alone does not tell from a later one, in a pool."""

    uid: str
    pool: str
    account: str
    credentials: str = field(repr=False)


class WorkerAuthority(Protocol):
    """Who signs the workers' identities, and makes them known to the queue's server."""

    async def issue(self, name: str, grants: Grants) -> Access:
        """Make an account for one worker and its user. Raises QueueError: the server cannot be told now."""
        ...

    async def known(self) -> set[str]:
        """The workers' accounts that the server knows. Raises QueueError."""
        ...

    async def revoke(self, accounts: Collection[str]) -> None:
        """Have the server refuse their users from now on. Raises QueueError."""
        ...


class Issuer:
    """Makes consumers and keeps Secrets of all units; `units` must be a running informer, `queue` the stream owner's.

    `concurrency` is how many calls a worker runs at once, for the limit of unacknowledged dispatches.
    """

    def __init__(
        self,
        cluster: Cluster,
        units: Informer,
        queue: Queue,
        authority: WorkerAuthority,
        concurrency: int = DEFAULT_CONCURRENCY,
    ) -> None:
        self._cluster = cluster
        self._units = units
        self._queue = queue
        self._authority = authority
        self._concurrency = concurrency
        self._identities: dict[Key, Identity] = {}
        self._former: dict[str, frozenset[str]] = {}
        """Accounts that no unit has any more, and the pods, by uid, that may still present them."""
        self._work: WorkQueue[Key] = WorkQueue()
        self._secrets = Informer(cluster, SECRET, ACTIVE_NAMESPACE, labels=MANAGED_LABELS)
        self._pods = Informer(cluster, POD, ACTIVE_NAMESPACE, labels=MANAGED_LABELS)
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
            await self._inherit()
            for unit in self._units.objects():
                self._work.add(key_of(unit))
            group.create_task(run_controller(self._work, self._reconcile, name="identities", workers=WORKERS))

    async def _reconcile(self, key: Key) -> None:
        unit = self._units.get(*key)
        pool = _pool_of(unit) if unit is not None else None
        try:
            if unit is None or pool is None:
                await self._withdraw(key, unit)
            else:
                await self._provide(key, unit, pool)
            await self._revoke()
        except QueueError as error:
            raise ConnectionError(f"the queue did not do it: {error}") from error  # the controller tries again

    async def _provide(self, key: Key, unit: Object, pool: str) -> None:
        name, uid = unit["metadata"]["name"], unit["metadata"]["uid"]
        identity = self._identities.get(key)
        if identity is None or (identity.uid, identity.pool) != (uid, pool):
            if await self._remove_secret(unit):
                return  # no pod may start with a former identity; that the Secret is gone brings the unit back here
            await self._check_consumer(name, pool)
            await make_worker_consumer(self._queue, pool, name, self._concurrency)
            access = await self._authority.issue(name, worker(self._queue.stream, pool, name))
            credentials = access.credentials.text if access.credentials else ""
            self._retire(key)
            identity = self._identities[key] = Identity(uid, pool, bearer_of(credentials).account, credentials)
            log.info("identity issued", unit=name, pool=pool)
        await self._write_secret(unit, secret_for(unit, identity.credentials))

    async def _inherit(self) -> None:
        """Take over what an issuer before this one gave to units; what it gave to others is revoked."""
        known = await self._known()
        for unit in self._units.objects():
            self._adopt(unit, known)
        others = [pod for pod in self._pods.objects() if self._may_be_former(pod)]
        adopted = {identity.account for identity in self._identities.values()}
        self._former = dict.fromkeys(known - adopted, _uids(others))

    def _may_be_former(self, pod: Object) -> bool:
        """Whether a pod may present what an issuer before this one took from its unit, or gave to one of that name."""
        return unit_key(pod) not in self._identities or "deletionTimestamp" in pod["metadata"]

    async def _known(self) -> set[str]:
        while True:
            try:
                return await self._authority.known()
            except QueueError as error:
                log.warning("cannot read which identities there are, trying again", error=str(error))
                await asyncio.sleep(RETRY_S)

    def _adopt(self, unit: Object, known: set[str]) -> None:
        """Have the unit's Secret for its identity, if it is the right one, and the server knows it."""
        name, uid, pool = unit["metadata"]["name"], unit["metadata"]["uid"], _pool_of(unit)
        live = self._secrets.get(unit["metadata"]["namespace"], secret_name(name))
        if pool is None or live is None or not is_controlled_by(live, unit):
            return
        try:
            credentials = credentials_in(live)
            bearer = bearer_of(credentials)
        except ValueError:
            return
        if bearer.account in known and bearer.permissions == worker(self._queue.stream, pool, name).permissions:
            self._identities[key_of(unit)] = Identity(uid, pool, bearer.account, credentials)

    def _retire(self, key: Key) -> None:
        """Note that the unit has its identity no more; pods that are there now may still be at work with it."""
        identity = self._identities.pop(key, None)
        if identity is not None:
            self._former[identity.account] = _uids(self._pods_of.objects_of(key))

    async def _revoke(self) -> None:
        """Have the queue refuse former identities, once no pod is left that may present them."""
        if not self._former:
            return
        there = _uids(self._pods.objects())
        done = [account for account, pods in self._former.items() if not pods & there]
        if done:
            await self._authority.revoke(done)
            for account in done:
                self._former.pop(account, None)

    async def _check_consumer(self, name: str, pool: str) -> None:
        """Make sure that no consumer of this name is still to be emptied by the activator's leader.

        Raises:
            ConnectionError: it is; the controller tries again after growing delays.
        """
        state = await consumer_state(self._queue, sidecar_consumer(name))
        if state is None:
            return
        if state.filter_subject != self._queue.subjects.dispatch(pool, name):
            raise ConnectionError(
                f"unit {name} waits for its identity: consumer {state.name} still takes from {state.filter_subject}; "
                "the activator deletes it when it has moved what is left there"
            )
        if state.paused:
            raise ConnectionError(
                f"unit {name} waits for its identity: consumer {state.name} is paused while the activator moves what "
                "the former worker left to others"
            )

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

    async def _remove_secret(self, unit: Object) -> bool:
        """Delete the Secret that is this unit's own, if there is one; whether there was."""
        name, namespace = secret_name(unit["metadata"]["name"]), unit["metadata"]["namespace"]
        live = self._secrets.get(namespace, name)
        if live is None or not is_controlled_by(live, unit):
            return False
        with contextlib.suppress(NotFoundError):  # our copy lags behind
            await self._cluster.delete(SECRET, name, namespace)
        return True

    async def _withdraw(self, key: Key, unit: Object | None) -> None:
        """Forget whose credentials they are once nobody can present them: a later unit of the name gets its own.

        The consumer stays; deleting it is the part of the activator's leader.
        """
        if self._pods_of.objects_of(key):
            return  # a sidecar drains
        if key in self._identities:
            self._retire(key)
            log.info("identity withdrawn", unit=key[1])
        if unit is not None:
            await self._remove_secret(unit)  # that of a unit that is gone goes with it


def _uids(pods: Iterable[Object]) -> frozenset[str]:
    return frozenset(pod["metadata"]["uid"] for pod in pods)


def _pool_of(unit: Object) -> str | None:
    """The pool that the unit's sidecar works for; None when there is none, or the reconciler refuses the unit."""
    if is_stock(unit) or unit["metadata"].get("deletionTimestamp"):
        return None
    try:
        check_unit_name(unit["metadata"]["name"])  # other names could share a subject or a consumer (S25)
        serverless = serverless_of(unit)
    except UnitSpecError:
        return None
    return serverless.request_id if serverless and not serverless.template_only else None
