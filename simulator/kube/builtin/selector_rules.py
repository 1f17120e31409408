"""Label selectors within objects: the rules for them, what they select, and how they are written as a text."""

from collections.abc import Mapping
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import each, invalid
from simulator.kube.builtin.metadata_rules import label_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_IN: Final = ("In", "NotIn")
_EXISTS: Final = ("Exists", "DoesNotExist")


def selector_causes(selector: Object | None, field: str) -> list[Cause]:
    """What is wrong with a label selector."""
    if selector is None:
        return []
    causes = label_causes(selector.get("matchLabels"), f"{field}.matchLabels")
    for index, requirement in enumerate(selector.get("matchExpressions") or ()):
        causes += _requirement_causes(requirement, f"{field}.matchExpressions[{index}]")
    return causes


def is_readable(selector: Object | None) -> bool:
    """Whether the selector can be applied; one that breaks a rule for its operators or values cannot."""
    return not selector_causes(selector, "")


def is_empty(selector: Object) -> bool:
    """Whether the selector selects everything."""
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def selects(selector: Object | None, labels: Mapping[str, str] | None) -> bool:
    """Whether the selector selects an object with these labels; no selector selects nothing."""
    if selector is None:
        return False
    present = labels or {}
    wanted = (selector.get("matchLabels") or {}).items()
    return all(present.get(key) == value for key, value in wanted) and all(
        _is_met(requirement, present) for requirement in selector.get("matchExpressions") or ()
    )


def selector_text(selector: Object | None) -> str:
    """The selector as it is written in a query, such as `app=web,tier in (a,b)`."""
    if selector is None:
        return ""
    requirements = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    expressions = selector.get("matchExpressions") or ()
    requirements += [(requirement["key"], _requirement_text(requirement)) for requirement in expressions]
    return ",".join(text for _, text in sorted(requirements, key=lambda entry: entry[0]))


def shown_selector(selector: Object | None) -> Object | None:
    """The selector with its fields in the order in which a message shows them."""
    if selector is None:
        return None
    fields = ("matchLabels", "matchExpressions")
    return {name: selector[name] for name in fields if name in selector}


def _requirement_causes(requirement: Object, field: str) -> list[Cause]:
    operator, values = requirement.get("operator", ""), requirement.get("values") or []
    causes = []
    if operator in _IN:
        if not values:
            causes.append(required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in _EXISTS:
        if values:
            problem = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden_value(f"{field}.values", problem))
    else:
        causes.append(invalid(f"{field}.operator", operator, "not a valid selector operator"))
    causes += each(f"{field}.key", requirement.get("key", ""), formats.qualified_name(requirement.get("key", "")))
    for index, value in enumerate(values):
        causes += each(f"{field}.values[{index}]", value, formats.label_value(value))
    return causes


def _is_met(requirement: Object, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement["key"])
    match requirement["operator"]:
        case "In":
            return value in requirement["values"]
        case "NotIn":
            return value not in requirement["values"]
        case "Exists":
            return value is not None
        case _:
            return value is None


def _requirement_text(requirement: Object) -> str:
    key, operator = requirement["key"], requirement["operator"]
    if operator in _EXISTS:
        return key if operator == "Exists" else f"!{key}"
    values = ",".join(sorted(requirement["values"]))
    return f"{key} {'in' if operator == 'In' else 'notin'} ({values})"
