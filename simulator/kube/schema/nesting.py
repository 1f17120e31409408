"""What may stand within `allOf`, `anyOf`, `oneOf` and `not` of a structural schema: only what restricts values."""

from collections.abc import Iterator

from simulator.kube.schema.load import Raw
from simulator.kube.status import Cause, forbidden_value

_COMBINATIONS = ("anyOf", "allOf", "oneOf")
_FORBIDDEN = {
    "type": "empty",
    "additionalProperties": "undefined",
    "default": "undefined",
    "title": "empty",
    "description": "empty",
    "nullable": "false",
    "x-kubernetes-preserve-unknown-fields": "false",
    "x-kubernetes-embedded-resource": "false",
    "x-kubernetes-int-or-string": "false",
    "x-kubernetes-list-map-keys": "empty",
    "x-kubernetes-list-type": "undefined",
    "x-kubernetes-map-type": "undefined",
    "x-kubernetes-validations": "empty",
}
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
"""The `anyOf` of a value that is a number or a text; it may say the types again."""


def nesting_causes(schema: Raw, path: str, *, within: str = "") -> Iterator[Cause]:
    """What is wrong with the combinations of a schema that stands at `path`; `within` is the one around it."""
    may_say_types = schema.get("anyOf") == _INT_OR_STRING and within in ("", "allOf[0]")
    for part, where in combined(schema, path):
        own = where.removeprefix(f"{path}.")
        if not (may_say_types and own.startswith("anyOf")):
            yield from _nested(part, where, own)


def combined(schema: Raw, path: str) -> Iterator[tuple[Raw, str]]:
    """The schemas that are combined to one, each with its path."""
    for name in _COMBINATIONS:
        for index, part in enumerate(schema.get(name) or ()):
            yield part, f"{path}.{name}[{index}]"
    if schema.get("not"):
        yield schema["not"], f"{path}.not"


def _nested(schema: Raw, path: str, within: str) -> Iterator[Cause]:
    yield from nesting_causes(schema, path, within=within)
    if isinstance(schema.get("items"), dict):
        yield from _nested(schema["items"], f"{path}.items", "items")
    for name, inner in (schema.get("properties") or {}).items():
        yield from _nested(inner, f"{path}.properties[{name}]", "properties")
    for name, wanted in _FORBIDDEN.items():
        if schema.get(name):
            yield forbidden_value(f"{path}.{name}", f"must be {wanted} to be structural")
    if "metadata" in (schema.get("properties") or {}):
        yield forbidden_value(f"{path}.properties[metadata]", "must not be specified in a nested context")
