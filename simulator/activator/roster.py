"""The workers of all pools as they are now, from units, pods, events and the ledger (A4, A5, A13).

What a worker may be used for is worked out when something about it changed, not when it is asked for.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from sidecar.messages import Event, WorkerMetricMessage
from sidecar.subjects import dispatch_token
from simulator.activator.fleet import Condition, FleetSettings, Worker, WorkerRecord, heard, sighted, worker_of
from simulator.activator.incarnation import has_ended, is_terminating
from simulator.activator.pools import PoolPolicy, policy_of, pools_of, template_of
from simulator.gpuunit import ACTIVE_NAMESPACE, UnitSpecError, serverless_of
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import Object
from simulator.ledger.ledger import Ledger
from simulator.reconciler.unit_index import UnitIndex

MOST_UNKNOWN: Final = 1_000
"""Records that are kept of workers whose unit is not there."""
REVIVED_AFTER_S: Final = 2.0
"""A worker that is heard so long after its end was seen did not end: the pods that were seen were old ones."""
_NOT_SERVING: Final = frozenset({Condition.STARTING, Condition.LEAVING, Condition.TEMPLATE})


class Roster:
    """Keeps the view of every worker; `units` and `pods` must be running informers of the active namespace.

    `on_change` is called with a pool when one of its units or workers changed, `on_loss` with the name of a worker that
    takes no more work: its sidecar ended or is silent, or its unit is gone or serves the pool no longer.
    """

    def __init__(self, units: Informer, pods: Informer, ledger: Ledger, settings: FleetSettings) -> None:
        self._units = units
        self._ledger = ledger
        self._settings = settings
        self._pods = UnitIndex(pods, self._look_again)
        self._records: dict[str, WorkerRecord] = {}
        self._uids: dict[str, str] = {}
        self._farewells: OrderedDict[str, None] = OrderedDict()
        self._registered_at: dict[str, datetime] = {}
        self._ended: dict[str, float] = {}
        self._had_pods: set[str] = set()
        self._views: dict[str, Worker] = {}
        self._members: dict[str, list[Object]] | None = None
        self._policies: dict[str, PoolPolicy] = {}
        self.changed: set[str] = set()
        """Names of workers whose records changed since somebody emptied this."""
        self.on_change: Callable[[str], None] = _nobody
        self.on_loss: Callable[[str], None] = _nobody
        units.on_change(self._unit_changed)

    def load(self, records: Mapping[str, WorkerRecord]) -> None:
        """Begin with what was known before a restart (A12)."""
        self._records.update(records)

    def start(self) -> None:
        """Look at every unit once; call it when the informers are in step."""
        for unit in self._units.objects():
            self._unit_changed((unit["metadata"]["namespace"], unit["metadata"]["name"]))

    def records(self) -> Mapping[str, WorkerRecord]:
        """What is known of each worker, by name."""
        return self._records

    def unit(self, name: str) -> Object | None:
        """A worker's unit; it may be on its way out."""
        return self._units.get(ACTIVE_NAMESPACE, name)

    def has_units(self, pool: str) -> bool:
        """Whether a pool has a unit that is not being deleted."""
        return not all(unit["metadata"].get("deletionTimestamp") for unit in self._by_pool().get(pool, ()))

    def pools(self) -> list[str]:
        """Pools that have a unit."""
        return list(self._by_pool())

    def template(self, pool: str) -> Object | None:
        """The unit that new workers of a pool are made from."""
        return template_of(self._by_pool().get(pool, ()))

    def policy(self, pool: str) -> PoolPolicy:
        """A pool's policy; that of a pool without units is the default."""
        known = self._policies.get(pool)
        if known is None:
            template = self.template(pool)
            if template is None:
                return PoolPolicy(pool)
            known = self._policies[pool] = policy_of(template)
        return known

    def workers(self, pool: str) -> list[Worker]:
        """A pool's workers, with what they have outstanding by the ledger."""
        views = (self._views.get(unit["metadata"]["name"]) for unit in self._by_pool().get(pool, ()))
        return [self._now(view) for view in views if view]

    def worker(self, name: str) -> Worker | None:
        """One worker."""
        view = self._views.get(name)
        return self._now(view) if view else None

    def will_not_do(self, name: str) -> bool:
        """Whether a worker will not do what was dispatched to it: it is lost, gone, or has not begun to serve."""
        view = self._views.get(name)
        return view is None or view.lost or view.condition in _NOT_SERVING

    def said_goodbye(self, name: str) -> bool:
        """Whether a worker's last sidecar ended in good order; known of those that are gone too."""
        return name in self._farewells

    def has_pod(self, name: str) -> bool:
        """Whether something of a worker still runs."""
        return bool(self._pods.objects_of((ACTIVE_NAMESPACE, name)))

    def is_draining(self, name: str) -> bool:
        """Whether a sidecar of a worker's is being ended."""
        pods = self._pods.objects_of((ACTIVE_NAMESPACE, name))
        return any(pod["metadata"].get("deletionTimestamp") for pod in pods)

    def hear(self, event: WorkerMetricMessage, at: float) -> None:
        """Take in an event that reached the queue at a time."""
        name, kind = event.worker_name, event.event_type
        before, is_there = self._records.get(name), name in self._views
        if not is_there and (self.unit(name) is not None or (before is None and kind != Event.REGISTERED)):
            if kind == Event.DEREGISTERED:
                self._say_goodbye(name)
            self.on_loss(name)  # the last words of one whose unit is gone, or is none
            return
        record = heard(before, event, at)
        if record is before:
            return
        self._records[name] = record
        self.changed.add(name)
        self._forget_strangers()
        revived = kind not in (Event.REGISTERED, Event.DEREGISTERED) and self._revived(name, at)
        if kind == Event.REGISTERED:
            self._registered(name, event, record)
        elif kind == Event.DEREGISTERED:
            self._say_goodbye(name)
        was_lost = is_there and self._views[name].lost
        if is_there and (before is None or revived or was_lost or _matters(before, record)):
            self._look(name)

    def _registered(self, name: str, event: WorkerMetricMessage, record: WorkerRecord) -> None:
        if record.took_over and name not in self._ended:
            self.on_loss(name)  # its predecessor ended unnoticed
        self._farewells.pop(name, None)
        self._registered_at[name] = event.reported_at
        self._ended.pop(name, None)

    def _revived(self, name: str, at: float) -> bool:
        """Take back that a worker's sidecar has ended, if it is heard long after."""
        if at < self._ended.get(name, at) + REVIVED_AFTER_S:
            return False
        return self._ended.pop(name, None) is not None

    def _say_goodbye(self, name: str) -> None:
        self._farewells[name] = None
        if len(self._farewells) > MOST_UNKNOWN:
            self._farewells.popitem(last=False)

    def expire(self, now: float) -> None:
        """Look again at the workers whose time has come."""
        for name, view in list(self._views.items()):
            if view.lost_at is not None and view.lost_at <= now:
                self._look(name)

    def next_expiry(self) -> float | None:
        """When a worker will be lost if nothing more is heard of it."""
        return min((view.lost_at for view in self._views.values() if view.lost_at is not None), default=None)

    def _by_pool(self) -> dict[str, list[Object]]:
        if self._members is None:
            self._members = pools_of(self._units.objects())
        return self._members

    def _now(self, view: Worker) -> Worker:
        """A view with what changes all the time."""
        outstanding = len(self._ledger.outstanding(view.pool, dispatch_token(view.name)))
        return replace(view, outstanding=outstanding, idle_since=self._records[view.name].last_activity)

    def _unit_changed(self, key: Key) -> None:
        self._members = None
        self._policies.clear()
        self._look(key[1])

    def _look_again(self, key: Key) -> None:
        self._look(key[1])

    def _look(self, name: str) -> None:
        """Work out a worker's view anew, and tell whom it concerns."""
        unit, former = self.unit(name), self._views.pop(name, None)
        pools = {former.pool} if former else set()
        if unit is None or not _is_valid(unit):
            if unit is None and name in self._uids:
                self._forget(name)
            self.on_loss(name)
        else:
            view = self._view(name, unit)
            self._views[name] = view
            pools.add(view.pool)
            is_news = view.lost and not (former and former.lost)
            if is_news or len(pools) > 1 or self._has_anothers_work(view):
                self.on_loss(name)
            if view == former:
                return
        for pool in pools:
            self.on_change(pool)

    def _has_anothers_work(self, view: Worker) -> bool:
        """Whether what a worker has outstanding was given to a former one of its name, or must not be done by it."""
        if view.condition is Condition.STARTING:
            return bool(self._ledger.outstanding(view.pool, dispatch_token(view.name)))
        return view.condition in _NOT_SERVING

    def _view(self, name: str, unit: Object) -> Worker:
        now = time.time()
        if self._uids.setdefault(name, unit["metadata"]["uid"]) != unit["metadata"]["uid"]:
            self._forget(name)  # another unit of the same name
            self._uids[name] = unit["metadata"]["uid"]
        before = self._records.get(name)
        record = sighted(before, unit, now)
        if record is not before:
            self._records[name] = record
            self.changed.add(name)
        pods = self._pods.objects_of((ACTIVE_NAMESPACE, name))
        if record.registered_at is not None:
            self._note_end(name, pods)
        view = worker_of(
            unit,
            record,
            outstanding=0,
            now=now,
            settings=self._settings,
            incarnation_lost=name in self._ended,
        )
        if view.condition is Condition.LOST and name in self._ended:
            return replace(view, since=max(view.since, self._ended[name]))
        if view.condition is Condition.LIVE and is_terminating(pods):
            return replace(view, condition=Condition.UNHEALTHY)
        return view

    def _note_end(self, name: str, pods: list[Object]) -> None:
        """Note that the sidecar which registered is no more; one that runs outside the cluster has no pods."""
        if pods:
            self._had_pods.add(name)
        if name in self._had_pods and has_ended(pods, self._registered_at.get(name)):
            self._ended.setdefault(name, time.time())

    def _forget(self, name: str) -> None:
        self._records.pop(name, None)
        self._registered_at.pop(name, None)
        self._uids.pop(name, None)
        self._ended.pop(name, None)
        self._had_pods.discard(name)
        self.changed.discard(name)

    def _forget_strangers(self) -> None:
        if len(self._records) - len(self._views) <= MOST_UNKNOWN:
            return
        for name in [name for name in self._records if name not in self._views][: MOST_UNKNOWN // 2]:
            del self._records[name]
            self._registered_at.pop(name, None)
            self.changed.discard(name)


def _is_valid(unit: Object) -> bool:
    """Whether a unit's spec can be read; the others run no worker."""
    try:
        serverless_of(unit)
    except UnitSpecError:
        return False
    return True


def _matters(before: WorkerRecord, after: WorkerRecord) -> bool:
    """Whether an event can have changed more than the time of the last sign of life."""
    return (before.registered_at, before.unhealthy_since, before.deregistered, before.incarnation) != (
        after.registered_at,
        after.unhealthy_since,
        after.deregistered,
        after.incarnation,
    )


def _nobody(_: str) -> None:
    """Nobody listens."""
