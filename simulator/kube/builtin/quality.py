"""How well a pod is served when its node runs short: its quality-of-service class."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Final

from simulator.kube.builtin.quantities import parse_quantity
from simulator.kube.kinds import Object

_COUNTED: Final = ("cpu", "memory")


def quality_class(spec: Object) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`, by what the pod or its containers request and may use at most."""
    parts = [spec["resources"]] if spec.get("resources") else _resources_of_containers(spec)
    limits = [_amounts(part.get("limits")) for part in parts]
    requests = [_amounts(part.get("requests")) for part in parts]
    if not any(limits) and not any(requests):
        return "BestEffort"
    everywhere = all(limit.keys() == set(_COUNTED) for limit in limits)
    return "Guaranteed" if everywhere and _totals(limits) == _totals(requests) else "Burstable"


def _resources_of_containers(spec: Object) -> list[Object]:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return [container.get("resources") or {} for container in containers]


def _amounts(amounts: dict[str, str] | None) -> dict[str, Fraction]:
    parsed = {name: parse_quantity(amount).amount for name, amount in (amounts or {}).items() if name in _COUNTED}
    return {name: amount for name, amount in parsed.items() if amount > 0}


def _totals(amounts: Iterable[dict[str, Fraction]]) -> dict[str, Fraction]:
    totals: dict[str, Fraction] = {}
    for entry in amounts:
        for name, amount in entry.items():
            totals[name] = totals.get(name, Fraction()) + amount
    return totals
