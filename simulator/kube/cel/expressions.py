"""Expressions: checked against the types of a schema when a definition is written, and evaluated when an object is.

The library itself ends an evaluation that takes more than 10,000 steps of loops.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

from simulator.kube.cel import addresses, amounts, formats, lists, patterns, urls
from simulator.kube.cel.declarations import Declarations, own_types
from simulator.kube.cel.function import OPTIONAL, CelError, callable_functions, declared, declared_optional
from simulator.kube.cel.messages import compilation_text, evaluation_text

SELF, OLD_SELF = "self", "oldSelf"
BOOL, STRING = cel.Type.BOOL, cel.Type.STRING
_FUNCTIONS = (
    *(*lists.FUNCTIONS, *patterns.FUNCTIONS, *urls.FUNCTIONS, *amounts.FUNCTIONS),
    *(*addresses.FUNCTIONS, *formats.FUNCTIONS),
)
_LIBRARIES = [
    *({"name": name} for name in ("two-var-comprehensions", "sets", "lists", "optional")),
    {"name": "strings", "version": 2},
]


class Checker:
    """Checks expressions on values of one type, in which `oldSelf` need not have a value if `optional_old`."""

    def __init__(self, declarations: Declarations, *, optional_old: bool) -> None:
        self._types = declarations.shown
        former = f"{OPTIONAL}<{declarations.type}>" if optional_old else declarations.type
        self._env = _checking_env(declarations.pool, {SELF: declarations.type, OLD_SELF: former})

    def check(self, expression: str, result: cel.Type) -> bool:
        """Whether an expression gives a value of that type, as far as can be told before it is evaluated.

        Raises:
            CelError: it is no expression, or uses what there is not.
        """
        try:
            returned = self._env.compile(expression).return_type()
        except RuntimeError as error:
            problems = compilation_text(str(error), expression, self._types)
            if not problems:
                return True
            raise CelError(problems) from error
        return bool(returned == result)


@lru_cache(maxsize=4096)
def uses_old_self(expression: str) -> bool:
    """Whether an expression speaks of the former value."""
    if OLD_SELF not in expression:
        return False
    try:
        _without_old_self().compile(expression)
    except RuntimeError as error:
        return f"undeclared reference to '{OLD_SELF}" in str(error)
    return False


def evaluated(expression: str, values: Mapping[str, Any]) -> Any:
    """The value of an expression.

    Raises:
        CelError: it has none.
    """
    try:
        value = _program(expression).eval(data=dict(values))
        if value.type() == cel.Type.ERROR:
            raise CelError(evaluation_text(str(value.value())))
        return value.value()
    except (RuntimeError, TypeError) as error:
        raise CelError(evaluation_text(str(error))) from error


def optional(value: Any) -> Any:
    """What stands for a value that may be missing, which it is if it is None."""
    return {OPTIONAL: [] if value is None else [value]}


@lru_cache(maxsize=4096)
def _program(expression: str) -> cel.Expression:
    return _dynamic().compile(expression, disable_check=True)


@cache
def _dynamic() -> cel.Env:
    return cel.NewEnv(
        config=_config({SELF: "dyn", OLD_SELF: "dyn"}),
        extensions=[callable_functions((*_FUNCTIONS, *lists.AT_EVALUATION, *formats.AT_EVALUATION))],
    )


@cache
def _without_old_self() -> cel.Env:
    return _checking_env(own_types(), {SELF: "dyn"})


def _checking_env(types: Any, variables: Mapping[str, str]) -> cel.Env:
    config = _config(variables, declared_optional(_FUNCTIONS))
    return cel.NewEnv(descriptor_pool=types, config=config, extensions=[_declared()])


@cache
def _declared() -> cel.CelExtension:
    return declared(_FUNCTIONS)


def _config(variables: Mapping[str, str], functions: Sequence[Mapping[str, Any]] = ()) -> cel.EnvConfig:
    config = {
        "extensions": _LIBRARIES,
        "variables": [{"name": name, "type": type_name} for name, type_name in variables.items()],
        "functions": functions,
    }
    return cel.NewEnvConfigFromYaml(json.dumps(config))
