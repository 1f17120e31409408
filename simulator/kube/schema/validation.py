"""Whether an object keeps to the schema of its CustomResourceDefinition; the real server's words where it does not.

Values that an update leaves as they were are not checked again, so an object from before a schema became stricter can
still be changed elsewhere.
"""

import json
import re
from typing import Any

from simulator.kube.go_text import go_number, go_quoted, go_shown
from simulator.kube.kinds import Object
from simulator.kube.schema.list_rules import correlated, list_causes
from simulator.kube.schema.model import Limits, Schema
from simulator.kube.schema.string_formats import is_known_format, is_of_format
from simulator.kube.schema.value_texts import NOWHERE, is_number, json_type, type_invalid
from simulator.kube.status import Cause, invalid_value, required

ABSENT: Any = object()
"""The former value where there was none."""

_INT32 = range(-(2**31), 2**31)


def schema_causes(schema: Schema, obj: Object, old: Object | None = None, *, status_only: bool = False) -> list[Cause]:
    """What is wrong with an object; `old` is what an update is about to replace.

    With `status_only`, as at the subresource `status`, no more than `status` is looked at, but for lists whose items
    must differ.
    """
    before: Any = ABSENT if old is None else old
    lists = [] if old is not None and list_causes(schema, old) else list_causes(schema, obj)
    if not status_only:
        return [*value_causes(schema, obj, "", before), *lists]
    status = schema.properties.get("status")
    if status is None or "status" not in obj:
        return lists
    former = ABSENT if old is None else old.get("status", ABSENT)
    return [*value_causes(status, obj["status"], "status", former), *lists]


def value_causes(schema: Schema, value: Any, at: str, old: Any = ABSENT) -> list[Cause]:
    """What is wrong with a value, which stands at the field `at` of its object."""
    check = _Check(at)
    check.value(schema, value, old, "")
    return check.causes


class _Check:
    """One check. `causes` are the findings; `at` is where the value is in its object, empty for the whole of it."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.causes: list[Cause] = []

    def value(self, schema: Schema, value: Any, old: Any, name: str) -> None:
        if old is not ABSENT and _same(value, old):
            return
        self._type(schema, value, name)
        if value is None:
            self._enum(schema.limits, value, name)
            return
        self._combinations(schema, value, name)
        if isinstance(value, str):
            self._text(schema, value, name)
        elif is_number(value):
            self._number(schema, value, name)
        elif isinstance(value, list):
            self._list(schema, value, old, name)
        self._enum(schema.limits, value, name)
        if isinstance(value, dict):
            self._object(schema, value, old, name)

    def _type(self, schema: Schema, value: Any, name: str) -> None:
        types = ("integer", "string") if schema.int_or_string else (schema.type,) if schema.type else ()
        format_name = schema.format if is_known_format(schema.format) else ""
        if value is None:
            if types and not schema.nullable:
                self._add(type_invalid(name, ",".join(types), "null"))
            return
        found = json_type(value)
        fits = found in types or (found == "integer" and "number" in types)
        fits = fits or (found == "number" and "integer" in types and float(value).is_integer())
        if fits or not (types or format_name):
            return
        if format_name and not isinstance(value, str | list):
            of_value = {"integer": "int64", "number": "float64"}.get(found, "")
            if of_value != format_name:
                self._add(type_invalid(name, format_name, of_value))
        elif not format_name or not isinstance(value, str | list) or {"number", "integer"} & set(types):
            self._add(type_invalid(name, ",".join(types), found))

    def _combinations(self, schema: Schema, value: Any, name: str) -> None:
        if schema.any_of:
            self._any_of(schema.any_of, value, name)
        if schema.one_of:
            self._one_of(schema.one_of, value, name)
        if schema.all_of:
            outcomes = [self._outcome(part, value, name) for part in schema.all_of]
            for outcome in outcomes:
                self.causes += outcome
            if any(outcomes):
                none = "" if not all(outcomes) else ". None validated"
                self._add_nowhere(f"{go_quoted(name)} must validate all the schemas (allOf){none}")
        if schema.not_ is not None and not self._outcome(schema.not_, value, name):
            self._add_nowhere(f"{go_quoted(name)} must not validate the schema (not)")

    def _any_of(self, parts: tuple[Schema, ...], value: Any, name: str) -> None:
        outcomes = [self._outcome(part, value, name) for part in parts]
        if all(outcomes):
            self._add_nowhere(f"{go_quoted(name)} must validate at least one schema (anyOf)")
            self.causes += outcomes[0]

    def _one_of(self, parts: tuple[Schema, ...], value: Any, name: str) -> None:
        outcomes = [self._outcome(part, value, name) for part in parts]
        valid = outcomes.count([])
        if valid == 1:
            return
        found = f"Found {valid} valid alternatives" if valid else "Found none valid"
        self._add_nowhere(f"{go_quoted(name)} must validate one and only one schema (oneOf). {found}")
        if not valid:
            self.causes += outcomes[0]

    def _outcome(self, schema: Schema, value: Any, name: str) -> list[Cause]:
        check = _Check(self.at)
        check.value(schema, value, ABSENT, name)
        return check.causes

    def _text(self, schema: Schema, value: str, name: str) -> None:
        limits = schema.limits
        if limits is not None:
            if limits.max_length is not None and len(value) > limits.max_length:
                problem = f"Too long: may not be more than {limits.max_length} bytes"
                self.causes.append(Cause("FieldValueTooLong", problem, self._field(name)))
            elif limits.min_length is not None and len(value) < limits.min_length:
                self._invalid(name, value, f"should be at least {limits.min_length} chars long")
            elif limits.pattern and not _matches(limits.pattern, value):
                self._invalid(name, value, f"should match '{limits.pattern}'")
        if is_known_format(schema.format) and not is_of_format(schema.format, value):
            self._add(type_invalid(name, schema.format, value))

    def _number(self, schema: Schema, value: float, name: str) -> None:
        if not schema.int_or_string and schema.type == "integer" and not _in_range(schema.format, value):
            of_format = f"with format {schema.format}" if schema.format else "(default format)"
            self._add_nowhere(f"Checked value must be of type integer {of_format} in {name}")
        limits = schema.limits
        if limits is None:
            return
        if limits.multiple_of and (value / limits.multiple_of) % 1:
            self._invalid(name, value, f"should be a multiple of {_limit_text(limits.multiple_of, value)}")
        low, high = _beside(value, limits.minimum), _beside(value, limits.maximum)
        if low is not None and (value < low or (limits.exclusive_minimum and value == low)):
            than = "greater than" if limits.exclusive_minimum else "greater than or equal to"
            self._invalid(name, value, f"should be {than} {_limit_text(low, value)}")
        if high is not None and (value > high or (limits.exclusive_maximum and value == high)):
            than = "less than" if limits.exclusive_maximum else "less than or equal to"
            self._invalid(name, value, f"should be {than} {_limit_text(high, value)}")

    def _list(self, schema: Schema, value: list[Any], old: Any, name: str) -> None:
        if schema.items is not None:
            for index, (item, before) in enumerate(correlated(schema, value, old, ABSENT)):
                self.value(schema.items, item, before, f"{name}[{index}]")
        limits = schema.limits or Limits()
        if limits.min_items is not None and len(value) < limits.min_items:
            self._invalid(name, len(value), f"should have at least {limits.min_items} items")
        if limits.max_items is not None and len(value) > limits.max_items:
            self._too_many(name, len(value), limits.max_items)
        if limits.unique_items and len({json.dumps(item, sort_keys=True) for item in value}) < len(value):
            self._invalid(name, "", "shouldn't contain duplicates")

    def _object(self, schema: Schema, value: Object, old: Any, name: str) -> None:
        limits = schema.limits or Limits()
        if limits.min_properties is not None and len(value) < limits.min_properties:
            self._invalid(name, len(value), f"should have at least {limits.min_properties} properties")
        if limits.max_properties is not None and len(value) > limits.max_properties:
            self._too_many(name, len(value), limits.max_properties)
        former = old if isinstance(old, dict) and schema.map_type != "atomic" else {}
        for key, item in value.items():
            inner = f"{name}.{key}" if name else key
            if key in schema.properties:
                self.value(schema.properties[key], item, former.get(key, ABSENT), inner)
            elif schema.additional is not None:
                self.value(schema.additional, item, former.get(key, ABSENT), f"{name}.{key}")
        self.causes += [required(self._field(f"{name}.{key}"), "") for key in schema.required if key not in value]

    def _enum(self, limits: Limits | None, value: Any, name: str) -> None:
        if limits is None or not limits.enum or any(_same(value, allowed) for allowed in limits.enum):
            return
        supported = ", ".join(go_quoted(item if isinstance(item, str) else json.dumps(item)) for item in limits.enum)
        problem = f"Unsupported value: {go_shown(value, in_order=True)}: supported values: {supported}"
        self.causes.append(Cause("FieldValueNotSupported", problem, self._field(name)))

    def _invalid(self, name: str, value: Any, problem: str) -> None:
        self.causes.append(
            invalid_value(self._field(name), go_shown(value, in_order=True), f"{name} in body {problem}")
        )

    def _too_many(self, name: str, count: int, limit: int) -> None:
        problem = f"Too many: {count}: must have at most {limit} items"
        self.causes.append(Cause("FieldValueTooMany", problem, self._field(name)))

    def _add(self, cause: Cause) -> None:
        self.causes.append(Cause(cause.reason, cause.message, self._field(cause.field)))

    def _add_nowhere(self, problem: str) -> None:
        """Add a finding that the real server does not tell the place of."""
        self.causes.append(invalid_value(self.at or NOWHERE, '""', problem))

    def _field(self, name: str) -> str:
        name = name.removeprefix(".")
        return f"{self.at}.{name}" if self.at and name else name or self.at or NOWHERE


def _beside(value: float, limit: float | None) -> float | None:
    """The limit as it is compared with a value: whole numbers with whole ones only."""
    return int(limit) if limit is not None and isinstance(value, int) else limit


def _in_range(format_name: str, value: float) -> bool:
    return float(value).is_integer() and (format_name != "int32" or int(value) in _INT32)


def _matches(pattern: str, value: str) -> bool:
    """Whether a value has the pattern somewhere; one that only Go understands is not enforced."""
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return True


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; `true` is not `1`."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(item, other[name]) for name, item in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _limit_text(limit: float, beside: float) -> str:
    """A limit as it is written beside a value: like a whole number beside one."""
    return str(int(limit)) if isinstance(beside, int) else go_number(limit)
