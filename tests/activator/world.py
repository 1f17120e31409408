"""A world in which control-plane decisions can be tried: units, pods with sidecars, a stream. No process, no clock."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sidecar.messages import Event, InvocationMessage, WorkerMetricMessage
from simulator.activator.fleet import WorkerRecord, heard, sighted
from simulator.kube.kinds import Object
from simulator.ledger.events import Dispatched, Ended, Queued, Started
from simulator.ledger.ledger import Ledger

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Pod:
    """A unit's pod as it really is.

    `given` are the dispatches on its subject, `had` those that its sidecar was ever sent, `begun` those that run. One
    that is `stuck` never comes up, or back, and its unit does not say so.
    """

    pool: str
    up: bool = False
    stuck: bool = False
    clean: bool = False
    given: list[str] = field(default_factory=list)
    had: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)


class World:
    """What there is. Of it the plane sees `units`, `records` and the `ledger`, as the real one would.

    `now` is the plane's clock. That of the workers, which orders their events, is never set back.
    """

    def __init__(self, unable: frozenset[str]) -> None:
        """Pods of the pools `unable` never start."""
        self.now = 1000.0
        self._workers_now = EPOCH
        self.ledger = Ledger()
        self.invocations: dict[str, InvocationMessage] = {}
        self.units: dict[str, Object] = {}
        self.pods: dict[str, Pod] = {}
        self.records: dict[str, WorkerRecord] = {}
        self.events: list[WorkerMetricMessage] = []
        self.results: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self._unable = unable
        self._sequence = 0

    def wall(self) -> datetime:
        """`now` as a date."""
        return EPOCH + timedelta(seconds=self.now)

    def pass_time(self, seconds: float) -> None:
        """Time passes; where it is below 0, the plane's clock is put right."""
        self.now += seconds
        self._workers_now += timedelta(seconds=max(seconds, 0.0))

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence

    def queue(self, pool: str, timeout_s: int = 0) -> None:
        """A caller wants something."""
        invocation_id = f"i{len(self.invocations) + 1}"
        self.invocations[invocation_id] = InvocationMessage(
            invocation_id=invocation_id,
            serverless_request_id=pool,
            timeout_seconds=timeout_s,
            enqueued_at=self.wall(),
        )
        self.ledger.apply(Queued(invocation_id, pool, self._next()))

    def add(self, unit: Object) -> None:
        """A unit is made, and its pod scheduled."""
        name, serverless = unit["metadata"]["name"], unit["spec"]["serverless"]
        assert name not in self.units, "A8: names never collide"
        unit["metadata"] |= {"uid": str(self._next()), "annotations": {}}
        self.units[name] = unit
        self.pods[name] = Pod(serverless["requestID"])
        self.change(name, "Empty" if serverless.get("templateOnly") else "Progressing")

    def change(self, name: str, phase: str) -> None:
        """The unit's status says so, and the plane sees it."""
        self.units[name]["status"] = {"phase": phase}
        self.see(name)

    def see(self, name: str) -> None:
        """The plane sees the unit as it is."""
        self.records[name] = sighted(self.records.get(name), self.units[name], self.now)

    def remove(self, name: str) -> Pod:
        """A unit is gone, and its pod with it."""
        del self.units[name], self.records[name]
        return self.pods.pop(name)

    def say(self, name: str, kind: str, invocation_id: str = "") -> None:
        """A sidecar publishes an event."""
        event = WorkerMetricMessage(
            serverless_request_id=self.pods[name].pool,
            worker_name=name,
            worker_namespace="ns",
            invocation_id=invocation_id,
            event_type=kind,
            reported_at=self._workers_now,
        )
        self.events.append(event)
        self.records[name] = heard(self.records.get(name), event, self.now)

    def boot(self, name: str) -> None:
        """A pod comes up, or fails to."""
        pod = self.pods[name]
        if pod.pool in self._unable:
            self.change(name, "Failed")
            return
        pod.up, pod.clean = True, False
        pod.begun.clear()
        self.say(name, Event.REGISTERED)
        self.change(name, "Ready")

    def end(self, name: str, *, clean: bool) -> None:
        """A sidecar ends: in good order, with all calls concluded, or without a word."""
        while clean and self.pods[name].begun:
            self.conclude(name)
        self.pods[name].up, self.pods[name].clean = False, clean
        if clean:
            self.say(name, Event.DEREGISTERED)
        self.change(name, "Progressing")

    def dispatched(self, invocation_id: str, name: str, attempt: int, runs: int) -> None:
        """A dispatch is stored."""
        pod = self.pods[name]
        self.ledger.apply(Dispatched(invocation_id, pod.pool, self._next(), name, attempt, runs))
        pod.given.append(invocation_id)

    def begin(self, name: str) -> None:
        """The sidecar takes its next dispatch and starts it."""
        pod = self.pods[name]
        invocation_id = next((each for each in pod.given if each not in pod.begun), None)
        if invocation_id is not None:
            pod.had.add(invocation_id)
            pod.begun.add(invocation_id)
            self.runs[invocation_id] += 1
            self.say(name, Event.STARTED, invocation_id)
            self.ledger.apply(Started(invocation_id))

    def conclude(self, name: str) -> None:
        """The sidecar's oldest call ends."""
        pod = self.pods[name]
        invocation_id = next((each for each in pod.given if each in pod.begun), None)
        if invocation_id is not None:
            pod.given.remove(invocation_id)
            pod.begun.remove(invocation_id)
            self.publish_result(invocation_id, pod.pool)
            self.say(name, Event.FINISHED, invocation_id)

    def publish_result(self, invocation_id: str, pool: str) -> None:
        """The stream keeps the first result of an invocation: by its message id the others are duplicates."""
        self.results[invocation_id] += self.ledger.ended(invocation_id) is None
        self.ledger.apply(Ended(invocation_id, pool, self._next()))

    def repeat_result(self, invocation_id: str) -> None:
        """A result that was published before is delivered once more."""
        ended = self.ledger.ended(invocation_id)
        assert ended is not None
        assert self.ledger.apply(ended) is None

    def repeat_event(self, number: int) -> None:
        """An old event is delivered once more: it changes nothing that is newer (A16)."""
        event = self.events[number % len(self.events)]
        record = self.records.get(event.worker_name)
        if record is not None and event.reported_at < record.reported_at:
            assert heard(record, event, self.now) == record
