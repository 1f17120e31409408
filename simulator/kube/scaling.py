"""The scale subresource of a CustomResourceDefinition's kind: replicas at places that the definition names."""

from typing import Any

from simulator.kube.go_text import go_quoted, go_shown
from simulator.kube.kinds import Object
from simulator.kube.registry import ScalePaths
from simulator.kube.schema.value_texts import json_type
from simulator.kube.status import ApiFailure, Cause, invalid_value

_MOST = 2**31 - 1
_GO_TYPES = {
    "string": "string",
    "boolean": "bool",
    "number": "float64",
    "array": "[]interface {}",
    "object": "map[string]interface {}",
}


def scale_of(paths: ScalePaths, obj: Object) -> Object:
    """The object's `Scale`.

    Raises:
        ApiFailure: 500; the object does not say how many replicas it wants.
    """
    metadata = obj["metadata"]
    wanted = _at(obj, paths.spec_replicas)
    if wanted is None:
        problem = f"the spec replicas field {go_quoted(paths.spec_replicas)} does not exist"
        details = {"causes": [{"message": problem}]}
        raise ApiFailure(500, f"Internal error occurred: {problem}", "InternalError", details)
    selector = _at(obj, paths.label_selector) if paths.label_selector else None
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": wanted} if wanted else {},
        "status": {
            "replicas": _at(obj, paths.status_replicas) or 0,
            **({"selector": selector} if selector else {}),
        },
    }


def with_scale(paths: ScalePaths, obj: Object, scale: Object) -> Object:
    """The object with the replicas that a `Scale` wants; the argument is not changed."""
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    return _replaced(obj, _names(paths.spec_replicas), replicas)


def scale_causes(paths: ScalePaths, obj: Object, *, status_only: bool = False) -> list[Cause]:
    """What is wrong with the replicas that an object has; with `status_only`, those of its status."""
    checked = [paths.status_replicas] if status_only else [paths.spec_replicas, paths.status_replicas]
    causes = [cause for path in checked if (cause := _replicas_cause(path, _at(obj, path))) is not None]
    if paths.label_selector:
        selector = _at(obj, paths.label_selector)
        if selector is not None and not isinstance(selector, str):
            causes.append(invalid_value(paths.label_selector, '""', _accessor_problem(paths.label_selector, selector)))
    return causes


def _replicas_cause(path: str, value: Any) -> Cause | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return invalid_value(path, "0", _accessor_problem(path, value, "int64"))
    if value < 0:
        return invalid_value(path, str(value), "should be a non-negative integer")
    if value > _MOST:
        return invalid_value(path, str(value), f"should be less than or equal to {_MOST}")
    return None


def _accessor_problem(path: str, value: Any, wanted: str = "string") -> str:
    found = "int64" if json_type(value) == "integer" else _GO_TYPES[json_type(value)]
    printed = (
        value
        if isinstance(value, str)
        else {"object": "map[]", "array": "[]"}.get(json_type(value), go_shown(value, in_order=True))
    )
    return f"{path} accessor error: {printed} is of the type {found}, expected {wanted}"


def _names(path: str) -> list[str]:
    return path.removeprefix(".").split(".")


def _at(obj: Object, path: str) -> Any:
    value: Any = obj
    for name in _names(path):
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _replaced(value: Any, names: list[str], replacement: Any) -> Object:
    first, *rest = names
    held = value if isinstance(value, dict) else {}
    return {**held, first: _replaced(held.get(first), rest, replacement) if rest else replacement}
