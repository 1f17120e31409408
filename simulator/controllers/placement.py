"""On which node a pod goes, and what is said when it fits on none: pure functions, with the scheduler's own texts."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.controllers.requests import PODS, Amounts, amounts_of
from simulator.kube.kinds import Object

NO_NODES: Final = "no nodes available to schedule pods"
NO_VICTIMS: Final = "No preemption victims found for incoming pod"
NOT_HELPFUL: Final = "Preemption is not helpful for scheduling"
_BLOCKING: Final = ("NoSchedule", "NoExecute")
_UNSCHEDULABLE_TAINT: Final = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
_WEIGHED: Final = {"cpu": 100, "memory": 200 * 1024 * 1024}
"""The resources by which nodes are compared, and what a pod that requests none of one is counted for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pod does not fit on a node. `lasting` says that it would not even if the node were empty."""

    reasons: tuple[str, ...]
    lasting: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """The node for a pod, or, where it is "", the message that says why there is none."""

    node: str = ""
    problem: str = ""


def place(pod: Object, requests: Amounts, nodes: Sequence[Object], occupied: Callable[[str], Amounts]) -> Placement:
    """Choose the node that has the most room left among those where the pod fits."""
    if not nodes:
        return Placement(problem=NO_NODES)
    refusals = {node["metadata"]["name"]: refusal(pod, requests, node, occupied(_name(node))) for node in nodes}
    fitting = [node for node in nodes if refusals[node["metadata"]["name"]] is None]
    if fitting:
        return Placement(_name(min(fitting, key=lambda node: _load(node, requests, occupied(_name(node))))))
    return Placement(problem=_explain([entry for entry in refusals.values() if entry]))


def refusal(pod: Object, requests: Amounts, node: Object, occupied: Amounts) -> Refusal | None:
    """Why the pod does not fit on the node; None if it does. What is asked first hides what would be asked later."""
    spec = node.get("spec") or {}
    tolerations = pod["spec"].get("tolerations") or ()
    if spec.get("unschedulable") and not _tolerated(_UNSCHEDULABLE_TAINT, tolerations):
        return Refusal(("node(s) were unschedulable",), lasting=True)
    taints = (taint for taint in spec.get("taints") or () if taint.get("effect") in _BLOCKING)
    if not all(_tolerated(taint, tolerations) for taint in taints):
        return Refusal(("node(s) had untolerated taint(s)",), lasting=True)
    if not _is_selected(pod, node):
        return Refusal(("node(s) didn't match Pod's node affinity/selector",), lasting=True)
    return _lack_of_room(requests, amounts_of((node.get("status") or {}).get("allocatable")), occupied)


def _name(node: Object) -> str:
    return str(node["metadata"]["name"])


def _is_selected(pod: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    wanted: Mapping[str, str] = pod["spec"].get("nodeSelector") or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def _tolerated(taint: Object, tolerations: Iterable[Object]) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def _lack_of_room(requests: Amounts, room: Amounts, occupied: Amounts) -> Refusal | None:
    reasons, lasting = [], False
    if occupied.get(PODS, 0) + 1 > room.get(PODS, 0):
        reasons.append("Too many pods")
    for name, wanted in requests.items():
        if wanted > room.get(name, 0) - occupied.get(name, 0):
            reasons.append(f"Insufficient {name}")
            lasting = lasting or wanted > room.get(name, 0)
    return Refusal(tuple(reasons), lasting) if reasons else None


def _load(node: Object, requests: Amounts, occupied: Amounts) -> tuple[float, int, str]:
    """How full the node would be with the pod; equal ones by their number of pods, then by name."""
    room, number = amounts_of((node.get("status") or {}).get("allocatable")), occupied.get(PODS, 0)
    shares = [
        (occupied.get(name, 0) + (requests.get(name) or least)) / room[name]
        for name, least in _WEIGHED.items()
        if room.get(name)
    ]
    return sum(shares) / len(shares) if shares else 1.0, number, _name(node)


def _explain(refusals: Sequence[Refusal]) -> str:
    number = len(refusals)
    reasons = Counter(reason for entry in refusals for reason in entry.reasons)
    preemption = Counter(NOT_HELPFUL if entry.lasting else NO_VICTIMS for entry in refusals)
    return (
        f"0/{number} nodes are available: {_histogram(reasons)}. no new claims to deallocate, "
        f"preemption: 0/{number} nodes are available: {_histogram(preemption)}."
    )


def _histogram(reasons: Counter[str]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
