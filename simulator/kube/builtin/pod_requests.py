"""What can be asked of a pod besides being read and written: to be bound to a node, and to be evicted."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from simulator.kube.builtin.causes import unsupported
from simulator.kube.builtin.selector_rules import selects
from simulator.kube.kinds import POD, Object
from simulator.kube.status import ApiFailure, bad_request, conflict, required

EVICTED: Final = "EvictionByEvictionAPI"
_SEVERAL: Final = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
_REFUSED: Final = "Cannot evict pod as it would violate the pod's disruption budget."


def check_binding(binding: Object, name: str) -> None:
    """Check that a Binding names a node, and is about the pod `name`.

    Raises:
        ApiFailure: 400, or 500 as the real server has it.
    """
    if (binding.get("metadata") or {}).get("name") != name:
        raise bad_request("name in URL does not match name in Binding object")
    target = binding.get("target") or {}
    causes = []
    if target.get("kind") not in (None, "", "Node"):
        causes.append(unsupported("target.kind", target["kind"], ("Node", "<empty>")))
    if not target.get("name"):
        causes.append(required("target.name", ""))
    problems = [f"{cause.field}: {cause.message}" for cause in causes]
    if problems:
        raise ApiFailure(500, problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def bound_pod(pod: Object, binding: Object, now: str) -> Object:
    """The pod on the node that the Binding names, at the time `now`.

    Raises:
        ApiFailure: 409; the pod is being deleted, has a node already, or is not to be scheduled yet.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    name = metadata["name"]
    problem = ""
    if "deletionTimestamp" in metadata:
        problem = f"pod {name} is being deleted, cannot be assigned to a host"
    elif spec.get("nodeName"):
        problem = f'pod {name} is already assigned to node "{spec["nodeName"]}"'
    elif spec.get("schedulingGates"):
        problem = f"pod {name} has non-empty .spec.schedulingGates"
    if problem:
        raise conflict(replace(POD, plural=f"{POD.plural}/binding"), name, problem)
    bound = {**pod, "spec": {**spec, "nodeName": binding["target"]["name"]}, "metadata": dict(metadata)}
    for part in ("annotations", "labels"):
        if given := (binding.get("metadata") or {}).get(part):
            bound["metadata"][part] = {**(metadata.get(part) or {}), **given}
    return _with_condition(bound, {"type": "PodScheduled", "status": "True"}, now)


def evicted_pod(pod: Object, now: str) -> Object:
    """The pod with the condition that tells why it is about to be deleted."""
    told = {"reason": EVICTED, "message": "Eviction API: evicting"}
    return _with_condition(pod, {"type": "DisruptionTarget", "status": "True", **told}, now)


def check_eviction(eviction: Object, name: str) -> None:
    """Check that an Eviction is about the pod `name`.

    Raises:
        ApiFailure: 400.
    """
    if (eviction.get("metadata") or {}).get("name") != name:
        raise bad_request("name in URL does not match name in Eviction object")


def budget_to_charge(pod: Object, budgets: Iterable[Object]) -> Object | None:
    """The PodDisruptionBudget that an eviction of the pod has to be taken from; None if it is free to go.

    `budgets` are those of the pod's namespace.

    Raises:
        ApiFailure: 429 the budget does not allow it now; 500 the pod has several budgets.
    """
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod["metadata"]:
        return None
    labels = pod["metadata"].get("labels")
    own = [budget for budget in budgets if selects(budget["spec"].get("selector"), labels)]
    if len(own) > 1:
        raise ApiFailure(500, _SEVERAL)
    if not own or (not _is_ready(status) and _lets_unready_go(own[0])):
        return None
    _check_allowance(own[0])
    return own[0]


def charged_budget(budget: Object, pod_name: str, now: str) -> Object:
    """The budget with one disruption less, and the pod that it was for."""
    status = budget["status"]
    disrupted = {**(status.get("disruptedPods") or {}), pod_name: now}
    return {
        **budget,
        "status": {**status, "disruptionsAllowed": status["disruptionsAllowed"] - 1, "disruptedPods": disrupted},
    }


def _check_allowance(budget: Object) -> None:
    status, name = budget.get("status") or {}, budget["metadata"]["name"]
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", 10)
    if status.get("disruptionsAllowed", 0) == 0:
        needed, healthy = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _too_many(f"The disruption budget {name} needs {needed} healthy pods and has {healthy} currently", 0)


def _too_many(cause: str, retry_s: int) -> ApiFailure:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    retry = {"retryAfterSeconds": retry_s} if retry_s else {}
    return ApiFailure(429, _REFUSED, "TooManyRequests", {**details, **retry})


def _is_ready(status: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions") or ()
    )


def _lets_unready_go(budget: Object) -> bool:
    status = budget.get("status") or {}
    needed = status.get("desiredHealthy", 0)
    always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
    return always or bool(needed > 0 and status.get("currentHealthy", 0) >= needed)


def _with_condition(pod: Object, condition: Object, now: str) -> Object:
    """The pod with the condition in place of one of the same type; its time is kept if it held already."""
    status = pod.get("status") or {}
    conditions: list[Object] = list(status.get("conditions") or ())
    known = next((index for index, other in enumerate(conditions) if other["type"] == condition["type"]), None)
    same = known is not None and conditions[known]["status"] == condition["status"]
    since = conditions[known]["lastTransitionTime"] if known is not None and same else now
    new = {**condition, "lastProbeTime": None, "lastTransitionTime": since}
    if known is None:
        conditions.append(new)
    else:
        conditions[known] = new
    return {**pod, "status": {**status, "conditions": conditions}}
