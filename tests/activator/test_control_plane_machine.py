"""The decisions and the ledger as one plane, in a world that hypothesis makes (A1, A5, A6, A8, A11 to A16, A20, S13).

Whatever happens, and in whatever order: nobody has more than its capacity, nobody gets work who is not live, pools do
not depend on each other, no invocation is dispatched twice as the same attempt or has two results, and when the world
calms down each has exactly one.
"""

from collections.abc import Callable, Iterator

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sidecar.messages import Event
from simulator.activator.fleet import FleetSettings
from simulator.activator.lifecycle import PoolView, plan
from simulator.activator.pools import pool_units
from simulator.gpuunit import OnWorkerLoss
from tests.activator.plane import Plane
from tests.activator.world import World

SETTINGS = FleetSettings(silence_s=45.0, ready_wait_s=120.0, capacity=2)
GPUS = 6
POOLS: dict[str, dict[str, object]] = {
    "warm": {"minAvailableCount": 1, "idleTimeoutSeconds": 30},
    "cold": {"templateOnly": True, "minRequestCount": 2, "maxAvailableCount": 2, "idleTimeoutSeconds": 10},
    "once": {"onWorkerLoss": "never"},
    "broken": {"templateOnly": True, "maxAttempts": 1},
    "nobody": {},
}
UNABLE = frozenset({"broken"})
ROUNDS_TO_CALM = 60
HEARTBEAT_S = 15.0

pools = st.sampled_from(["warm", "once", "cold"] * 2 + ["broken", "nobody"])
numbers = st.integers(0, 30)


class ControlPlane(RuleBasedStateMachine):
    """Rules are what may happen in the world; `act` lets the plane look at a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(UNABLE)
        self.plane = Plane(self.world, SETTINGS, GPUS)
        for pool in POOLS:
            if pool != "nobody":
                self.make(pool, "base")
                if "templateOnly" not in POOLS[pool]:
                    self.world.boot(f"{pool}-base")

    def make(self, pool: str, name: str) -> None:
        metadata = {"name": f"{pool}-{name}", "namespace": "ns"}
        self.world.add({"metadata": metadata, "spec": {"gpu": 1, "serverless": {"requestID": pool, **POOLS[pool]}}})

    def some(self, number: int, suits: Callable[[str], bool]) -> Iterator[str]:
        """One of the pods that suit, if any does."""
        names = [name for name in self.world.pods if suits(name)]
        if names:
            yield names[number % len(names)]

    def is_up(self, name: str) -> bool:
        return self.world.pods[name].up

    def is_busy(self, name: str) -> bool:
        return self.is_up(name) and bool(self.world.pods[name].given)

    def may_boot(self, name: str) -> bool:
        pod = self.world.pods[name]
        return not pod.up and not pod.stuck and self.phase_of(name) not in ("Empty", "Failed")

    def phase_of(self, name: str) -> str:
        return str(self.world.units[name]["status"]["phase"])

    @rule(pool=pools, count=st.integers(1, 5), timeout_s=st.sampled_from([0, 0, 30]))
    def invoke(self, pool: str, count: int, timeout_s: int) -> None:
        for _ in range(count):
            self.world.queue(pool, timeout_s)
        self.plane.act(pool)

    @rule()
    def act(self) -> None:
        for pool in POOLS:
            self.plane.act(pool)

    @rule(number=numbers, outcome=st.sampled_from(["up", "up", "up", "stuck", "failed"]))
    def boot(self, number: int, outcome: str) -> None:
        for name in self.some(number, self.may_boot):
            match outcome:
                case "up":
                    self.plane.restarted(name)
                    self.world.boot(name)
                case "stuck":
                    self.world.pods[name].stuck = True
                case "failed":
                    self.world.change(name, "Failed")

    @rule(number=numbers, kind=st.sampled_from([Event.HEARTBEAT, Event.FRAMEWORK_UNHEALTHY, Event.FRAMEWORK_HEALTHY]))
    def say(self, number: int, kind: str) -> None:
        for name in self.some(number, self.is_up):
            self.world.say(name, kind)

    @rule(number=numbers, begins=st.integers(0, 2), concludes=st.integers(0, 2))
    def work(self, number: int, begins: int, concludes: int) -> None:
        for name in self.some(number, self.is_busy):
            for _ in range(begins):
                self.world.begin(name)
            for _ in range(concludes):
                self.world.conclude(name)

    @rule(number=numbers, begins=st.integers(0, 2), clean=st.booleans(), stuck=st.booleans())
    def lose(self, number: int, begins: int, clean: bool, stuck: bool) -> None:
        for name in self.some(number, self.is_busy if begins else self.is_up):
            for _ in range(begins):
                self.world.begin(name)
            self.world.end(name, clean=clean)
            self.world.pods[name].stuck = stuck

    @rule(number=numbers)
    def delete_or_make_again(self, number: int) -> None:
        """A person deletes a unit, whatever it is doing, or makes the one again that was deleted."""
        gone = [pool for pool in POOLS if pool != "nobody" and f"{pool}-base" not in self.world.units]
        if gone:
            self.make(gone[number % len(gone)], "base")
            return
        for name in self.some(number, lambda name: number == 0 or not name.endswith("-base")):
            self.plane.delete(name)

    @rule(seconds=st.sampled_from([0.5, 5.0, 40.0, 50.0, 130.0, -3.0]))
    def wait(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(number=st.integers(0, 1000))
    def deliver_again(self, number: int) -> None:
        """An event, and a result, that were delivered before."""
        self.world.repeat_event(number)
        for invocation_id in sorted(self.world.results)[number % 10 : number % 10 + 1]:
            self.world.repeat_result(invocation_id)

    @invariant()
    def nothing_twice(self) -> None:
        assert all(count == 1 for count in self.world.results.values()), "one result each"
        assert all(count == 1 for count in self.plane.dispatches.values()), "A10: one dispatch of each attempt"

    @invariant()
    def not_run_again_where_that_is_forbidden(self) -> None:
        never = {pool for pool, spec in POOLS.items() if spec.get("onWorkerLoss") == OnWorkerLoss.NEVER}
        for invocation_id, runs in self.world.runs.items():
            if self.world.invocations[invocation_id].serverless_request_id in never:
                assert runs == 1

    @invariant()
    def pools_do_not_depend_on_each_other(self) -> None:
        everything = self.plane.views()
        for pool, view in everything.items():
            alone: PoolView | None = self.plane.view(pool, pool_units(self.world.units.values(), pool))
            assert alone == view
            assert plan(alone, self.world.now, SETTINGS) == plan(view, self.world.now, SETTINGS)

    def teardown(self) -> None:
        """The world calms down: pods start, calls end, heartbeats come; then everybody has an answer."""
        for _ in range(ROUNDS_TO_CALM):
            if not any(self.world.ledger.all_open()):
                break
            for name, pod in list(self.world.pods.items()):
                if self.may_boot(name):
                    self.plane.restarted(name)
                    self.world.boot(name)
                if pod.up:
                    self.world.say(name, Event.FRAMEWORK_HEALTHY)
                    while pod.given:
                        self.world.begin(name)
                        self.world.conclude(name)
            for pool in POOLS:
                self.plane.act(pool)
            self.world.pass_time(HEARTBEAT_S)
        self.plane.forget_ended()
        assert not list(self.world.ledger.all_open())
        assert set(self.world.results) == set(self.world.invocations)
        assert not self.plane.displaced
        self.nothing_twice()


ControlPlane.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=50,
    deadline=None,
    phases=(Phase.reuse, Phase.generate),  # shrinking takes longer than a test may
)
TestControlPlane = ControlPlane.TestCase
