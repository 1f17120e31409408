"""The rules for what containers and pods request and may use at most."""

from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import NOT_NEGATIVE, duplicate, each, invalid, unknown, unsupported
from simulator.kube.builtin.quantities import Quantity, parse_quantity
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_OF_CONTAINERS: Final = ("cpu", "memory", "ephemeral-storage")
_COUNTED: Final = (
    *("pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps"),
    *("persistentvolumeclaims", "services.nodeports", "services.loadbalancers"),
)
_STANDARD: Final = frozenset(
    {
        *_OF_CONTAINERS,
        *_COUNTED,
        *(f"requests.{name}" for name in (*_OF_CONTAINERS, "storage")),
        *(f"limits.{name}" for name in _OF_CONTAINERS),
        "storage",
    }
)
_NATIVE: Final = "kubernetes.io/"
_NOT_WHOLE: Final = "must be an integer"
_RESIZE_POLICIES: Final = ("NotRequired", "RestartContainer")


def resource_causes(resources: Object, claims: frozenset[str], field: str) -> list[Cause]:
    """What is wrong with the limits and requests of a container; `claims` are the names of the pod's claims."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    causes = []
    for name, amount in limits.items():
        causes += _amount_causes(name, amount, f"{field}.limits[{name}]")
    for name, amount in requests.items():
        causes += _amount_causes(name, amount, f"{field}.requests[{name}]")
        causes += _request_causes(name, parse_quantity(amount), limits, field)
    named = limits.keys() | requests.keys()
    if not named & {"cpu", "memory"} and any(map(_is_huge_pages, named)):
        causes.append(forbidden_value(field, "HugePages require cpu or memory"))
    return [*causes, *_claim_causes(resources.get("claims") or [], claims, f"{field}.claims")]


def pod_resource_causes(resources: Object, field: str) -> list[Cause]:
    """What is wrong with the limits and requests of a pod as a whole."""
    causes = []
    if "claims" in resources:
        causes.append(forbidden_value(f"{field}.claims", "claims may not be set for Resources at pod-level"))
    limits = resources.get("limits") or {}
    for part in ("limits", "requests"):
        for name, amount in (resources.get(part) or {}).items():
            item = f"{field}.{part}[{name}]"
            wrong_name = _name_causes(name, item)
            if not wrong_name and name not in ("cpu", "memory") and not _is_huge_pages(name):
                wrong_name = [unsupported(item, name, ("cpu", "hugepages-", "memory"))]
            causes += [*wrong_name, *quantity_causes(name, amount, item)]
            if part == "requests" and name in limits:
                causes += _request_causes(name, parse_quantity(amount), limits, field)
    return causes


def quantity_causes(name: str, amount: str, field: str) -> list[Cause]:
    """What is wrong with an amount of the resource `name`."""
    quantity = parse_quantity(amount)
    causes = [invalid(field, amount, NOT_NEGATIVE)] if quantity.amount < 0 else []
    if (name in _COUNTED or _is_extended(name)) and not quantity.is_whole:
        causes.append(invalid(field, amount, _NOT_WHOLE))
    return causes


def resize_causes(policies: list[Object], pod_policy: str, field: str) -> list[Cause]:
    """What is wrong with how a container may be resized in a pod of that restart policy."""
    causes = []
    seen = set()
    for index, policy in enumerate(policies):
        name, restart = policy["resourceName"], policy["restartPolicy"]
        if name in seen:
            causes.append(duplicate(f"{field}[{index}]", name))
        seen.add(name)
        for value, supported in ((name, ("cpu", "memory")), (restart, _RESIZE_POLICIES)):
            if value not in supported:
                causes.append(unsupported(field, value, supported) if value else required(field, ""))
        if pod_policy == "Never" and restart != "NotRequired":
            problem = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            causes.append(invalid(field, restart, problem))
    return causes


def _amount_causes(name: str, amount: str, field: str) -> list[Cause]:
    causes = _name_causes(name, field)
    if "/" not in name:
        if name not in _OF_CONTAINERS and not _is_huge_pages(name):
            causes.append(invalid(field, name, "must be a standard resource for containers"))
    elif _NATIVE not in name and not _is_extended(name):
        causes.append(invalid(field, name, "doesn't follow extended resource name standard"))
    return [*causes, *quantity_causes(name, amount, field)]


def _name_causes(name: str, field: str) -> list[Cause]:
    causes = each(field, name, formats.qualified_name(name))
    if not causes and "/" not in name and name not in _STANDARD and not _is_huge_pages(name.removeprefix("requests.")):
        return [invalid(field, name, "must be a standard resource type or fully qualified")]
    return causes


def _request_causes(name: str, amount: Quantity, limits: dict[str, str], field: str) -> list[Cause]:
    overcommitted = _is_native(name) and not _is_huge_pages(name)
    if name not in limits:
        if overcommitted:
            return []
        return [required(f"{field}.limits", "Limit must be set for non overcommitable resources")]
    limit = parse_quantity(limits[name])
    if amount.amount != limit.amount and not overcommitted:
        return [invalid(f"{field}.requests", str(amount), f"must be equal to {name} limit of {limit}")]
    if amount.amount > limit.amount:
        return [invalid(f"{field}.requests", str(amount), f"must be less than or equal to {name} limit of {limit}")]
    return []


def _claim_causes(claims: list[Object], known: frozenset[str], field: str) -> list[Cause]:
    causes = []
    seen = set()
    for index, claim in enumerate(claims):
        item, name = f"{field}[{index}]", claim["name"]
        if not name:
            causes.append(required(item, ""))
            continue
        key = f"{name}/{claim['request']}" if claim.get("request") else name
        if key in seen or name in seen:
            causes.append(duplicate(item, key))
        seen.add(key)
        if name not in known:
            listed = f": {', '.join(sorted(known))}" if known else " which is empty"
            causes.append(unknown(item, name, f"must be one of the names in pod.spec.resourceClaims{listed}"))
    return causes


def _is_huge_pages(name: str) -> bool:
    return name.startswith("hugepages-")


def _is_native(name: str) -> bool:
    return "/" not in name or _NATIVE in name


def _is_extended(name: str) -> bool:
    """Whether it is a resource of somebody's own, such as `nvidia.com/gpu`."""
    if _is_native(name) or name.startswith("requests."):
        return False
    return not formats.qualified_name(f"requests.{name}")
