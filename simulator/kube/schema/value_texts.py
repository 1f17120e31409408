"""How the real server names the types of values in the messages of a validation."""

from typing import Any

from simulator.kube.go_text import go_quoted
from simulator.kube.status import Cause

NOWHERE = "<nil>"
"""The field of a finding that the real server does not tell the place of."""


def json_type(value: Any) -> str:
    """The JSON schema type of a value that is not null."""
    if isinstance(value, bool):
        return "boolean"
    for type_name, python in (("string", str), ("integer", int), ("number", float), ("array", list)):
        if isinstance(value, python):
            return type_name
    return "object"


def is_number(value: Any) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_invalid(name: str, wanted: str, found: str) -> Cause:
    """The cause "the field holds a value of type `found`, or one that is not of the format `wanted`"."""
    problem = f"Invalid value: {go_quoted(found)}: {name} in body must be of type {wanted}: {go_quoted(found)}"
    return Cause("FieldValueTypeInvalid", problem, name)
