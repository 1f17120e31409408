"""Label and field selectors: which objects a list or a watch is about."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from simulator.kube.kinds import EVENT, Kind, Object
from simulator.kube.status import bad_request

NAME_PATTERN = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
"""The part of a label's key after the "/"; also a label's value, which may be empty."""

NAME_PROBLEM = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{NAME_PATTERN}')"
)

_FIELDS: dict[Kind, frozenset[str]] = {
    EVENT: frozenset(
        f"involvedObject.{name}" for name in ("apiVersion", "fieldPath", "kind", "name", "namespace", "uid")
    )
}
_COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})
_SYMBOL = re.compile(r"\s*(==|!=|=|!|\(|\)|,|[^\s=!(),]+)")
_OPERATORS = "in, notin, =, ==, !=, gt, lt"

Test = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed label selector and field selector; an empty one takes every object."""

    labels: tuple[Test, ...] = ()
    fields: tuple[tuple[str, str, bool], ...] = field(default=())

    def matches(self, obj: Object) -> bool:
        """Whether the object is selected."""
        labels = obj["metadata"].get("labels") or {}
        return all(test(labels) for test in self.labels) and all(
            (_field_value(obj, path) == value) is wanted for path, value, wanted in self.fields
        )


def parse_selector(kind: Kind, label_selector: str, field_selector: str) -> Selector:
    """Parse both selectors of a request.

    Raises:
        ApiFailure: 400; the message says what was found and what was expected, or which field is not supported.
    """
    return Selector(_LabelParser(label_selector).parse(), _parse_fields(kind, field_selector))


def label_name_is_valid(key: str) -> bool:
    """Whether the key's part after an optional prefix is well-formed and at most 63 characters long."""
    name = key.rpartition("/")[2]
    return len(name) <= 63 and re.fullmatch(NAME_PATTERN, name) is not None


class _LabelParser:
    """Recursive descent over `key`, `!key`, `key = value`, `key in (a, b)`, joined by commas."""

    def __init__(self, text: str) -> None:
        self._symbols = _SYMBOL.findall(text)
        self._at = 0

    def parse(self) -> tuple[Test, ...]:
        if not self._symbols:
            return ()
        tests = [self._requirement("found '{}', expected: !, identifier, or 'end of string'")]
        while (symbol := self._next()) == ",":
            tests.append(self._requirement("found '{}', expected: identifier after ','"))
        if symbol:
            raise bad_request(f"found '{symbol}', expected: ',' or 'end of string'")
        return tuple(tests)

    def _requirement(self, problem: str) -> Test:
        symbol = self._next()
        if symbol == "!":
            key = self._key(self._next())
            return lambda labels: key not in labels
        if not _is_word(symbol):
            raise bad_request(problem.format(symbol))
        key = self._key(symbol)
        operator = self._peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self._at += 1
        return self._comparison(key, operator)

    def _comparison(self, key: str, operator: str) -> Test:
        if operator in ("=", "=="):
            value = self._value()
            return lambda labels: labels.get(key) == value
        if operator == "!=":
            value = self._value()
            return lambda labels: labels.get(key) != value
        if operator == "in":
            values = self._values()
            return lambda labels: labels.get(key) in values
        if operator == "notin":
            values = self._values()
            return lambda labels: labels.get(key) not in values
        raise bad_request(f"unable to parse requirement: found '{operator}', expected: {_OPERATORS}")

    def _key(self, symbol: str) -> str:
        if not label_name_is_valid(symbol):
            raise bad_request(f'unable to parse requirement: <nil>: Invalid value: "{symbol}": {NAME_PROBLEM}')
        return symbol

    def _value(self) -> str:
        return self._next() if _is_word(self._peek()) else ""

    def _values(self) -> frozenset[str]:
        if (opening := self._next()) != "(":
            raise bad_request(f"unable to parse requirement: found '{opening}' expected: '('")
        values = [self._value()]
        while (symbol := self._next()) == ",":
            values.append(self._value())
        if symbol != ")":
            raise bad_request(f"unable to parse requirement: found '{symbol}', expected: ',' or ')'")
        return frozenset(values)

    def _peek(self) -> str:
        return self._symbols[self._at] if self._at < len(self._symbols) else ""

    def _next(self) -> str:
        symbol = self._peek()
        self._at += 1
        return symbol


def _is_word(symbol: str) -> bool:
    return bool(symbol) and symbol not in ("=", "==", "!=", "!", "(", ")", ",")


def _parse_fields(kind: Kind, text: str) -> tuple[tuple[str, str, bool], ...]:
    terms = []
    for term in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|!=|=)(.*)", term)
        if match is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, operator, value = match.groups()
        if path not in _COMMON_FIELDS | _FIELDS.get(kind, frozenset()):
            raise bad_request(_unknown_field(kind, path))
        terms.append((path, value, operator != "!="))
    return tuple(terms)


def _unknown_field(kind: Kind, path: str) -> str:
    if kind.custom or not kind.group:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _field_value(obj: Object, path: str) -> str:
    section, _, name = path.partition(".")
    return str((obj.get(section) or {}).get(name) or "")
