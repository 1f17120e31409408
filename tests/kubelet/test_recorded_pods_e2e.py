"""Our kubelet tells of its pods what a real one was recorded to tell: statuses and events, in their order.

Every recorded pod is given to the kubelet, with programs of this machine in place of the recorded images. The rule:
each recorded status appears, in the recorded order; what else is told in between must be a status that some recording
has (a real kubelet skips steps when it is busy, ours does not). Events must come in the recorded order of their first
appearance; how often one is repeated depends on when a kubelet looks at its pods.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from simulator.kube.kinds import CONFIG_MAP, NAMESPACE, POD, SECRET, Object
from simulator.kubelet.images import ImageTable, Missing
from tests.kubelet.recorded_pods import (
    SCENARIOS,
    EventKey,
    RecordedPod,
    known_statuses,
    missing_images,
    neutral,
    normalised,
    recorded_pods,
)

pytestmark = pytest.mark.e2e

TIME_SCALE = 0.02
WAIT_S = 10
ABSENT = {"registry.local/absent:1": Missing("absent")}
KINDS = {kind.kind: kind for kind in (CONFIG_MAP, SECRET)}


class Play:
    """One recorded pod, given to our kubelet."""

    def __init__(self, bench: Any, recorded: RecordedPod) -> None:
        self.recorded = recorded
        self.told: list[Object] = []
        self.events: list[EventKey] = []
        self._bench = bench
        self._uid = ""
        self._changed = asyncio.Event()

    def status_changed(self, pod: Object) -> None:
        """Note a status of the pod."""
        if pod["metadata"]["name"] != self.recorded.name or "startTime" not in (pod.get("status") or {}):
            return
        self._uid = pod["metadata"]["uid"]
        told = normalised(pod["status"], self.recorded.name, self.recorded.namespace, self._uid)
        if not self.told or self.told[-1] != told:
            self.told.append(told)
            self._changed.set()

    def event_changed(self, event: Object) -> None:
        """Note an event of the pod, when it comes first."""
        about = event["involvedObject"]
        if about["name"] == self.recorded.name and event["source"]["component"] == "kubelet":
            message = neutral(event["message"], self.recorded.name, self.recorded.namespace, about["uid"])
            key = (event["type"], event["reason"], message, about.get("fieldPath", ""))
            if key not in self.events:
                self.events.append(key)
                self._changed.set()

    async def run(self) -> None:
        """Make the pod, and go through what was recorded of it."""
        metadata = {"name": self.recorded.name, "namespace": self.recorded.namespace}
        spec = {**self.recorded.spec, "nodeName": "local-node"}
        await self._bench.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        place = 0
        for step in self.recorded.steps:
            if "status" in step:
                place = await self._find(step["status"], place)
            else:
                await self._do(step)
        await self._wait(
            lambda: set(self.recorded.events) <= set(self.events),
            lambda: f"{set(self.recorded.events) - set(self.events)} but {self.events}",
        )

    async def _find(self, status: Object, place: int) -> int:
        found: list[int] = []

        def is_there() -> bool:
            found[:] = [number for number in range(place, len(self.told)) if self.told[number] == status]
            return bool(found)

        await self._wait(is_there, lambda: f"\n{json.dumps(status)}\nbut" + self._told_from(place))
        return found[0]

    def _told_from(self, place: int) -> str:
        return "".join(f"\n{json.dumps(status)}" for status in self.told[place:])

    async def _wait(self, condition: Callable[[], bool], what: Callable[[], str]) -> None:
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pytest.fail(f"{self.recorded.name} did not tell {what()}")

    async def _do(self, step: Object) -> None:
        cluster, namespace = self._bench.cluster, self.recorded.namespace
        if step["do"] == "delete":
            grace_s = 0 if step["grace"] == 0 else None
            await cluster.delete(POD, self.recorded.name, namespace, grace_period_s=grace_s)
        elif step["do"] == "kill":
            containers = self._bench.kubelet.containers()
            (pid,) = [entry.pid for entry in containers if entry.container == step["container"]]
            os.kill(pid, signal.SIGKILL)
        else:
            body = {**step["body"], "metadata": {**step["body"]["metadata"], "namespace": namespace}}
            await cluster.create(KINDS[body["kind"]], body)


def comparable(events: list[EventKey], recorded: RecordedPod) -> list[EventKey]:
    """The events up to the end of the recording.

    A kubelet tells of all containers that it stops at once, in any order; it asks whether a sidecar is ready while it
    starts what comes after; and a program that takes a moment to listen, as Python does and busybox does not, fails a
    probe meanwhile.
    """
    events = [event for event in events if event in recorded.events or event[1] != "Unhealthy"]
    any_order = sorted(filter(_has_no_order, events))
    rest = [event for event in events if event not in any_order]
    return [*rest[: sum(event not in any_order for event in recorded.events)], *any_order]


def _has_no_order(event: EventKey) -> bool:
    _, reason, message, container = event
    if reason == "Unhealthy":
        return message.startswith("Readiness") and container.startswith("spec.initContainers")
    return reason == "Killing" and message.startswith("Stopping")


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if recorded_pods(name)])
async def test_pods_are_told_of_as_recorded(start_bench: Any, scenario: str) -> None:
    pods = recorded_pods(scenario)
    async with start_bench(
        ImageTable(ABSENT | missing_images(scenario)), time_scale=TIME_SCALE, namespace=pods[0].namespace
    ) as bench:
        await bench.cluster.create(
            NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": pods[0].namespace}}
        )
        plays = [Play(bench, pod) for pod in pods]
        for play in plays:
            bench.on_status(play.status_changed)
            bench.on_event(play.event_changed)
        await asyncio.gather(*(play.run() for play in plays))
        for play in plays:
            assert comparable(play.events, play.recorded) == comparable(play.recorded.events, play.recorded)
            strange = [status for status in play.told if json.dumps(status, sort_keys=True) not in known_statuses()]
            assert strange == []
