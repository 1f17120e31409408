"""The rules for the small kinds around workloads: leases, disruption budgets, namespaces and nodes."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import choice, duplicate, each, invalid, unsupported
from simulator.kube.builtin.resource_rules import quantity_causes
from simulator.kube.builtin.selector_rules import selector_causes, shown_selector
from simulator.kube.builtin.workload_rules import int_or_percent_causes, percent_limit_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_BUDGET_FIELDS: Final = ("minAvailable", "maxUnavailable")


def lease_causes(new: Object, _old: Object | None) -> list[Cause]:
    """What is wrong with a Lease, but for its metadata."""
    spec = new["spec"]
    causes = []
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        causes.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    if transitions is not None and transitions < 0:
        causes.append(invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0"))
    return causes


def budget_causes(new: Object, _old: Object | None) -> list[Cause]:
    """What is wrong with a PodDisruptionBudget."""
    spec = new["spec"]
    causes = []
    if all(name in spec for name in _BUDGET_FIELDS):
        problem = "minAvailable and maxUnavailable cannot be both set"
        causes.append(invalid("spec", _shown_budget(spec), problem))
    for name in _BUDGET_FIELDS:
        if name in spec:
            causes += int_or_percent_causes(spec[name], f"spec.{name}")
            causes += percent_limit_causes(spec[name], f"spec.{name}")
    causes += selector_causes(spec.get("selector"), "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    return [*causes, *choice("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))]


def namespace_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a Namespace, but for its metadata."""
    if old is not None:
        return []
    causes = []
    for finalizer in new["spec"].get("finalizers") or ():
        causes += each("spec.finalizers", finalizer, formats.qualified_name(finalizer))
        if "/" not in finalizer and finalizer not in ("kubernetes", "orphan", "foregroundDeletion"):
            problem = "name is neither a standard finalizer name nor is it fully qualified"
            causes.append(invalid("spec.finalizers", finalizer, problem))
    return causes


def node_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a Node, but for its metadata."""
    causes: list[Cause] = []
    seen = set()
    for index, taint in enumerate(new["spec"].get("taints") or ()):
        item, key, effect = f"metadata.taints[{index}]", taint["key"], taint["effect"]
        causes += each(f"{item}.key", key, formats.qualified_name(key))
        value = taint.get("value") or ""
        if problems := formats.label_value(value):
            causes.append(invalid(f"{item}.value", value, ";".join(problems)))
        if effect not in _EFFECTS:
            field = f"{item}.effect"
            causes.append(unsupported(field, effect, _EFFECTS) if effect else required(field, ""))
        if (key, effect) in seen:
            held = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            causes.append(duplicate(item, held, "taints must be unique by key and effect pair"))
        seen.add((key, effect))
    status = new.get("status") or {}
    for part in ("capacity", "allocatable"):
        for name, amount in (status.get(part) or {}).items():
            causes += quantity_causes(name, amount, f"status.{part}.{name}")
    provider, before = new["spec"].get("providerID"), (old or {"spec": {}})["spec"].get("providerID")
    if before and provider != before:
        problem = 'node updates may not change providerID except from "" to valid'
        causes.append(forbidden_value("spec.providerID", problem))
    return causes


def _shown_budget(spec: Object) -> Object:
    """A budget as the real server holds it, of which a message shows everything."""
    return {
        "MinAvailable": spec["minAvailable"],
        "Selector": shown_selector(spec.get("selector")),
        "MaxUnavailable": spec["maxUnavailable"],
        "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
    }
