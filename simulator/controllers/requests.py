"""What a pod requests of its node, and what pods occupy: whole numbers, of CPU in thousandths."""

from collections.abc import Iterable, Mapping
from math import ceil
from typing import Final

from simulator.kube.builtin.quantities import QuantityError, parse_quantity
from simulator.kube.informer import Key
from simulator.kube.kinds import Object

Amounts = Mapping[str, int]

PODS: Final = "pods"
_CPU: Final = "cpu"


def amounts_of(quantities: Mapping[str, str] | None) -> dict[str, int]:
    """Quantities as numbers, rounded up; what is no quantity counts as nothing."""
    return {name: _amount(name, text) for name, text in (quantities or {}).items()}


def pod_requests(pod: Object) -> dict[str, int]:
    """What the pod requests in all.

    Restartable init containers count beside the main ones; any other init container only as far as it needs, with the
    restartable ones before it, more than the main ones. A limit stands for a request that is missing.
    """
    spec = pod["spec"]
    whole: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.get("containers") or ():
        whole = _sum(whole, _container_requests(container))
    for container in spec.get("initContainers") or ():
        wanted = _container_requests(container)
        if container.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, wanted)
            peak = _most(peak, sidecars)
        else:
            peak = _most(peak, _sum(sidecars, wanted))
    total = _most(_sum(whole, sidecars), peak)
    total |= amounts_of((spec.get("resources") or {}).get("requests"))
    return _sum(total, amounts_of(spec.get("overhead")))


class Occupancy:
    """What the pods on each node request in sum."""

    def __init__(self) -> None:
        self._pods: dict[Key, tuple[str, Amounts]] = {}
        self._sums: dict[str, dict[str, int]] = {}

    def put(self, pod: Key, node: str, requests: Amounts) -> None:
        """The pod is on the node, or about to be; it is on no other."""
        self.drop(pod)
        self._pods[pod] = node, requests
        self._add(node, requests, 1)

    def drop(self, pod: Key) -> bool:
        """The pod occupies nothing any more; return whether it did."""
        node, requests = self._pods.pop(pod, ("", {}))
        if node:
            self._add(node, requests, -1)
        return bool(node)

    def on(self, node: str) -> Amounts:
        """What is occupied of the node; `pods` is the number of pods."""
        return self._sums.get(node, {})

    def _add(self, node: str, requests: Amounts, sign: int) -> None:
        sums = self._sums.setdefault(node, {})
        for name, amount in {**requests, PODS: 1}.items():
            sums[name] = sums.get(name, 0) + sign * amount


def _container_requests(container: Object) -> dict[str, int]:
    resources = container.get("resources") or {}
    return amounts_of(resources.get("limits")) | amounts_of(resources.get("requests"))


def _amount(name: str, text: str) -> int:
    try:
        amount = parse_quantity(str(text)).amount
    except QuantityError:
        return 0
    return ceil(amount * 1000) if name == _CPU else ceil(amount)


def _sum(one: Amounts, other: Amounts) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in _names(one, other)}


def _most(one: Amounts, other: Amounts) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in _names(one, other)}


def _names(*amounts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for each in amounts for name in each))
