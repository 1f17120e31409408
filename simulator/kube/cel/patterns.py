"""Kubernetes' functions that look for patterns, which the library's own engine does: none takes long on any text."""

import json
from functools import cache

from cel_expr_python import cel  # type: ignore[import-untyped]

from simulator.kube.cel.function import CelError, Function
from simulator.kube.cel.messages import evaluation_text

_MARKED = "regex.replace(text, pattern, marked, most)"
_ALL = -1


def _find(text: str, pattern: str) -> str:
    return next(iter(_find_all(text, pattern, 1)), "")


def _find_all(text: str, pattern: str, limit: int = _ALL) -> list[str]:
    """What the pattern matches: it is put between marks that are not in the text."""
    mark = next(mark for mark in map(chr, range(1, len(text) + 2)) if mark not in text)
    marked = _program().eval(
        data={"text": text, "pattern": pattern, "marked": rf"{mark}\0{mark}", "most": max(limit, _ALL)}
    )
    if marked.type() == cel.Type.ERROR:
        raise CelError(evaluation_text(str(marked.value())))
    return str(marked.value()).split(mark)[1::2]


@cache
def _program() -> cel.Expression:
    variables = {"text": "string", "pattern": "string", "marked": "string", "most": "int"}
    config = {
        "extensions": [{"name": "optional"}, {"name": "regex"}],
        "variables": [{"name": name, "type": type_name} for name, type_name in variables.items()],
    }
    return cel.NewEnv(config=cel.NewEnvConfigFromYaml(json.dumps(config))).compile(_MARKED)


FUNCTIONS = (
    Function("find", ("string", "string"), "string", _find),
    Function("findAll", ("string", "string"), "list<string>", _find_all),
    Function("findAll", ("string", "string", "int"), "list<string>", _find_all),
)
