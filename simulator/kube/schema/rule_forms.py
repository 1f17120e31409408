"""What a rule in CEL has to say of itself, whatever its expression is."""

import re
from collections.abc import Iterator

from simulator.kube.builtin.causes import invalid, unsupported
from simulator.kube.schema.field_paths import FieldPathError, field_path
from simulator.kube.schema.load import Raw, schema_of_crd
from simulator.kube.status import Cause, required

RULES = "x-kubernetes-validations"
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_EMPTY, _BROKEN_LINES = "must be non-empty if specified", "must not contain line breaks"


def rule_form_causes(schema: Raw, path: str) -> Iterator[Cause]:
    """What is wrong with the rules of a schema that stands at `path`, but for their expressions."""
    for index, rule in enumerate(schema.get(RULES) or ()):
        at = f"{path}.{RULES}[{index}]"
        yield from _text_causes(rule, at)
        if rule.get("messageExpression") and not rule["messageExpression"].strip():
            yield required(f"{at}.messageExpression", f"messageExpression {_EMPTY}")
        if rule.get("reason") is not None and rule["reason"] not in _REASONS:
            yield unsupported(f"{at}.reason", rule["reason"], _REASONS)
        if rule.get("fieldPath"):
            yield from _field_path_causes(rule["fieldPath"], schema, f"{at}.fieldPath")


def _text_causes(rule: Raw, at: str) -> Iterator[Cause]:
    expression, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
    if not expression:
        yield required(f"{at}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{at}.message", message, _EMPTY)
    elif _has_lines(message.strip()):
        yield invalid(f"{at}.message", message, _BROKEN_LINES)
    elif _has_lines(expression) and not message:
        yield required(f"{at}.message", "message must be specified if rule contains line breaks")


def _field_path_causes(text: str, schema: Raw, at: str) -> Iterator[Cause]:
    if not text.strip():
        yield invalid(at, text, _EMPTY)
    if _has_lines(text):
        yield invalid(at, text, _BROKEN_LINES)
    try:
        field_path(text, schema_of_crd(schema))
    except FieldPathError:
        yield invalid(at, text, "must be a valid path")


def _has_lines(text: str) -> bool:
    return re.search(r"[\n\r]", text) is not None
