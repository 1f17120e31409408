"""Why the result of a strategic merge patch is no object of its kind: the words of a converter that reads no JSON."""

from typing import Any, Final

from simulator.kube.go_text import go_type
from simulator.kube.schema.go_json import kind_of
from simulator.kube.schema.model import Schema

_KINDS: Final = {"string": "string", "boolean": "bool", "number": "float64"}


def conversion_problem(schema: Schema, value: Any) -> str:
    """What is wrong with the first value of a wrong type, empty if none is or a type of its own must say it."""
    if schema.format == "int-or-string" and isinstance(value, dict | list | bool):
        return f"json: cannot unmarshal {kind_of(value)} into Go value of type int32"
    if value is None or schema.format in ("date-time", "quantity", "int-or-string", "byte") or not schema.type:
        return ""
    if schema.type == "object":
        return _object_problem(schema, value)
    if schema.type == "array":
        if not isinstance(value, list):
            return f"cannot restore slice from {_kind_of(value)}"
        found = (conversion_problem(schema.items, item) for item in value if schema.items)
        return next(filter(None, found), "")
    return _scalar_problem(schema, value)


def _object_problem(schema: Schema, value: Any) -> str:
    if not isinstance(value, dict):
        what = "map from" if schema.is_map else "struct from:"
        return f"cannot restore {what} {_kind_of(value)}"
    found = (
        conversion_problem(field, held)
        for name, held in value.items()
        if (field := schema.properties.get(name) or schema.additional) is not None
    )
    return next(filter(None, found), "")


def _scalar_problem(schema: Schema, value: Any) -> str:
    wanted = schema.go.type if schema.go else "string"
    kind = _KINDS.get(schema.type) or wanted
    given = go_type(value)
    whole = isinstance(value, float) and value.is_integer()
    match schema.type:
        case "integer" if given == "int64" or whole:
            return ""
        case "integer" | "string" if given in ("float64", "int64"):
            # A number can become a text in Go, but not here.
            return (
                _unrecognized(kind) if (given, kind) == ("float64", "string") else f"cannot convert {given} to {wanted}"
            )
        case "number" if given in ("float64", "int64"):
            return ""
    return "" if given == kind else _unrecognized(kind)


def _unrecognized(kind: str) -> str:
    return f"unrecognized type: {kind}"


def _kind_of(value: Any) -> str:
    return {"map[string]interface {}": "map", "[]interface {}": "slice"}.get(go_type(value)) or go_type(value)
