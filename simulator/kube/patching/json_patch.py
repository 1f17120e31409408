"""JSON patches (RFC 6902), with the liberties that the real server takes.

It replaces fields that are not there, takes a value that was left out for null and a field that is not there for one
that is null, counts negative positions from the end of a list, and compares numbers as they are written.
"""

import copy
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

import jsonpatch
from jsonpointer import JsonPointer, JsonPointerException

from simulator.kube.schema.go_json import number_text

_MISSING: Final = object()


class PatchError(ValueError):
    """The patch does not fit the object."""


class _StandardPatch(jsonpatch.JsonPatch):
    """The operations that are left to the library, without those that it adds to the standard."""

    operations = MappingProxyType(
        {
            "add": jsonpatch.AddOperation,
            "remove": jsonpatch.RemoveOperation,
            "replace": jsonpatch.ReplaceOperation,
            "move": jsonpatch.MoveOperation,
            "copy": jsonpatch.CopyOperation,
        }
    )


def json_patch(target: Any, operations: Sequence[Any]) -> Any:
    """Apply a JSON patch; neither argument is changed.

    Raises:
        PatchError: An operation is malformed or does not fit, or a test fails.
    """
    result = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict):
            raise PatchError("an operation must be an object")
        try:
            result = _applied(result, operation)
        except (jsonpatch.JsonPatchException, JsonPointerException, TypeError) as error:
            raise PatchError(str(error)) from error
    return result


def _applied(target: Any, operation: dict[str, Any]) -> Any:
    """The document after one operation, which may change it in place."""
    kind = operation.get("op")
    path = _resolvable(target, operation.get("path"), adds=kind == "add")
    value = operation.get("value")
    if kind == "test":
        held = _held(target, path)
        if not _same(None if held is _MISSING else held, value):
            raise PatchError(f"testing value {path} failed")
        return target
    if not path and kind != "replace":
        raise PatchError(f"{kind} operation does not apply to the whole document")
    if kind == "replace" and _held(target, path) is _MISSING:
        kind = "add"
    source = _resolvable(target, operation.get("from")) if kind in ("move", "copy") else ""
    if kind == "copy" and _held(target, source) is _MISSING:
        kind, value = "add", None
    sent = {"op": kind, "path": path, "from": source, "value": value}
    return _StandardPatch([sent]).apply(target, in_place=True)


def _resolvable(target: Any, path: Any, *, adds: bool = False) -> str:
    """The path with positions in lists as the standard has them; `adds` that the last one is where an item will be."""
    if not isinstance(path, str) or (path and "/" not in path):
        raise PatchError("an operation needs a path")
    if not path:
        return ""
    pointer = JsonPointer(path[path.index("/") :])
    steps = list(pointer.parts)
    for index, step in enumerate(steps):
        if isinstance(target, list):
            steps[index] = _position(step, len(target) + (adds and index == len(steps) - 1))
        target = _child(target, steps[index])
    return str(JsonPointer.from_parts(steps).path)


def _position(step: str, length: int) -> str:
    try:
        position = int(step)
    except ValueError:
        return step
    return str(position + length if position < 0 else position)


def _held(target: Any, path: str) -> Any:
    """What is at the path; `_MISSING` for a field that its object does not have."""
    if not path:
        return target
    parent, step = JsonPointer(path).to_last(target)
    if isinstance(parent, dict):
        return parent.get(step, _MISSING)
    if not isinstance(parent, list) or not isinstance(step, int) or step >= len(parent):
        raise PatchError(f"nothing can be at {path}")
    return parent[step]


def _child(target: Any, step: str) -> Any:
    if isinstance(target, dict):
        return target.get(step)
    if isinstance(target, list) and step.isdecimal() and int(step) < len(target):
        return target[int(step)]
    return None


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are written alike; the order of fields does not matter."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return number_text(one) == number_text(other)
    return type(one) is type(other) and bool(one == other)
