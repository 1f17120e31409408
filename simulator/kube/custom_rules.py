"""The rules in CEL of custom kinds, at a write: what evaluates them is loaded only when there are any."""

from simulator.kube.kinds import Object
from simulator.kube.schema.model import Schema, has_rules
from simulator.kube.schema.value_texts import NOWHERE
from simulator.kube.status import Cause, invalid_value

_BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)


def custom_rule_causes(
    schema: Schema, new: Object, old: Object | None, found: list[Cause], warnings: list[str]
) -> list[Cause]:
    """Which rules the object breaks, beside what was `found` wrong with it before.

    Rules are not looked at in an object that does not have the form they rely on. Rules that were broken before, by
    what an update leaves as it was, go to `warnings`.
    """
    if not has_rules(schema):
        return []
    if any(cause.reason in _BLOCKING for cause in found):
        return [invalid_value(NOWHERE, "null", _UNCHECKED)]
    from simulator.kube.cel.rules import rule_findings  # the library is loaded here

    findings = rule_findings(schema, new, old)
    warnings.extend(findings.warnings)
    return findings.causes
