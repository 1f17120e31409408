"""Whether the expressions in the rules of a CustomResourceDefinition can be evaluated, as far as its schema tells.

What an expression may cost is not estimated: its evaluation has a limit.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from simulator.kube.cel.declarations import Declarations
from simulator.kube.cel.exposure import is_seen
from simulator.kube.cel.expressions import BOOL, STRING, Checker, uses_old_self
from simulator.kube.cel.function import CelError
from simulator.kube.cel.rules import rule_findings
from simulator.kube.go_text import go_quoted, go_shown
from simulator.kube.schema.load import Raw, schema_of_crd
from simulator.kube.schema.model import Schema
from simulator.kube.schema.rule_forms import RULES
from simulator.kube.status import Cause, invalid_value

_NOT_SEEN = (
    "Internal error: internal error: failed to construct type information for x-kubernetes-validations rules: unable "
    "to convert structural schema to CEL declarations"
)


def expression_causes(
    schema: Raw, path: str, faulty: Sequence[str], *, is_resource: bool = True, unpaired: str = ""
) -> Iterator[Cause]:
    """What is wrong with the rules' expressions in a schema that stands at `path`, and in those within it.

    Rules above a field that is `faulty` are not looked at. `unpaired` is the list or map around the value whose items
    cannot be told to be former ones, if there is one.
    """
    if schema.get(RULES) and not any(field.startswith(path) for field in faulty):
        yield from _causes(schema, path, is_resource=is_resource, unpaired=unpaired)
    of_items = unpaired or ("" if schema.get("x-kubernetes-list-type") == "map" else path)
    if isinstance(schema.get("items"), dict):
        yield from _inner(schema["items"], f"{path}.items", faulty, of_items)
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _inner(schema["additionalProperties"], f"{path}.additionalProperties", faulty, unpaired)
    for name, inner in (schema.get("properties") or {}).items():
        yield from _inner(inner, f"{path}.properties[{name}]", faulty, unpaired)


def default_causes(schema: Raw, path: str) -> Iterator[Cause]:
    """Which rules the defaults break in a schema that stands at `path`, and in those within it."""
    default = schema.get("default")
    if default is not None:
        is_resource = bool(schema.get("x-kubernetes-embedded-resource"))
        yield from rule_findings(schema_of_crd(schema), default, at=f"{path}.default", is_resource=is_resource).causes
    if isinstance(schema.get("items"), dict):
        yield from default_causes(schema["items"], f"{path}.items")
    for name, inner in (schema.get("properties") or {}).items():
        yield from default_causes(inner, f"{path}.properties[{name}]")


def _inner(schema: Raw, path: str, faulty: Sequence[str], unpaired: str) -> Iterator[Cause]:
    is_resource = bool(schema.get("x-kubernetes-embedded-resource"))
    yield from expression_causes(schema, path, faulty, is_resource=is_resource, unpaired=unpaired)


def _causes(raw: Raw, path: str, *, is_resource: bool, unpaired: str) -> Iterator[Cause]:
    schema = schema_of_crd(raw)
    declarations = _declarations(schema, is_resource=is_resource)
    if declarations is None:
        yield Cause("InternalError", _NOT_SEEN, f"{path}.{RULES}")
        return

    @cache
    def checker(optional_old: bool) -> Checker:
        return Checker(declarations, optional_old=optional_old)

    for index, rule in enumerate(raw[RULES]):
        of_rule = checker(bool(rule.get("optionalOldSelf")))
        yield from _rule_causes(rule, of_rule, f"{path}.{RULES}[{index}]", unpaired)


def _declarations(schema: Schema, *, is_resource: bool) -> Declarations | None:
    try:
        return Declarations(schema, is_resource=is_resource) if is_seen(schema) else None
    except CelError:
        return None


def _rule_causes(rule: Raw, checker: Checker, at: str, unpaired: str) -> Iterator[Cause]:
    expression, of_message = rule["rule"], rule.get("messageExpression")
    problem = _problem(checker, expression, BOOL)
    if problem:
        yield invalid_value(f"{at}.rule", _shown(rule), problem)
    elif of_message:
        problem_of_message = _problem(checker, of_message, STRING)
        if problem_of_message:
            yield invalid_value(f"{at}.messageExpression", _shown(rule), problem_of_message)
    if not problem and uses_old_self(expression):
        if unpaired:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {unpaired}"
            yield invalid_value(f"{at}.rule", go_quoted(expression), text)
    elif rule.get("optionalOldSelf") is not None:
        text = "may not be set if oldSelf is not used in rule"
        yield invalid_value(f"{at}.optionalOldSelf", go_shown(rule["optionalOldSelf"]), text)


def _problem(checker: Checker, expression: str, result: Any) -> str:
    name, wanted = ("messageExpression", "a string") if result == STRING else ("", "a bool")
    try:
        fits = checker.check(expression, result)
    except CelError as error:
        return f"{name} compilation failed: {error}".strip()
    return "" if fits else f"{name or 'cel expression'} must evaluate to {wanted}"


def _shown(rule: Raw) -> str:
    """A rule as the real server writes it in messages."""
    return go_shown(
        {
            "Rule": rule["rule"],
            "Message": rule.get("message") or "",
            "MessageExpression": rule.get("messageExpression") or "",
            "Reason": rule.get("reason"),
            "FieldPath": rule.get("fieldPath") or "",
            "OptionalOldSelf": rule.get("optionalOldSelf"),
        }
    )
