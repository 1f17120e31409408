"""Whether an object keeps to the rules of its schema (`x-kubernetes-validations`); the real server's words if not.

What an update leaves as it was may go on breaking a rule: the client is only warned of it.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import thread_time
from typing import Any

from simulator.kube.cel.expressions import OLD_SELF, SELF, evaluated, optional, uses_old_self
from simulator.kube.cel.function import NO_OVERLOAD, CelError
from simulator.kube.cel.messages import OUT_OF_BUDGET
from simulator.kube.cel.values import cel_value, in_order_of
from simulator.kube.go_text import go_quoted, go_shown
from simulator.kube.schema.field_paths import field_path
from simulator.kube.schema.list_rules import correlated
from simulator.kube.schema.model import Rule, Schema, has_rules
from simulator.kube.schema.value_texts import NOWHERE
from simulator.kube.status import Cause, forbidden_value, invalid_value, required

MAX_SECONDS = 2.0
"""How much of a processor's time the rules of one object may take; the real server counts what each costs."""
_MAX_MESSAGE = 5 * 1024
_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_COMPOSED = ("object", "array")


@dataclass(slots=True)
class Findings:
    """What is wrong with an object, and what the client is warned of because it was wrong before."""

    causes: list[Cause] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def rule_findings(schema: Schema, obj: Any, old: Any = None, *, at: str = "", is_resource: bool = True) -> Findings:
    """Look at all rules; `old` is what an update is about to replace, `at` where the value stands in its object."""
    check = _Check()
    former = None if old is None else in_order_of(schema, old, obj)
    with suppress(_BudgetSpentError):
        check.value(_Place(schema, obj, former, at, is_resource, old is not None and former == obj))
    return check.findings


class _BudgetSpentError(Exception):
    """No further rule is looked at."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A value in an object. `old` is None where there was none, or it cannot be told which it was.

    `kept` says that the value, or the nearest one around it of which that can be told, is as it was.
    """

    schema: Schema
    value: Any
    old: Any
    at: str
    is_resource: bool
    kept: bool

    def within(self) -> Iterator["_Place"]:
        """The values in this one."""
        schema = self.schema
        if isinstance(self.value, dict):
            former = self.old if isinstance(self.old, dict) else {}
            for name, item in self.value.items():
                if name in schema.properties:
                    yield self._inner(schema.properties[name], item, former.get(name), f"{self.at}.{name}".strip("."))
                elif schema.additional is not None:
                    yield self._inner(schema.additional, item, former.get(name), f"{self.at}[{name}]")
        elif isinstance(self.value, list) and schema.items is not None:
            for index, (item, before) in enumerate(correlated(schema, self.value, self.old, None)):
                yield self._inner(schema.items, item, before, f"{self.at}[{index}]")

    def _inner(self, schema: Schema, value: Any, old: Any, at: str) -> "_Place":
        kept = self.kept if old is None else old == value
        return _Place(schema, value, old, at, schema.embedded, kept)


class _Check:
    """One look at an object."""

    def __init__(self) -> None:
        self.findings = Findings()
        self._end = thread_time() + MAX_SECONDS

    def value(self, place: _Place) -> None:
        if place.value is None or not has_rules(place.schema):
            return
        if place.schema.rules:
            self._rules(place)
        for inner in place.within():
            self.value(inner)

    def _rules(self, place: _Place) -> None:
        schema = place.schema
        value = cel_value(schema, place.value, is_resource=place.is_resource)
        old = None if place.old is None else cel_value(schema, place.old, is_resource=place.is_resource)
        for rule in schema.rules:
            compares = uses_old_self(rule.rule)
            if compares and place.old is None and not rule.optional_old_self:
                continue
            if thread_time() > self._end:
                self._give_up(place, _OUT_OF_BUDGET)
            former = optional(old) if rule.optional_old_self else old
            self._rule(rule, place, {SELF: value, OLD_SELF: former}, compares=compares)

    def _rule(self, rule: Rule, place: _Place, values: dict[str, Any], *, compares: bool) -> None:
        try:
            holds = evaluated(rule.rule, values)
        except CelError as error:
            self._cannot_tell(str(error), place, _name_of(rule))
            return
        if holds is True:
            return
        cause = _broken(rule, place, _message(rule, values))
        if place.kept and not compares:
            self.findings.warnings.append(f"{cause.field}: {cause.message}")
        else:
            self.findings.causes.append(cause)

    def _cannot_tell(self, problem: str, place: _Place, rule: str) -> None:
        if problem.startswith(OUT_OF_BUDGET):
            further = "no further validation rules will be run due to call cost exceeds limit for rule"
            self._give_up(place, f"'{problem}': {further}: {rule}")
        if problem.startswith(NO_OVERLOAD):
            wanted = "call arguments did not match a supported operator, function or macro signature for rule"
            text = f"'{problem}': {wanted}: {rule}"
        else:
            text = f"{problem} evaluating rule: {rule}"
        self._add(place, text)

    def _give_up(self, place: _Place, text: str) -> None:
        self._add(place, text)
        raise _BudgetSpentError

    def _add(self, place: _Place, text: str) -> None:
        type_name = "" if place.schema.int_or_string else place.schema.type
        self.findings.causes.append(invalid_value(place.at or NOWHERE, go_quoted(type_name), text))


def _name_of(rule: Rule) -> str:
    return (rule.message or rule.rule).strip()


def _message(rule: Rule, values: dict[str, Any]) -> str:
    """What is said of a broken rule: what its expression gives, as far as that is of use, or else its own message."""
    if rule.message_expression:
        try:
            text = evaluated(rule.message_expression, values)
        except CelError:
            text = None
        if isinstance(text, str) and 0 < len(text.strip().encode()) <= _MAX_MESSAGE and "\n" not in text.strip():
            return text.strip()
    return _name_of(rule) if rule.message else f"failed rule: {_name_of(rule)}"


def _broken(rule: Rule, place: _Place, detail: str) -> Cause:
    below = field_path(rule.field_path, place.schema) if rule.field_path else ""
    at = f"{place.at}.{below}".strip(".") or NOWHERE
    shown = "" if place.schema.type in _COMPOSED else f": {go_shown(place.value, in_order=True)}"
    match rule.reason:
        case "FieldValueForbidden":
            return forbidden_value(at, detail)
        case "FieldValueRequired":
            return required(at, detail)
        case "FieldValueDuplicate":
            return Cause(rule.reason, f"Duplicate value{shown}", at)
    return Cause("FieldValueInvalid", f"Invalid value{shown}: {detail}", at)
