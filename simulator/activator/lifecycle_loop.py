"""Carries out what `lifecycle` plans for each pool (contract 9.3). The leader's work.

Pools are looked at side by side, each when something of it changed and when its plan says so.
"""

import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from sidecar.queue import QueueError
from simulator.activator.budget import budget_for
from simulator.activator.fleet import Condition, FleetSettings, Worker
from simulator.activator.lifecycle import (
    Action,
    CreateWorkers,
    Delete,
    Drain,
    GiveUp,
    GpuBudget,
    Plan,
    PoolView,
    plan,
    refused,
)
from simulator.activator.naming import worker_from
from simulator.activator.roster import Roster
from simulator.activator.shared import PoolNote, Shared
from simulator.errors import AlreadyExistsError, InvalidError, NotFoundError
from simulator.gpuunit import DRAINING_ANNOTATION
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.kube.workqueue import WorkQueue, run_controller
from simulator.ledger.ledger import Ledger

LOOK_INTERVAL_S: Final = 0.1
"""A pool is looked at no more often, however much happens in it."""
APPEAR_TIMEOUT_S: Final = 10.0
WORKERS: Final = 4
"""Pools worked on side by side."""
NO_NOTE: Final = PoolNote()

log = structlog.get_logger(__name__)


class LifecycleLoop:
    """Makes, drains and deletes workers. `orphans` counts a pool's invocations that wait for a second worker."""

    def __init__(
        self,
        cluster: Cluster,
        units: Informer,
        roster: Roster,
        ledger: Ledger,
        shared: Shared,
        settings: FleetSettings,
        gpu_budget: int | None,
        orphans: Callable[[str], int],
    ) -> None:
        self._cluster = cluster
        self._units = units
        self._roster = roster
        self._ledger = ledger
        self._shared = shared
        self._settings = settings
        self._gpu_budget = gpu_budget
        self._orphans = orphans
        self._work: WorkQueue[str] = WorkQueue()
        self._looked_at: dict[str, float] = {}
        self._reserved: dict[str, int] = {}
        self._gpus_in_use = 0

    def look_at(self, pool: str) -> None:
        """Have a pool looked at: something of it changed."""
        left_s = self._looked_at.get(pool, 0.0) + LOOK_INTERVAL_S - time.monotonic()
        if left_s <= 0:
            self._work.add(pool)
        else:
            self._work.add_after(pool, left_s)

    async def run(self) -> None:
        """Keep all pools until cancelled."""
        for pool in {*self._roster.pools(), *self._ledger.waiting_pools()}:
            self._work.add(pool)
        await run_controller(self._work, self._keep, name="pools", workers=WORKERS)

    async def _keep(self, pool: str) -> None:
        self._looked_at[pool] = time.monotonic()
        self._wake_others()
        view = self._view(pool)
        if view is None:
            return
        wanted = plan(view, time.time(), self._settings, self._budget(pool))
        made = sum(action.count for action in wanted.actions if isinstance(action, CreateWorkers))
        self._reserved[pool] = made * view.policy.gpus_per_worker
        try:
            await self._write(pool, wanted)
            for action in wanted.actions:
                await self._carry_out(action, view)
        except InvalidError as error:
            log.warning("the cluster refuses a worker", pool=pool, error=str(error))
            failures = refused(wanted.failures, f"no worker can be made: {error}", time.time())
            await self._write(pool, Plan((), failures, None))
            self._work.add(pool)
        finally:
            del self._reserved[pool]
            self._wake_others()
        if wanted.next_check_at is not None:
            self._work.add_after(pool, max(wanted.next_check_at - time.time(), 0.0) + 0.01)

    def _view(self, pool: str) -> PoolView | None:
        template = self._roster.template(pool)
        if template is None:
            return None
        workers = tuple(self._roster.workers(pool))
        failures = self._shared.notes.get(pool, NO_NOTE).failures
        return PoolView(self._roster.policy(pool), template, workers, self._waiting(pool, workers), failures)

    def _waiting(self, pool: str, workers: tuple[Worker, ...]) -> int:
        """Invocations for which no live worker has room."""
        room = sum(
            max(worker.capacity - worker.outstanding, 0) for worker in workers if worker.condition is Condition.LIVE
        )
        return max(self._ledger.waiting(pool) + self._orphans(pool) - room, 0)

    def _budget(self, pool: str) -> GpuBudget | None:
        if self._gpu_budget is None:
            return None
        views = {each: view for each in self._roster.pools() if (view := self._view(each))}
        budget = budget_for(pool, self._gpu_budget, views)
        return replace(budget, free=max(budget.free - sum(self._reserved.values()), 0))

    def _wake_others(self) -> None:
        """GPUs that got free may be what another pool waits for."""
        if self._gpu_budget is None:
            return
        pools = self._roster.pools()
        in_use = sum(worker.gpus for pool in pools for worker in self._roster.workers(pool))
        in_use += sum(self._reserved.values())
        before, self._gpus_in_use = self._gpus_in_use, in_use
        for pool in pools if in_use < before else ():
            self.look_at(pool)

    async def _write(self, pool: str, wanted: Plan) -> None:
        """Tell the other activators what is new. Raises ConnectionError."""
        note = self._shared.notes.get(pool, NO_NOTE)
        until = note.until
        reason = next((action.reason for action in wanted.actions if isinstance(action, GiveUp)), "")
        if reason and any(each.sequence > until for each in self._ledger.open_of(pool)):
            until = self._ledger.position
        elif not reason and not wanted.failures.consecutive:
            until = 0  # what was given up is answered, and what comes is not
        if (until, wanted.failures) == (note.until, note.failures):
            return
        gave_up = (reason or note.gave_up) if until else ""
        try:
            await self._shared.write_note(pool, PoolNote(wanted.failures, gave_up, until))
        except QueueError as error:
            raise ConnectionError(f"the queue did not do it: {error}") from error  # the controller tries again
        self._shared.on_pool(pool)

    async def _carry_out(self, action: Action, view: PoolView) -> None:
        """Do one thing. Raises KubeError."""
        match action:
            case CreateWorkers(count, reason):
                for _ in range(count):
                    await self._create(view, reason)
            case Drain(worker, reason):
                log.info("worker is drained", worker=worker.name, pool=worker.pool, reason=reason)
                since = datetime.now(UTC).isoformat(timespec="seconds")
                patch = {"metadata": {"annotations": {DRAINING_ANNOTATION: since}}}
                with contextlib.suppress(NotFoundError):
                    await self._cluster.patch(GPUUNIT, worker.name, patch, worker.namespace)
            case Delete(worker, reason):
                log.info("worker is deleted", worker=worker.name, pool=worker.pool, reason=reason)
                with contextlib.suppress(NotFoundError):
                    await self._cluster.delete(GPUUNIT, worker.name, worker.namespace)
            case GiveUp(reason):
                log.warning("pool cannot start", pool=view.policy.pool, reason=reason)

    async def _create(self, view: PoolView, reason: str) -> None:
        """Make one worker and wait until it is seen, so that it is counted the next time. Raises KubeError."""
        suffix = secrets.token_hex(8)
        worker = worker_from(view.template, f"activate-{view.policy.pool}-{suffix}", suffix)
        name, namespace = worker["metadata"]["name"], worker["metadata"]["namespace"]
        log.info("worker is made", worker=name, pool=view.policy.pool, reason=reason)
        with contextlib.suppress(AlreadyExistsError):
            await self._cluster.create(GPUUNIT, worker)
        try:
            await self._units.wait_for(lambda units: units.get(namespace, name), APPEAR_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectionError(f"the new worker {name} did not appear in the watch of GPUUnits") from error
