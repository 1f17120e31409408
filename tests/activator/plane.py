"""The control plane's shell over a `World`, as simple as can be: it only does what the decisions say."""

from collections import Counter

import pytest

from sidecar.messages import Event
from simulator.activator.assignment import Waiting, assign
from simulator.activator.budget import budget_for
from simulator.activator.fates import Fail, fate
from simulator.activator.fleet import Condition, FleetSettings, Worker, worker_of
from simulator.activator.lifecycle import (
    NO_FAILURES,
    CreateWorkers,
    Delete,
    Drain,
    GiveUp,
    PoolView,
    StartFailures,
    plan,
)
from simulator.activator.naming import worker_from
from simulator.activator.pools import PoolPolicy, policy_of, pool_units, pools_of, template_of
from simulator.activator.reaping import Move, Orphan, judge
from simulator.gpuunit import DRAINING_ANNOTATION, OnWorkerLoss
from simulator.kube.kinds import Object
from simulator.ledger.ledger import Phase
from tests.activator.world import Pod, World


class Plane:
    """Acts on one pool at a time. `displaced` are the dispatches of lost workers that wait for another worker."""

    def __init__(self, world: World, settings: FleetSettings, gpus: int) -> None:
        self.displaced: dict[str, tuple[str, Move]] = {}
        self.policies: dict[str, PoolPolicy] = {}
        self._world = world
        self._settings = settings
        self._gpus = gpus
        self._failures: dict[str, StartFailures] = {}
        self._made = 0
        self.dispatches: Counter[tuple[str, int]] = Counter()

    def view(self, pool: str, units: list[Object]) -> PoolView | None:
        """What the decisions are told of a pool; None where it has no units."""
        template = template_of(units)
        if template is None:
            return None
        self.policies[pool] = policy_of(template)
        waiting = self._world.ledger.waiting(pool) + sum(at == pool for at, _ in self.displaced.values())
        failures = self._failures.get(pool, NO_FAILURES)
        return PoolView(self.policies[pool], template, tuple(map(self._worker, units)), waiting, failures)

    def _worker(self, unit: Object) -> Worker:
        name, spec = unit["metadata"]["name"], unit["spec"]["serverless"]
        outstanding = self._world.ledger.outstanding(spec["requestID"], name)
        return worker_of(
            unit,
            self._world.records[name],
            outstanding=len([each for each in outstanding if each not in self.displaced]),
            now=self._world.now,
            settings=self._settings,
        )

    def views(self) -> dict[str, PoolView]:
        """All pools that have units."""
        found = {pool: self.view(pool, units) for pool, units in pools_of(self._world.units.values()).items()}
        return {pool: view for pool, view in found.items() if view is not None}

    def act(self, pool: str) -> None:
        """Do once what one pool needs: reap, answer, assign, then its plan."""
        self.forget_ended()
        self._reap_lost(pool)
        view = self.views().get(pool)
        self._answer(pool, has_units=view is not None)
        if view is None:
            return
        self._assign(pool)
        views = self.views()
        planned = plan(views[pool], self._world.now, self._settings, budget_for(pool, self._gpus, views))
        assert planned.next_check_at is None or planned.next_check_at > self._world.now
        self._failures[pool] = planned.failures
        for action in planned.actions:
            match action:
                case CreateWorkers(count):
                    for _ in range(count):
                        self._create(views[pool].template)
                case Drain(worker):
                    self._world.units[worker.name]["metadata"]["annotations"][DRAINING_ANNOTATION] = "now"
                    self._world.see(worker.name)
                case Delete(worker):
                    assert worker.managed, "a person's unit is the person's"
                    if worker.condition is Condition.DRAINING:
                        assert not self._world.pods[worker.name].given, "A11: not with work to do"
                    self.delete(worker.name)
                case GiveUp(reason):
                    self._answer(pool, has_units=True, given_up=reason)

    def forget_ended(self) -> None:
        """Who was lost by mistake may end what was displaced: then nobody else needs to."""
        for invocation_id in [each for each in self.displaced if self._world.ledger.open(each) is None]:
            del self.displaced[invocation_id]

    def _create(self, template: Object) -> None:
        self._made += 1
        self._world.add(worker_from(template, f"make-{self._made}", str(self._made)))

    def delete(self, name: str) -> None:
        """Delete a unit; what it had is moved."""
        self.views()  # whose unit goes with its policy is remembered
        self._reap(name, self._world.remove(name))

    def _assign(self, pool: str) -> None:
        view = self.view(pool, pool_units(self._world.units.values(), pool))
        assert view is not None
        waiting = [
            Waiting(each.invocation_id, each.sequence)
            for each in self._world.ledger.open_of(pool)
            if each.phase is Phase.QUEUED or each.invocation_id in self.displaced
        ]
        load = {worker.name: worker.outstanding for worker in view.workers}
        for given in assign(waiting, view.workers):
            load[given.worker_name] += 1
            assert load[given.worker_name] <= self._settings.capacity
            self._check_live(given.worker_name)
            invocation = self._world.invocations[given.invocation_id]
            waited_s = (self._world.wall() - invocation.enqueued_at).total_seconds()
            assert not 0 < invocation.timeout_seconds <= waited_s, "A20: nobody waits for it any longer"
            _, move = self.displaced.pop(given.invocation_id, (pool, Move(1, 0)))
            self.dispatches[given.invocation_id, move.attempt] += 1
            self._world.dispatched(given.invocation_id, given.worker_name, move.attempt, move.runs)

    def _check_live(self, name: str) -> None:
        """No dispatch to a worker that is not live, said in the world's words."""
        unit, record = self._world.units[name], self._world.records[name]
        assert unit["status"]["phase"] not in ("Failed", "Empty")
        assert DRAINING_ANNOTATION not in unit["metadata"]["annotations"]
        assert self._world.now - record.last_seen < self._settings.silence_s
        said = [each.event_type for each in self._world.events if each.worker_name == name]
        assert said, "A5: nobody takes work before it was heard"
        assert said[-1] != Event.DEREGISTERED
        health = [
            each for each in said if each in (Event.REGISTERED, Event.FRAMEWORK_HEALTHY, Event.FRAMEWORK_UNHEALTHY)
        ]
        assert health[-1] != Event.FRAMEWORK_UNHEALTHY

    def _reap_lost(self, pool: str) -> None:
        for unit in pool_units(self._world.units.values(), pool):
            worker = self._worker(unit)
            if worker.lost and worker.outstanding:
                self._reap(worker.name, self._world.pods[worker.name])

    def restarted(self, name: str) -> None:
        """A sidecar that starts shows that the one before is gone: what that one had is judged first."""
        pod = self._world.pods[name]
        if not pod.clean and pod.had.intersection(pod.given):
            self.views()
            self._reap(name, pod)

    def _reap(self, name: str, pod: Pod) -> None:
        """Take from a lost worker what it has: its consumer is paused and emptied, so it starts nothing of it later."""
        ledger, policy = self._world.ledger, self.policies[pod.pool]
        for invocation_id in list(ledger.outstanding(pod.pool, name)):
            if invocation_id in self.displaced:
                continue
            known = ledger.open(invocation_id)
            assert known is not None
            delivered, started = invocation_id in pod.had, known.phase is Phase.RUNNING
            orphan = Orphan(invocation_id, known.sequence, delivered, started, known.attempt, known.runs)
            verdict = judge(orphan, (), pod.clean, policy)
            if isinstance(verdict, Move):
                self.displaced[invocation_id] = (pod.pool, verdict)
                if policy.on_worker_loss is OnWorkerLoss.NEVER:
                    assert not self._world.runs[invocation_id], "S13: it must not run again"
            elif isinstance(verdict, Fail):
                self._world.publish_result(invocation_id, pod.pool)
            else:
                pytest.fail("what has a result is not outstanding")
            if not (pod.up and invocation_id in pod.begun):  # one that was lost by mistake ends what it began
                pod.given.remove(invocation_id)
                pod.had.discard(invocation_id)
                pod.begun.discard(invocation_id)

    def _answer(self, pool: str, *, has_units: bool, given_up: str = "") -> None:
        for each in self._world.ledger.open_of(pool):
            if each.phase is Phase.QUEUED or each.invocation_id in self.displaced:
                invocation = self._world.invocations[each.invocation_id]
                decided = fate(invocation, has_units=has_units, given_up=given_up, now=self._world.wall())
                if isinstance(decided, Fail):
                    self.displaced.pop(each.invocation_id, None)
                    self._world.publish_result(each.invocation_id, pool)
