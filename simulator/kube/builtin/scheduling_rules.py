"""The rules for where a pod may run: affinity, tolerations, and how pods are spread."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import choice, duplicate, each, invalid, unsupported
from simulator.kube.builtin.selector_rules import selector_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_MAX_WEIGHT: Final = 100
_NOT_POSITIVE: Final = "must be greater than zero"


def toleration_causes(tolerations: list[Object], field: str) -> list[Cause]:
    """What is wrong with the taints that a pod tolerates."""
    causes: list[Cause] = []
    for index, toleration in enumerate(tolerations):
        item, effect = f"{field}[{index}]", toleration.get("effect") or ""
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        if key:
            causes += each(f"{item}.key", key, formats.qualified_name(key))
        elif operator != "Exists":
            problem = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.append(invalid(f"{item}.operator", operator, problem))
        if "tolerationSeconds" in toleration and effect != "NoExecute":
            problem = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            causes.append(invalid(f"{item}.effect", effect, problem))
        causes += _operator_causes(operator, toleration.get("value") or "", f"{item}.operator")
        causes += choice(f"{item}.effect", effect or None, _EFFECTS)
    return causes


def affinity_causes(affinity: Object, field: str) -> list[Cause]:
    """What is wrong with what a pod wants to be near to, or far from."""
    causes = []
    if "nodeAffinity" in affinity:
        causes += _node_affinity_causes(affinity["nodeAffinity"], f"{field}.nodeAffinity")
    for name in ("podAffinity", "podAntiAffinity"):
        wanted = affinity.get(name) or {}
        for index, term in enumerate(wanted.get(_REQUIRED) or ()):
            causes += _pod_term_causes(term, f"{field}.{name}.{_REQUIRED}[{index}]")
        for index, weighted in enumerate(wanted.get(_PREFERRED) or ()):
            item = f"{field}.{name}.{_PREFERRED}[{index}]"
            causes += _weight_causes(weighted, item)
            causes += _pod_term_causes(weighted["podAffinityTerm"], f"{item}.podAffinityTerm")
    return causes


def spread_causes(constraints: list[Object], field: str) -> list[Cause]:
    """What is wrong with how a pod is to be spread over the cluster."""
    causes: list[Cause] = []
    pairs = [(constraint["topologyKey"], constraint["whenUnsatisfiable"]) for constraint in constraints]
    for index, constraint in enumerate(constraints):
        item, key, action = f"{field}[{index}]", constraint["topologyKey"], constraint["whenUnsatisfiable"]
        if constraint["maxSkew"] <= 0:
            causes.append(invalid(f"{item}.maxSkew", constraint["maxSkew"], _NOT_POSITIVE))
        if not key:
            causes.append(required(f"{item}.topologyKey", "can not be empty"))
        causes += choice(f"{item}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        if pairs[index] in pairs[index + 1 :]:
            causes.append(duplicate(f"{item}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        causes += _domain_causes(constraint.get("minDomains"), action, f"{item}.minDomains")
        for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            causes += choice(f"{item}.{policy}", constraint.get(policy), ("Honor", "Ignore"))
        causes += selector_causes(constraint.get("labelSelector"), f"{item}.labelSelector")
    return causes


def _operator_causes(operator: str, value: str, field: str) -> list[Cause]:
    if operator == "Exists":
        return [invalid(field, value, "value must be empty when `operator` is 'Exists'")] if value else []
    if operator in ("", "Equal"):
        problems = formats.label_value(value)
        return [invalid(field, value, ";".join(problems))] if problems else []
    # the comparing operators are named, but not switched on in this release
    known = ("Equal", "Exists", "Lt", "Gt") if operator in ("Lt", "Gt") else ("Equal", "Exists")
    return [unsupported(field, operator, known)]


def _node_affinity_causes(affinity: Object, field: str) -> list[Cause]:
    causes = []
    if _REQUIRED in affinity:
        terms, inside = affinity[_REQUIRED]["nodeSelectorTerms"] or [], f"{field}.{_REQUIRED}.nodeSelectorTerms"
        if not terms:
            causes.append(required(inside, "must have at least one node selector term"))
        for index, term in enumerate(terms):
            causes += _node_term_causes(term, f"{inside}[{index}]", check_values=True)
    for index, weighted in enumerate(affinity.get(_PREFERRED) or ()):
        item = f"{field}.{_PREFERRED}[{index}]"
        causes += _weight_causes(weighted, item)
        causes += _node_term_causes(weighted["preference"], f"{item}.preference", check_values=False)
    return causes


def _node_term_causes(term: Object, field: str, *, check_values: bool) -> list[Cause]:
    causes = []
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        item = f"{field}.matchExpressions[{index}]"
        causes += _expression_causes(requirement, item)
        if check_values:
            for number, value in enumerate(requirement.get("values") or ()):
                causes += each(f"{item}.values[{number}]", value, formats.label_value(value))
    for index, requirement in enumerate(term.get("matchFields") or ()):
        causes += _field_causes(requirement, f"{field}.matchFields[{index}]")
    return causes


def _expression_causes(requirement: Object, field: str) -> list[Cause]:
    operator, values = requirement["operator"], requirement.get("values") or []
    causes = []
    if operator in ("In", "NotIn"):
        if not values:
            causes.append(required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            problem = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden_value(f"{field}.values", problem))
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            problem = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            causes.append(required(f"{field}.values", problem))
    else:
        causes.append(invalid(f"{field}.operator", operator, "not a valid selector operator"))
    return [*causes, *each(f"{field}.key", requirement["key"], formats.qualified_name(requirement["key"]))]


def _field_causes(requirement: Object, field: str) -> list[Cause]:
    operator, values, key = requirement["operator"], requirement.get("values") or [], requirement["key"]
    causes = []
    if operator not in ("In", "NotIn"):
        causes.append(invalid(f"{field}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        problem = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        causes.append(required(f"{field}.values", problem))
    if key != "metadata.name":
        return [*causes, invalid(f"{field}.key", key, "not a valid field selector key")]
    for index, value in enumerate(values):
        causes += each(f"{field}.values[{index}]", value, formats.subdomain(value))
    return causes


def _pod_term_causes(term: Object, field: str) -> list[Cause]:
    causes = selector_causes(term.get("labelSelector"), f"{field}.labelSelector")
    causes += selector_causes(term.get("namespaceSelector"), f"{field}.namespaceSelector")
    for name in term.get("namespaces") or ():
        causes += each(f"{field}.namespace", name, formats.label(name))
    key = term["topologyKey"]
    if not key:
        causes.append(required(f"{field}.topologyKey", "can not be empty"))
    return [*causes, *each(f"{field}.topologyKey", key, formats.qualified_name(key))]


def _weight_causes(weighted: Object, field: str) -> list[Cause]:
    if 0 < weighted["weight"] <= _MAX_WEIGHT:
        return []
    return [invalid(f"{field}.weight", weighted["weight"], "must be in the range 1-100")]


def _domain_causes(domains: int | None, action: str, field: str) -> list[Cause]:
    if domains is None:
        return []
    causes = [] if domains > 0 else [invalid(field, domains, _NOT_POSITIVE)]
    if action != "DoNotSchedule":
        problem = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        causes.append(invalid(field, domains, problem))
    return causes
