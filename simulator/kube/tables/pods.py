"""A pod's row: how many of its containers are ready, and what became of it, in one word. Pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from simulator.kube.kinds import Object
from simulator.kube.tables.ages import age

NONE = "<none>"


@dataclass(frozen=True, slots=True)
class _Counts:
    """Of some containers: how often they were restarted, when the last one ended before that, how many are ready."""

    restarts: int = 0
    last_restart: str = ""
    ready: int = 0

    def plus(self, status: Object, *, ready: bool = False) -> "_Counts":
        ended = ((status.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        restarts = self.restarts + int(status.get("restartCount") or 0)
        return _Counts(restarts, max(self.last_restart, ended), self.ready + ready)


def pod_cells(pod: Object, now: datetime) -> list[Any]:
    """Name, ready containers, status, restarts, age, address, node, nominated node and readiness gates."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    restartable = {
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    total = len(spec.get("containers") or ()) + len(restartable)
    reason, counts = _what_became(pod, restartable)
    restarts = str(counts.restarts)
    if counts.restarts and counts.last_restart:
        restarts = f"{counts.restarts} ({age(counts.last_restart, now)} ago)"
    addresses = status.get("podIPs") or [{"ip": status.get("podIP")}]
    return [
        pod["metadata"].get("name", ""),
        f"{counts.ready}/{total}",
        reason,
        restarts,
        age(pod["metadata"].get("creationTimestamp"), now),
        addresses[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]


def _what_became(pod: Object, restartable: set[str]) -> tuple[str, _Counts]:
    status = pod.get("status") or {}
    phase = status.get("phase") or ""
    reason = status.get("reason") or phase
    conditions = status.get("conditions") or ()
    if any(one.get("type") == "PodScheduled" and one.get("reason") == "SchedulingGated" for one in conditions):
        reason = "SchedulingGated"
    trouble, counts, lasting = _init_containers(pod, restartable)
    if trouble:
        reason = trouble
    if not trouble or _is_true(conditions, "Initialized"):
        reason, counts = _containers(status, reason, lasting)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            reason = "Terminating"
    return reason, counts


def _init_containers(pod: Object, restartable: set[str]) -> tuple[str, _Counts, _Counts]:
    """What the start waits for, or failed at (empty if it is over); the counts of all and of those that stay."""
    total = len((pod.get("spec") or {}).get("initContainers") or ())
    every, lasting = _Counts(), _Counts()
    for index, status in enumerate((pod.get("status") or {}).get("initContainerStatuses") or ()):
        stays = status.get("name") in restartable
        started = stays and bool(status.get("started")) and not _ended_well(status)
        ready = started and bool(status.get("ready"))
        every = every.plus(status, ready=ready)
        if stays:
            lasting = lasting.plus(status, ready=ready)
        if not (_ended_well(status) or started):
            return _init_trouble(status, index, total), every, lasting
    return "", every, lasting


def _ended_well(status: Object) -> bool:
    terminated = (status.get("state") or {}).get("terminated")
    return terminated is not None and not terminated.get("exitCode")


def _init_trouble(status: Object, index: int, total: int) -> str:
    state = status.get("state") or {}
    if state.get("terminated") is not None:
        return f"Init:{_end_of(state['terminated'])}"
    waiting = (state.get("waiting") or {}).get("reason")
    return f"Init:{waiting}" if waiting and waiting != "PodInitializing" else f"Init:{index}/{total}"


def _end_of(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _containers(pod_status: Object, reason: str, counts: _Counts) -> tuple[str, _Counts]:
    running = False
    error = ""
    for status in reversed(pod_status.get("containerStatuses") or ()):
        state = status.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        ready = False
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _end_of(terminated)
            error = reason if terminated.get("exitCode") else error
        elif status.get("ready") and state.get("running") is not None:
            running = ready = True
        counts = counts.plus(status, ready=ready)
    if reason == "Completed":
        if running and _is_true(pod_status.get("conditions") or (), "Ready"):
            reason = "Running"
        elif error:
            reason = error
        elif running:
            reason = "NotReady"
    return reason, counts


def _is_true(conditions: Iterable[Object], name: str) -> bool:
    return any(condition.get("type") == name and condition.get("status") == "True" for condition in conditions)


def _readiness_gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return NONE
    conditions = status.get("conditions") or ()
    return f"{sum(_is_true(conditions, gate['conditionType']) for gate in gates)}/{len(gates)}"
