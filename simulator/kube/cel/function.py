"""How a function that Kubernetes adds to CEL is written down here, and how the library is told of it.

The library cannot hold values of our own types, so when an expression is evaluated a quantity is a map with one entry,
`{"kubernetes.Quantity": "3/2"}`; while it is checked, it is a protobuf message without fields.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

URL, QUANTITY, IP, CIDR = "kubernetes.URL", "kubernetes.Quantity", "net.IP", "net.CIDR"
SEMVER, FORMAT = "kubernetes.Semver", "kubernetes.NamedFormat"
OPTIONAL = "optional_type"
NO_OVERLOAD = "no such overload"
INT64 = range(-(2**63), 2**63)

OWN_TYPES = (URL, QUANTITY, IP, CIDR, SEMVER, FORMAT)
_PLAIN = {
    "string": cel.Type.STRING,
    "int": cel.Type.INT,
    "uint": cel.Type.UINT,
    "double": cel.Type.DOUBLE,
    "bool": cel.Type.BOOL,
    "bytes": cel.Type.BYTES,
    "duration": cel.Type.DURATION,
    "timestamp": cel.Type.TIMESTAMP,
    "dyn": cel.Type.DYN,
}
_HELD_AS_MAP = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)


class CelError(ValueError):
    """An expression cannot be evaluated, or is none; the message is the real server's."""


@dataclass(frozen=True, slots=True)
class Function:
    """One overload. Types are written as in `list<int>`, or are the name of one of Kubernetes' own types.

    `call` gets and gives values of those own types as texts.
    """

    name: str
    parameters: tuple[str, ...]
    result: str
    call: Callable[..., Any]
    is_member: bool = True


def function(name: str, parameters: Sequence[str], result: str, call: Callable[..., Any]) -> Function:
    """A function that is called as `name(value)`."""
    return Function(name, tuple(parameters), result, call, is_member=False)


def accepted_by(parse: Callable[..., object]) -> Callable[..., bool]:
    """Whether what is given can be parsed."""

    def accepted(*given: Any) -> bool:
        try:
            parse(*given)
        except CelError:
            return False
        return True

    return accepted


def declared(functions: Iterable[Function]) -> cel.CelExtension:
    """The functions with their types, for the check of an expression; they cannot be called."""
    ordered = sorted((each for each in functions if not _gives_optional(each)), key=lambda each: each.name)
    declarations = [
        cel.FunctionDecl(name, [_checked(each, number) for number, each in enumerate(overloads)])
        for name, overloads in groupby(ordered, key=lambda each: each.name)
    ]
    return cel.CelExtension("kubernetes.declarations", declarations)


def declared_optional(functions: Iterable[Function]) -> list[dict[str, Any]]:
    """Those functions that give an optional value: only the library's configuration can say so."""
    return [{"name": each.name, "overloads": [_declaration(each)]} for each in functions if _gives_optional(each)]


def callable_functions(functions: Iterable[Function]) -> cel.CelExtension:
    """The functions as an expression calls them whose types are not known until it is evaluated."""
    ordered = sorted(functions, key=_place)
    by_name: dict[str, list[cel.Overload]] = {}
    for (name, is_member, parameters), overloads in groupby(ordered, key=_place):
        alike = list(overloads)
        overload = cel.Overload(
            f"{name}_{len(by_name.get(name, ()))}",
            return_type=cel.Type.DYN,
            parameters=[_HELD_TYPES[parameter] for parameter in parameters],
            is_member=is_member,
            impl=_dispatch(alike),
        )
        by_name.setdefault(name, []).append(overload)
    return cel.CelExtension("kubernetes.functions", [cel.FunctionDecl(name, one) for name, one in by_name.items()])


_HELD_TYPES = {**_PLAIN, "list": cel.Type.List(cel.Type.DYN), "map": _HELD_AS_MAP}


def _place(each: Function) -> tuple[str, bool, tuple[str, ...]]:
    return each.name, each.is_member, tuple(map(_held_as, each.parameters))


def _held_as(name: str) -> str:
    outer = name.partition("<")[0]
    return "map" if outer in OWN_TYPES or outer == OPTIONAL else outer


def _gives_optional(each: Function) -> bool:
    return each.result.startswith(OPTIONAL)


def _checked(each: Function, number: int) -> cel.Overload:
    return cel.Overload(
        f"{each.name}_{number}",
        return_type=_type(each.result),
        parameters=[_type(parameter) for parameter in each.parameters],
        is_member=each.is_member,
        impl=each.call,
    )


def _type(name: str) -> cel.Type:
    outer, _, inner = name.partition("<")
    if outer == "list":
        return cel.Type.List(_type(inner[:-1]))
    if outer == "map":
        key, _, value = inner[:-1].partition(", ")
        return cel.Type.Map(_type(key), _type(value))
    return _PLAIN.get(name) or cel.Type(name)


def _declaration(each: Function) -> dict[str, Any]:
    parameters = [{"type": parameter} for parameter in each.parameters]
    target = {"target": parameters.pop(0)} if each.is_member else {}
    return {"id": each.name, **target, "args": parameters, "return": {"type": each.result}}


def _dispatch(alike: list[Function]) -> Callable[..., Any]:
    """The call of that overload whose own types are those of the arguments."""

    def call(*arguments: Any) -> Any:
        for each in alike:
            held = [_content(name, value) for name, value in zip(each.parameters, arguments, strict=True)]
            if all(item is not None for item in held):
                return _wrapped(each.result, each.call(*held))
        raise CelError(NO_OVERLOAD)

    return call


def _content(name: str, value: Any) -> Any:
    kind = name.partition("<")[0]
    return value.get(kind) if kind in (*OWN_TYPES, OPTIONAL) else value


def _wrapped(name: str, value: Any) -> Any:
    kind, _, inner = name.partition("<")
    if kind == OPTIONAL:
        return {kind: [_wrapped(inner[:-1], item) for item in value]}
    if kind in OWN_TYPES:
        return {kind: value}
    if isinstance(value, timedelta):
        duration = Duration()
        duration.FromTimedelta(value)
        return duration
    if hasattr(value, "utcoffset"):
        moment = Timestamp()
        moment.FromDatetime(value)
        return moment
    return value
