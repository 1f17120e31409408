"""The objects that units own, as the cluster has them: applied where they differ, deleted where nobody wants them."""

import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from simulator.errors import NotFoundError
from simulator.gpuunit import MANAGED_LABELS
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key, key_of
from simulator.kube.kinds import DEPLOYMENT, NETWORK_POLICY, POD, SERVICE, Kind, Object
from simulator.reconciler.deployment import without_rolling_update
from simulator.reconciler.latest import Latest
from simulator.reconciler.objects import FIELD_MANAGER, check_owner, hash_of, is_controlled_by, must_write
from simulator.reconciler.unit_events import UnitEvents, reverted
from simulator.reconciler.unit_index import UnitIndex

OWNED_KINDS: Final = (SERVICE, NETWORK_POLICY, DEPLOYMENT)
"""In the order in which they are written: no pod runs before the policy that holds it."""

_log = structlog.get_logger(__name__)


class Children:
    """Objects and pods of units; `changed` is called with the key of the unit of which one changes.

    `may_write` is asked before each write, and raises when it must not be made.
    """

    def __init__(
        self, cluster: Cluster, events: UnitEvents, changed: Callable[[Key], None], may_write: Callable[[], None]
    ) -> None:
        self._cluster = cluster
        self._events = events
        self._may_write = may_write
        self._latest = Latest()
        self._copies = {kind: Informer(cluster, kind, labels=MANAGED_LABELS) for kind in (*OWNED_KINDS, POD)}
        self._index = {kind: UnitIndex(informer, changed) for kind, informer in self._copies.items()}

    @property
    def informers(self) -> list[Informer]:
        """The copies of all that is looked at; somebody must run them."""
        return list(self._copies.values())

    def pods_of(self, unit: Key) -> list[Object]:
        """The unit's pods as last seen."""
        return self._index[POD].objects_of(unit)

    async def sync(self, unit: Object, kind: Kind, desired: Object | None) -> Object | None:
        """Have the unit's object of a kind as desired, None for none; return it as it now is.

        Raises:
            KubeError: the cluster refused, or somebody else has an object of that name.
        """
        if desired is None:
            await self._remove_all(unit, kind)
            return None
        live = await self._live(kind, desired)
        if live is None:
            return await self._apply(kind, desired)
        check_owner(live, unit)
        if not must_write(live, desired):
            return live
        if kind == DEPLOYMENT and (patch := without_rolling_update(live)):
            self._may_write()
            await self._cluster.patch(kind, live["metadata"]["name"], patch, live["metadata"]["namespace"])
        # With its uid, what is applied cannot come to another object, which took the name meanwhile.
        identity = {**desired["metadata"], "uid": live["metadata"]["uid"]}
        answer = await self._apply(kind, {**desired, "metadata": identity})
        self._latest.wrote(kind, key_of(desired), live, answer)
        if hash_of(live) == hash_of(desired):
            self._events.tell(unit, reverted(kind, desired["metadata"]["name"]))
        return answer

    async def _live(self, kind: Kind, desired: Object) -> Object | None:
        key = namespace, name = key_of(desired)
        seen = self._latest.of(kind, key, self._copies[kind].get(*key))
        if seen is not None:
            return seen
        # There may be one that is not ours, or that our copy does not show yet: an apply would take it over.
        with contextlib.suppress(NotFoundError):
            return await self._cluster.get(kind, name, namespace)
        return None

    async def _apply(self, kind: Kind, desired: Object) -> Object:
        self._may_write()
        namespace, name = key_of(desired)
        _log.info("applying", kind=kind.kind, namespace=namespace, name=name)
        return await self._cluster.apply(kind, desired, manager=FIELD_MANAGER, force=True)

    async def _remove_all(self, unit: Object, kind: Kind) -> None:
        for obj in self._index[kind].objects_of(key_of(unit)):
            if is_controlled_by(obj, unit):
                self._may_write()
                namespace, name = key_of(obj)
                _log.info("removing", kind=kind.kind, namespace=namespace, name=name)
                with contextlib.suppress(NotFoundError):
                    await self._cluster.delete(kind, name, namespace)
