"""The part of JSONPath that the columns of a CustomResourceDefinition use. Pure functions of JSON values.

Fields (`.spec.size`, `['a.b']`), positions (`[0]`, `[-1]`), all of a list or an object (`[*]`, `.*`), and filters by
one comparison (`[?(@.type=="Ready")]`).
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

Step = Callable[[Any], Iterator[Any]]

_STEP = re.compile(
    r"""\.?\[\s*(?P<position>-?\d+)\s*\]
      | \.?\[\s*(?P<quote>['"])(?P<quoted>(?:\\.|(?!(?P=quote)).)*)(?P=quote)\s*\]
      | \.?\[\s*\?\(\s*@(?P<path>[^=!<>]*?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<operand>.*?))?\s*\)\s*\]
      | (?P<all>\.?\[\s*\*\s*\]|\.\*)
      | \.(?P<field>(?:\\.|[^.\[\]\s\\])+)""",
    re.VERBOSE,
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda one, other: bool(one == other),
    "!=": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}


class MalformedPathError(ValueError):
    """The text is no JSONPath that is understood here."""


def find_all(path: str, value: Any) -> list[Any]:
    """What the path leads to in a value; nothing where the way ends before.

    Raises:
        MalformedPathError: the path cannot be understood.
    """
    found = [value]
    for step in parse_path(path):
        found = [part for whole in found for part in step(whole)]
    return found


@cache
def parse_path(path: str) -> tuple[Step, ...]:
    """The steps of a path such as `.spec.ports[0].name`, with or without `$` at its beginning (MalformedPathError)."""
    steps = []
    at = 1 if path.startswith(("$", "@")) else 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            raise MalformedPathError(f"cannot understand {path[at:]!r} in the JSONPath {path!r}")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["position"] is not None:
        return _position(int(match["position"]))
    if match["all"] is not None:
        return _all
    if match["path"] is not None:
        return _filter(match["path"], match["operator"], match["operand"])
    name = match["field"] if match["quoted"] is None else match["quoted"]
    return _field(re.sub(r"\\(.)", r"\1", name))


def _field(name: str) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return step


def _position(index: int) -> Step:
    def step(value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= index < len(value):
            yield value[index]

    return step


def _all(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()


def _filter(path: str, operator: str | None, operand: str | None) -> Step:
    parse_path(path)
    wanted = _literal(operand or "")

    def step(value: Any) -> Iterator[Any]:
        for item in value if isinstance(value, list) else ():
            found = find_all(path, item)
            if found and (operator is None or _compare(operator, found[0], wanted)):
                yield item

    return step


def _compare(operator: str, one: Any, other: Any) -> bool:
    try:
        return _COMPARISONS[operator](one, other)
    except TypeError:
        return False


def _literal(text: str) -> Any:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text) if "." in text else int(text)
    return {"true": True, "false": False}.get(text, text)
