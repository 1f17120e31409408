"""Where the finding of a rule is said to be (`fieldPath`): a field below the value that the rule is about."""

import re

from simulator.kube.schema.model import Schema

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]']+", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


class FieldPathError(ValueError):
    """The path is of no form that there is, or leads to no field."""


def field_path(text: str, schema: Schema) -> str:
    """The path as messages show it, without a dot in front, below a value of that schema.

    Raises:
        FieldPathError: there is no such field.
    """
    tokens, shown, at = _tokens(text), "", schema
    while tokens:
        mark = tokens.pop(0)
        if mark == "." and tokens:
            name = tokens.pop(0)
        elif mark == "[" and len(tokens) > 1 and tokens[0][0] == "'" and tokens[1] == "]":
            name = _unquoted(tokens.pop(0))
            tokens.pop(0)
        else:
            raise FieldPathError(text)
        shown, at = _entered(shown, at, name)
    return shown


def _tokens(text: str) -> list[str]:
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise FieldPathError(text)
    return tokens


def _entered(shown: str, schema: Schema, name: str) -> tuple[str, Schema]:
    if name in schema.properties:
        return (f"{shown}.{name}" if shown else name), schema.properties[name]
    if not schema.properties and schema.additional is not None:
        return f"{shown}[{name}]", schema.additional
    raise FieldPathError(name)


def _unquoted(token: str) -> str:
    def meant(match: re.Match[str]) -> str:
        if match[1] not in _ESCAPED:
            raise FieldPathError(token)
        return _ESCAPED[match[1]]

    return re.sub(r"\\(.)", meant, token[1:-1])
