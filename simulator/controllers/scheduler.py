"""The scheduler: gives each pod a node, or says why there is none."""

import asyncio
import time
from typing import Final

import structlog

from simulator.controllers.placement import place
from simulator.controllers.pod_state import is_ended, is_terminating
from simulator.controllers.requests import Occupancy, pod_requests
from simulator.controllers.scheduling_events import SCHEDULER, SchedulingEvents
from simulator.controllers.scheduling_queue import SchedulingQueue
from simulator.controllers.views import Views
from simulator.errors import ConflictError, KubeError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Key
from simulator.kube.kinds import POD, Object
from simulator.kube.timestamps import format_time, now

RETRY_S: Final = 1.0
STALE_S: Final = 0.05
"""How long a copy that was too old gets to catch up."""
"""After a failure of the API; a pod that fits nowhere waits for a change instead."""

_log = structlog.get_logger(__name__)


class Scheduler:
    """One pod at a time, from the informers' copies; what was bound counts at once.

    A pod that fits nowhere is tried again when a node changes or a pod leaves one, never on a timer.
    """

    def __init__(self, cluster: Cluster, views: Views, events: SchedulingEvents, time_scale: float) -> None:
        self._cluster = cluster
        self._views = views
        self._events = events
        self._time_scale = time_scale
        self._queue = SchedulingQueue()
        self._occupied = Occupancy()
        self._bound: set[str] = set()  # uids of pods whose node the informer does not show yet
        self._nodes: dict[str, Object] = {}
        self._uids: dict[Key, str] = {}
        self._work = asyncio.Event()
        views.pods.on_change(self._pod_changed)
        views.nodes.on_change(self._node_changed)

    async def run(self) -> None:
        """Schedule until cancelled; the informers must be running and in sync."""
        while True:
            await self._work.wait()
            self._work.clear()
            while (key := self._queue.next()) is not None:
                await self._try(key)

    def _now(self) -> float:
        return time.monotonic() / self._time_scale

    def _pod_changed(self, key: Key) -> None:
        pod = self._views.pods.get(*key)
        uid = pod["metadata"]["uid"] if pod else ""
        before = self._uids.pop(key, uid)
        if uid:
            self._uids[key] = uid
        if before != uid:  # gone, or another one of the same name
            self._queue.remove(key)
            self._events.forget(before)
            self._bound.discard(before)
            self._leave(key)
        if pod is None:
            return
        node = pod["spec"].get("nodeName")
        if node:
            self._bound.discard(uid)
            self._queue.remove(key)
            if is_ended(pod):
                self._leave(key)
            else:
                self._occupied.put(key, node, pod_requests(pod))
        elif _is_ours(pod) and uid not in self._bound:
            self._queue.add(key, self._now())
            self._work.set()

    def _leave(self, key: Key) -> None:
        if self._occupied.drop(key) and self._queue.wake(self._now()):
            self._work.set()

    def _node_changed(self, key: Key) -> None:
        node = self._views.nodes.get(*key)
        before = self._nodes.pop(key[1], None)
        if node is not None:
            self._nodes[key[1]] = node
            if (before is None or _matters(before, node)) and self._queue.wake(self._now()):
                self._work.set()

    async def _try(self, key: Key) -> None:
        pod = self._views.pods.get(*key)
        if pod is None or is_terminating(pod):
            self._queue.remove(key)
            return
        requests = pod_requests(pod)
        found = place(pod, requests, self._views.nodes.objects(), self._occupied.on)
        try:
            if found.node:
                await self._bind(key, pod, found.node, requests)
            else:
                await self._refuse(key, pod, found.problem)
        except (NotFoundError, ConflictError):
            self._queue.remove(key)  # it changed meanwhile; the informer brings it back, or has done so already
            asyncio.get_running_loop().call_later(STALE_S, self._pod_changed, key)
        except KubeError as error:
            _log.warning("pod not scheduled, trying again", pod="/".join(key), error=str(error))
            self._queue.remove(key)
            asyncio.get_running_loop().call_later(RETRY_S, self._pod_changed, key)

    async def _bind(self, key: Key, pod: Object, node: str, requests: dict[str, int]) -> None:
        uid = pod["metadata"]["uid"]
        self._occupied.put(key, node, requests)
        self._bound.add(uid)
        try:
            await self._cluster.bind(pod, node)
        except KubeError:
            self._bound.discard(uid)
            self._occupied.drop(key)
            raise
        self._queue.remove(key)
        self._events.emit(pod, "Scheduled", "Binding", f"Successfully assigned {'/'.join(key)} to {node}")

    async def _refuse(self, key: Key, pod: Object, problem: str) -> None:
        self._queue.park(key, self._now())
        self._events.emit(pod, "FailedScheduling", "Scheduling", problem, "Warning")
        patch = _refusal_patch(pod, problem)
        if patch:
            await self._cluster.patch_status(POD, key[1], patch, key[0])


def _is_ours(pod: Object) -> bool:
    spec = pod["spec"]
    ours = spec.get("schedulerName", SCHEDULER) == SCHEDULER and not spec.get("schedulingGates")
    return ours and not is_terminating(pod) and not is_ended(pod)


def _matters(before: Object, after: Object) -> bool:
    """Whether a change of a node may make room; a heartbeat does not."""

    def view(node: Object) -> tuple[object, ...]:
        return node.get("spec"), node["metadata"].get("labels"), (node.get("status") or {}).get("allocatable")

    return view(before) != view(after)


def _refusal_patch(pod: Object, problem: str) -> Object | None:
    """The merge patch that tells of the problem in the pod's status; None if it is told."""
    metadata, conditions = pod["metadata"], list((pod.get("status") or {}).get("conditions") or ())
    before = next((entry for entry in conditions if entry["type"] == "PodScheduled"), None)
    if before and before["status"] == "False" and before.get("message") == problem:
        return None
    refused = before is not None and before["status"] == "False"
    condition = {
        "type": "PodScheduled",
        "observedGeneration": metadata.get("generation", 1),
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": before["lastTransitionTime"] if before and refused else format_time(now()),
        "reason": "Unschedulable",
        "message": problem,
    }
    kept = [entry for entry in conditions if entry["type"] != "PodScheduled"]
    return {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [*kept, condition]}}
