"""The rules for what controllers and kubelets write into the status of an object."""

from collections.abc import Callable
from typing import Any, Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import IMMUTABLE, each, invalid, negative
from simulator.kube.kinds import (
    DEPLOYMENT,
    NAMESPACE,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
)
from simulator.kube.status import Cause, forbidden_value

_CONDITIONS_OF_SYSTEM: Final = ("PodScheduled", "Ready", "Initialized")
_COUNTS: Final = {
    DEPLOYMENT: (
        *("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"),
        *("unavailableReplicas", "terminatingReplicas", "collisionCount"),
    ),
    REPLICA_SET: (
        *("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
        *("observedGeneration", "terminatingReplicas"),
    ),
    STATEFUL_SET: (
        *("replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
        *("observedGeneration", "collisionCount"),
    ),
}
_PARTS: Final = {
    DEPLOYMENT: ("updatedReplicas", "readyReplicas", "availableReplicas"),
    REPLICA_SET: ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
    STATEFUL_SET: ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"),
}
"""Counts that cannot be more than `replicas`."""
_BUDGET_COUNTS: Final = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def status_causes(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """What is wrong with the status of an object, of which nothing else is looked at."""
    if kind in _COUNTS:
        return _replica_causes(kind, new["status"], old.get("status") or {})
    rules = _RULES.get(kind)
    return [] if rules is None else rules(new, old)


def _replica_causes(kind: Kind, status: Object, before: Object) -> list[Cause]:
    causes = []
    for name in _COUNTS[kind]:
        causes += negative(f"status.{name}", status.get(name))
    for name in _PARTS[kind]:
        count = status.get(name, 0)
        if count > status.get("replicas", 0):
            causes.append(invalid(f"status.{name}", count, "cannot be greater than status.replicas"))
    available = status.get("availableReplicas", 0)
    if available > status.get("readyReplicas", 0):
        limit = "status.readyReplicas" if kind == STATEFUL_SET else "readyReplicas"
        causes.append(invalid("status.availableReplicas", available, f"cannot be greater than {limit}"))
    collisions = status.get("collisionCount", 0)
    if kind != REPLICA_SET and collisions < before.get("collisionCount", 0):
        causes.append(invalid("status.collisionCount", collisions, "cannot be decremented"))
    return causes


def _pod_status_causes(new: Object, old: Object) -> list[Cause]:
    status, before = new["status"], old.get("status") or {}
    causes = []
    for index, condition in enumerate(status.get("conditions") or ()):
        item = f"status.conditions[{index}]"
        generation = condition.get("observedGeneration", 0)
        if generation < 0:
            causes.append(invalid(f"{item}.observedGeneration", generation, "must be a non-negative integer"))
        if condition["type"] not in _CONDITIONS_OF_SYSTEM:
            causes += each(f"{item}.Type", condition["type"], formats.qualified_name(condition["type"]))
    if status.get("observedGeneration", 0) < 0:
        problem = "must be a non-negative integer"
        causes.append(invalid("status.observedGeneration", status["observedGeneration"], problem))
    if status.get("qosClass") != before.get("qosClass"):
        causes.append(invalid("status.qosClass", status.get("qosClass", ""), IMMUTABLE))
    for name, containers in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        causes += _revival_causes(name, status, before, old["spec"], old["spec"].get(containers) or [])
    return [*causes, *_address_causes(status)]


def _revival_causes(name: str, new: Object, old: Object, spec: Object, containers: list[Object]) -> list[Cause]:
    """Containers that ended, may not start again, and are said to run."""
    running = {status["name"] for status in new.get(name) or () if "terminated" not in (status.get("state") or {})}
    by_name = {container["name"]: container for container in containers}
    causes = []
    for index, status in enumerate(old.get(name) or ()):
        ended = (status.get("state") or {}).get("terminated")
        if ended is None or status["name"] not in running:
            continue
        if not _may_restart(by_name.get(status["name"]), spec["restartPolicy"], ended["exitCode"]):
            problem = "may not be transitioned to non-terminated state"
            causes.append(forbidden_value(f"status.{name}[{index}].state", problem))
    return causes


def _may_restart(container: Object | None, pod_policy: str, exit_code: int) -> bool:
    if container is None:
        return False
    for rule in container.get("restartPolicyRules") or ():
        codes = rule["exitCodes"]
        if (exit_code in (codes.get("values") or ())) == (codes["operator"] == "In"):
            return True
    policy = container.get("restartPolicy", pod_policy)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _address_causes(status: Object) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("podIPs", "hostIPs"):
        for index, entry in enumerate(status.get(name) or ()):
            address: Any = entry.get("ip") or ""
            causes += each(f"status.{name}[{index}]", address, formats.ip_address(address))
    hosts = status.get("hostIPs") or []
    if hosts and hosts[0].get("ip") != status.get("hostIP"):
        causes.append(invalid("status.hostIPs[0].ip", hosts[0].get("ip"), "must be equal to `hostIP`"))
    return causes


def _service_status_causes(new: Object, _old: Object) -> list[Cause]:
    if not (new["status"].get("loadBalancer") or {}).get("ingress") or new["spec"].get("type") == "LoadBalancer":
        return []
    return [forbidden_value("status.loadBalancer.ingress", "may only be used when `spec.type` is 'LoadBalancer'")]


def _namespace_status_causes(new: Object, _old: Object) -> list[Cause]:
    ending, phase = "deletionTimestamp" in new["metadata"], new["status"].get("phase")
    wanted, when = ("Terminating", "not empty") if ending else ("Active", "empty")
    if phase == wanted:
        return []
    return [invalid("status.Phase", phase, f"may only be '{wanted}' if `deletionTimestamp` is {when}")]


def _budget_status_causes(new: Object, _old: Object) -> list[Cause]:
    causes = []
    for name in _BUDGET_COUNTS:
        causes += negative(f"status.{name}", new["status"].get(name))
    return causes


_RULES: Final[dict[Kind, Callable[[Object, Object], list[Cause]]]] = {
    NAMESPACE: _namespace_status_causes,
    POD: _pod_status_causes,
    POD_DISRUPTION_BUDGET: _budget_status_causes,
    SERVICE: _service_status_causes,
}
