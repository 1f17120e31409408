"""Kubernetes' functions of named formats, such as `format.dns1123Label().validate(self.name)`."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from simulator.kube.builtin.formats import label, label_value, qualified_name, subdomain
from simulator.kube.cel.function import FORMAT, OPTIONAL, CelError, Function, function
from simulator.kube.cel.urls import url
from simulator.kube.crd_rules import label_problems
from simulator.kube.schema.string_formats import is_of_format


def _prefix(check: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """The check of what a name may begin with: it may end with a dash."""
    return lambda text: check(re.sub(r"-$", "a", text))


def _of_schema(name: str, problem: str, text: str) -> list[str]:
    return [] if is_of_format(name, text) else [problem]


def _uri(text: str) -> list[str]:
    try:
        url(text)
    except CelError as error:
        return [str(error).partition(": ")[2]]
    return []


_FORMATS: dict[str, Callable[[str], list[str]]] = {
    "dns1123Label": label,
    "dns1123Subdomain": subdomain,
    "dns1035Label": label_problems,
    "qualifiedName": qualified_name,
    "dns1123LabelPrefix": _prefix(label),
    "dns1123SubdomainPrefix": _prefix(subdomain),
    "dns1035LabelPrefix": _prefix(label_problems),
    "labelValue": label_value,
    "uri": _uri,
    "uuid": partial(_of_schema, "uuid", "does not match the UUID format"),
    "byte": partial(_of_schema, "byte", "invalid base64"),
    "date": partial(_of_schema, "date", "invalid date"),
    "datetime": partial(_of_schema, "date-time", "invalid datetime"),
}


def _problems(name: str, text: str) -> list[list[str]]:
    """The problems as an optional value: none if there is none."""
    problems = _FORMATS[name](text)
    return [problems] if problems else []


def _value(held: list[Any]) -> Any:
    if not held:
        raise CelError("optional.none() dereference")
    return held[0]


FUNCTIONS = (
    *(function(f"format.{name}", (), FORMAT, partial(str, name)) for name in _FORMATS),
    function("format.named", ("string",), f"{OPTIONAL}<{FORMAT}>", lambda name: [name] if name in _FORMATS else []),
    Function("validate", (FORMAT, "string"), f"{OPTIONAL}<list<string>>", _problems),
)
AT_EVALUATION = (
    Function("hasValue", (f"{OPTIONAL}<dyn>",), "bool", bool),
    Function("value", (f"{OPTIONAL}<dyn>",), "dyn", _value),
)
"""What is asked of an optional value that a function of ours gave."""
