"""The status of a pod, as it follows from the states of its containers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from simulator.kube.builtin.quality import quality_class
from simulator.kube.kinds import Object
from simulator.kube.timestamps import format_time
from simulator.kubelet.container_status import container_status
from simulator.kubelet.deletion import given_up
from simulator.kubelet.environment import POD_IP
from simulator.kubelet.images import IMAGE_SUBSTITUTED
from simulator.kubelet.phase import pod_phase
from simulator.kubelet.pod_resources import pod_resources
from simulator.kubelet.states import ContainerKind, ContainerRecord, Sandbox, Waiting

FIRST_REASONS = ("PodInitializing", "ContainerCreating")
"""What a container waits for before the kubelet came to it."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a pod's status is made of. `records` are in the order of the pod's spec, init containers first.

    `notice` tells of an image that was substituted. `ended` says that nothing of the pod runs any more nor will;
    `lost` that containers which did not tell how they ended are given up, the main ones only if they had their turn.
    """

    generation: int
    records: Sequence[ContainerRecord]
    started_at: datetime
    notice: str = ""
    sandbox: Sandbox = Sandbox.READY
    ended: bool = False
    lost: bool = False
    main_ones_had_their_turn: bool = True
    spec: Object = field(default_factory=lambda: {"containers": []})


def pod_status(facts: PodFacts, before: Object, now: datetime) -> Object:
    """Return the whole status. A condition that is as it was `before` keeps its time, so an unchanged one is equal."""
    phase = pod_phase(facts.records, facts.spec.get("restartPolicy", "Always"), ended=facts.ended)
    conditions = _conditions(facts, phase, before.get("conditions") or (), now)
    if facts.lost and phase not in ("Succeeded", "Failed"):
        records = given_up(facts.records, main_ones_too=facts.main_ones_had_their_turn)
        facts, phase = replace(facts, records=records), "Failed"
    specs = {
        entry["name"]: entry for group in ("initContainers", "containers") for entry in facts.spec.get(group) or ()
    }
    parts = {record.name: container_status(record, specs.get(record.name, {})) for record in facts.records}
    has_address = "podIP" in before or _has_address(facts)
    address = {"podIP": POD_IP, "podIPs": [{"ip": POD_IP}]} if has_address else {}
    status: Object = {
        "observedGeneration": facts.generation,
        "phase": phase,
        "conditions": conditions,
        "hostIP": POD_IP,
        "hostIPs": [{"ip": POD_IP}],
        **address,
        "startTime": format_time(facts.started_at),
        "containerStatuses": [parts[record.name] for record in facts.records if record.kind is ContainerKind.MAIN],
        "qosClass": quality_class(facts.spec),
        **pod_resources(facts.spec),
    }
    if inits := [parts[record.name] for record in facts.records if record.kind is not ContainerKind.MAIN]:
        status["initContainerStatuses"] = inits
    if facts.notice:
        status |= {"reason": IMAGE_SUBSTITUTED, "message": facts.notice}
    return status


def status_patch(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, object]:
    """Return the merge patch from one status to another; empty if they are equal."""
    removed: dict[str, object] = dict.fromkeys(before.keys() - after.keys())
    return removed | {name: value for name, value in after.items() if before.get(name) != value}


def is_final(facts: PodFacts) -> bool:
    """Whether every container told how it ended, so that the phase of the pod is its last one."""
    phase = pod_phase(facts.records, facts.spec.get("restartPolicy", "Always"), ended=True)
    return phase in ("Succeeded", "Failed")


def _has_address(facts: PodFacts) -> bool:
    """The address shows with the first news of a container, as on a cluster, not with the network itself."""
    return facts.sandbox is not Sandbox.ABSENT and any(
        not isinstance(record.state, Waiting) or record.state.reason not in FIRST_REASONS or record.last
        for record in facts.records
    )


def _conditions(facts: PodFacts, phase: str, before: Iterable[Object], now: datetime) -> list[Object]:
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    unready = [record.name for record in facts.records if _counts(record) and not record.ready]
    earlier = {entry["type"]: entry for entry in before}
    # What was initialized once stays so, whatever becomes of its sidecars.
    done = earlier.get("Initialized", {}).get("status") == "True"
    incomplete = [] if done else _incomplete(facts.records)
    ready = (False, ended, "") if ended else _verdict(unready, "ContainersNotReady", "unready status")
    wanted = {
        "PodReadyToStartContainers": (facts.sandbox is Sandbox.READY, "", ""),
        "Initialized": (True, "PodCompleted", "")
        if phase == "Succeeded"
        else _verdict(incomplete, "ContainersNotInitialized", "incomplete status"),
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    ours = [_condition(name, verdict, facts, earlier.get(name), now) for name, verdict in wanted.items()]
    return ours + [entry for name, entry in earlier.items() if name not in wanted]


def _verdict(names: Sequence[str], reason: str, problem: str) -> tuple[bool, str, str]:
    return (False, reason, f"containers with {problem}: [{' '.join(names)}]") if names else (True, "", "")


def _counts(record: ContainerRecord) -> bool:
    return record.kind is not ContainerKind.INIT


def _incomplete(records: Sequence[ContainerRecord]) -> list[str]:
    """Init containers that the main ones wait for; none any more once a main one was begun."""
    if any(record.begun for record in records if record.kind is ContainerKind.MAIN):
        return []
    inits = [record for record in records if record.kind is not ContainerKind.MAIN]
    return [record.name for record in inits if not _is_complete(record)]


def _is_complete(record: ContainerRecord) -> bool:
    if record.kind is ContainerKind.INIT:
        return record.ready
    return record.started and (record.ready or record.passed)


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
