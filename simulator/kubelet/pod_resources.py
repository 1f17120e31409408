"""What a pod as a whole asks for and may use: the sum of its containers."""

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

from simulator.kube.builtin.quantities import Quantity, parse_quantity
from simulator.kube.kinds import Object


def memory_limit(container: Object) -> int | None:
    """The memory that a container may use, in bytes; None: as much as it wants."""
    limit = _amounts(container, "limits").get("memory")
    return None if limit is None else int(limit.amount)


def pod_resources(spec: Object) -> Object:
    """Return the fields `resources` and, if anything is requested, `allocatedResources` of a pod's status."""
    totals = {side: total for side in ("limits", "requests") if (total := _total(spec, side))}
    allocated = {"allocatedResources": totals["requests"]} if "requests" in totals else {}
    return {**allocated, "resources": totals}


def _total(spec: Object, side: Literal["limits", "requests"]) -> dict[str, str]:
    """Main containers and sidecars run together; of the other init containers the largest counts, if it is more."""
    inits = spec.get("initContainers") or ()
    sidecars = [entry for entry in inits if entry.get("restartPolicy") == "Always"]
    total = _added(_amounts(entry, side) for entry in [*spec["containers"], *sidecars])
    for entry in inits:
        if entry not in sidecars:
            for name, quantity in _amounts(entry, side).items():
                if name not in total or quantity.amount > total[name].amount:
                    total[name] = quantity
    return {name: str(quantity) for name, quantity in total.items()}


def _added(parts: Iterable[dict[str, Quantity]]) -> dict[str, Quantity]:
    total: dict[str, Quantity] = {}
    for part in parts:
        for name, quantity in part.items():
            before = total[name].amount if name in total else Fraction()
            total[name] = quantity.of(before + quantity.amount)
    return total


def _amounts(container: Object, side: str) -> dict[str, Quantity]:
    asked = (container.get("resources") or {}).get(side) or {}
    return {name: parse_quantity(str(amount)) for name, amount in asked.items()}
