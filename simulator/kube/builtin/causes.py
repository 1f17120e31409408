"""What is wrong with a field, in the words and with the quoting of the real API; see also `simulator.kube.status`."""

from collections.abc import Iterable
from typing import Any

from simulator.kube.go_text import go_quoted, go_shown
from simulator.kube.status import Cause, invalid_value

NOT_NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"


def invalid(field: str, value: Any, problem: str) -> Cause:
    """The cause "the field holds `value`, which `problem`"."""
    return invalid_value(field, go_shown(value), problem)


def unsupported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """The cause "the field holds `value`, which is none of these"."""
    values = ", ".join(go_quoted(choice) for choice in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {go_shown(value)}: supported values: {values}", field)


def duplicate(field: str, value: Any, detail: str = "") -> Cause:
    """The cause "another item of the list has the same value"."""
    return Cause("FieldValueDuplicate", f"Duplicate value: {go_shown(value)}{': ' * bool(detail)}{detail}", field)


def unknown(field: str, value: Any, detail: str = "") -> Cause:
    """The cause "the field names something that does not exist"."""
    return Cause("FieldValueNotFound", f"Not found: {go_shown(value)}{': ' * bool(detail)}{detail}", field)


def too_long(field: str, limit: int) -> Cause:
    """The cause "the field holds more than `limit` bytes"."""
    return Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field)


def too_many(field: str, count: int, limit: int) -> Cause:
    """The cause "the list has `count` items, which are more than `limit`"."""
    return Cause("FieldValueTooMany", f"Too many: {count}: must have at most {limit} items", field)


def negative(field: str, value: int | None) -> list[Cause]:
    """What is wrong with a number that must not be negative; None is none."""
    return [invalid(field, value, NOT_NEGATIVE)] if value is not None and value < 0 else []


def each(field: str, value: Any, problems: Iterable[str]) -> list[Cause]:
    """One cause for each problem with the same value."""
    return [invalid(field, value, problem) for problem in problems]


def choice(field: str, value: str | None, supported: Iterable[str]) -> list[Cause]:
    """What is wrong with a value of an enumeration; None, where nothing was chosen, is allowed."""
    choices = tuple(supported)
    return [] if value is None or value in choices else [unsupported(field, value, choices)]
