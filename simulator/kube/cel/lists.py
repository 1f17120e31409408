"""Kubernetes' functions of lists, and what the library lacks of those of maps."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

from simulator.kube.cel.function import INT64, CelError, Function, function

_SUMMABLE = ("int", "uint", "double", "duration")
_COMPARABLE = (*_SUMMABLE, "bool", "timestamp", "string", "bytes")


def _is_sorted(items: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(items))


def _sum(items: list[Any]) -> Any:
    start: Any = timedelta() if items and isinstance(items[0], timedelta) else 0
    total = sum(items, start)
    if isinstance(total, int) and total not in INT64:
        raise CelError("integer overflow")
    return total


def _extreme(name: str, choose: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    def chosen(items: list[Any]) -> Any:
        if not items:
            raise CelError(f"{name} called on empty list")
        return choose(items)

    return chosen


def _index_of(items: list[Any], wanted: Any) -> int:
    return items.index(wanted) if wanted in items else -1


def _last_index_of(items: list[Any], wanted: Any) -> int:
    return len(items) - 1 - items[::-1].index(wanted) if wanted in items else -1


FUNCTIONS = (
    *(Function("isSorted", (f"list<{name}>",), "bool", _is_sorted) for name in _COMPARABLE),
    *(Function("sum", (f"list<{name}>",), name, _sum) for name in _SUMMABLE),
    *(Function("min", (f"list<{name}>",), name, _extreme("min", min)) for name in _COMPARABLE),
    *(Function("max", (f"list<{name}>",), name, _extreme("max", max)) for name in _COMPARABLE),
    Function("indexOf", ("list<dyn>", "dyn"), "int", _index_of),
    Function("lastIndexOf", ("list<dyn>", "dyn"), "int", _last_index_of),
)
AT_EVALUATION = (
    function("cel.@mapInsert", ("map", "map"), "map", lambda one, other: {**one, **other}),
    function("cel.@mapInsert", ("map", "dyn", "dyn"), "map", lambda one, name, value: {**one, name: value}),
)
"""What the macros `transformMap` and `transformMapEntry` of the library call and it does not have."""
