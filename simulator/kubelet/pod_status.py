"""The status of a pod, as it follows from the states of its containers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from simulator.kube.kinds import Object
from simulator.kubelet.environment import POD_IP
from simulator.kubelet.images import IMAGE_SUBSTITUTED
from simulator.kubelet.states import ContainerKind, ContainerRecord, Running, State, Terminated, Waiting
from simulator.kubelet.timestamps import format_time


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod's status is made of. `records` are in the order of the pod's spec, init containers first.

    `notice` tells of an image that was substituted; `ending` says that its containers are not started any more.
    """

    generation: int
    records: Sequence[ContainerRecord]
    started_at: datetime
    notice: str = ""
    ending: bool = False


def pod_status(facts: PodFacts, before: Object, now: datetime) -> Object:
    """Return the whole status. A condition that is as it was `before` keeps its time, so an unchanged one is equal."""
    phase = _phase(facts)
    inits = [record for record in facts.records if record.kind is not ContainerKind.MAIN]
    mains = [record for record in facts.records if record.kind is ContainerKind.MAIN]
    status: Object = {
        "observedGeneration": facts.generation,
        "phase": phase,
        "conditions": _conditions(facts, phase, before.get("conditions") or (), now),
        "hostIP": POD_IP,
        "hostIPs": [{"ip": POD_IP}],
        "podIP": POD_IP,
        "podIPs": [{"ip": POD_IP}],
        "startTime": format_time(facts.started_at),
        "containerStatuses": [_container_status(record) for record in mains],
        "qosClass": "BestEffort",
    }
    if inits:
        status["initContainerStatuses"] = [_container_status(record) for record in inits]
    if facts.notice:
        status |= {"reason": IMAGE_SUBSTITUTED, "message": facts.notice}
    return status


def status_patch(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    """Return the merge patch from one status to another; empty if they are equal."""
    removed: dict[str, object] = dict.fromkeys(before.keys() - after.keys())
    return removed | {name: value for name, value in after.items() if before.get(name) != value}


def _phase(facts: PodFacts) -> str:
    mains = [record for record in facts.records if record.kind is ContainerKind.MAIN]
    if facts.ending and not any(isinstance(record.state, Running) for record in facts.records):
        codes = [record.state.exit_code if isinstance(record.state, Terminated) else None for record in mains]
        return "Succeeded" if set(codes) == {0} else "Failed"
    return "Running" if mains and all(record.begun for record in mains) else "Pending"


def _conditions(facts: PodFacts, phase: str, before: Iterable[Object], now: datetime) -> list[Object]:
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    unready = [record.name for record in facts.records if _counts(record) and not record.ready]
    incomplete = _incomplete(facts.records)
    ready = (False, ended, "") if ended else _verdict(unready, "ContainersNotReady", "unready status")
    wanted = {
        "PodReadyToStartContainers": (not ended, "", ""),
        "Initialized": _verdict(incomplete, "ContainersNotInitialized", "incomplete status"),
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    earlier = {entry["type"]: entry for entry in before}
    return [_condition(name, verdict, facts, earlier.get(name), now) for name, verdict in wanted.items()]


def _verdict(names: Sequence[str], reason: str, problem: str) -> tuple[bool, str, str]:
    return (False, reason, f"containers with {problem}: [{' '.join(names)}]") if names else (True, "", "")


def _counts(record: ContainerRecord) -> bool:
    return record.kind is not ContainerKind.INIT


def _incomplete(records: Sequence[ContainerRecord]) -> list[str]:
    """Init containers that the main ones wait for; none any more once a main one was begun."""
    if any(record.begun for record in records if record.kind is ContainerKind.MAIN):
        return []
    done = {ContainerKind.INIT: lambda record: record.ready, ContainerKind.SIDECAR: lambda record: record.started}
    return [record.name for record in records if record.kind in done and not done[record.kind](record)]


def _condition(
    name: str, verdict: tuple[bool, str, str], facts: PodFacts, before: Object | None, now: datetime
) -> Object:
    status, reason, message = verdict
    same = before is not None and before["status"] == str(status)
    condition: Object = {
        "type": name,
        "observedGeneration": facts.generation,
        "status": str(status),
        "lastProbeTime": None,
        "lastTransitionTime": before["lastTransitionTime"] if before and same else format_time(now),
    }
    return condition | {key: text for key, text in (("reason", reason), ("message", message)) if text}


def _container_status(record: ContainerRecord) -> Object:
    status: Object = {
        "name": record.name,
        "state": _state(record.state),
        "lastState": _state(record.last) if record.last else {},
        "ready": record.ready,
        "restartCount": record.restarts,
        "image": record.image,
        "imageID": record.image if record.begun else "",
        "started": record.started,
    }
    if container_id := _container_id(record.state) or _container_id(record.last):
        status["containerID"] = container_id
    return status


def _state(state: State) -> Object:
    if isinstance(state, Waiting):
        return {"waiting": {"reason": state.reason, **({"message": state.message} if state.message else {})}}
    if isinstance(state, Running):
        return {"running": {"startedAt": format_time(state.started_at)}}
    ended: Object = {"exitCode": state.exit_code, "reason": state.reason}
    if state.message:
        ended["message"] = state.message
    if state.started_at:
        ended["startedAt"] = format_time(state.started_at)
    ended["finishedAt"] = format_time(state.finished_at)
    if container_id := _container_id(state):
        ended["containerID"] = container_id
    return {"terminated": ended}


def _container_id(state: State | None) -> str:
    pid = None if state is None or isinstance(state, Waiting) else state.pid
    return f"process://{pid}" if pid else ""
