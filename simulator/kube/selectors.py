"""Label selectors, and the two selectors of a list or a watch together: which objects it is about."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from simulator.kube.field_selectors import FieldTest, field_tests, parse_field_terms
from simulator.kube.kinds import Kind, Object
from simulator.kube.status import ApiFailure, bad_request

NAME_PATTERN = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
"""The part of a label's key after the "/"; also a label's value, which may be empty."""

NAME_PROBLEM = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    f"'{NAME_PATTERN}')"
)
_KEY_PROBLEM = NAME_PROBLEM.replace("name part", "a valid label key", 1) + (
    " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_PREFIX_PROBLEM = (
    "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SUBDOMAIN}')"
)
_VALUE_PROBLEM = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'({NAME_PATTERN})?')"
)
_MAX_NAME = 63
_MAX_PREFIX = 253
_MAX_INT64 = 2**63 - 1

_SYMBOL = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SPECIAL = ("=", "==", "!=", "!", "(", ")", ",", "<", ">")
_COMPARISONS = ("=", "==", "!=", "<", ">")
_OPERATORS = "in, notin, =, ==, !=, gt, lt"

Test = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed label selector and field selector; an empty one takes every object."""

    labels: tuple[Test, ...] = ()
    fields: tuple[FieldTest, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it takes every object."""
        return not self.labels and not self.fields

    @property
    def is_of_one_name(self) -> bool:
        """Whether it takes objects of one name only."""
        return any(test.path == "metadata.name" and test.wanted for test in self.fields)

    def matches(self, obj: Object) -> bool:
        """Whether the object is selected."""
        if self.is_empty:
            return True
        labels = obj["metadata"].get("labels") or {}
        return all(test(labels) for test in self.labels) and all(test.passes(obj) for test in self.fields)


def parse_selector(kind: Kind, label_selector: str, field_selector: str, selectable: Collection[str] = ()) -> Selector:
    """Parse both selectors of a request; `selectable` are the fields that a custom resource adds to the common ones.

    Raises:
        ApiFailure: 400; the message says what was found and what was expected, or which field is not supported.
    """
    labels = parse_label_selector(label_selector)
    return Selector(labels, field_tests(kind, parse_field_terms(field_selector), selectable))


def parse_label_selector(text: str) -> tuple[Test, ...]:
    """The tests that an object's labels must all pass (400)."""
    return _LabelParser(text).parse()


def label_name_is_valid(key: str) -> bool:
    """Whether the key's part after an optional prefix is well-formed and at most 63 characters long."""
    name = key.rpartition("/")[2]
    return len(name) <= _MAX_NAME and re.fullmatch(NAME_PATTERN, name) is not None


def label_key_problems(key: str) -> list[str]:
    """What is wrong with the key of a label, an annotation or a finalizer."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [_KEY_PROBLEM]
    problems = []
    if slash and not prefix:
        problems.append("prefix part must be non-empty")
    elif slash:
        if len(prefix) > _MAX_PREFIX:
            problems.append(f"prefix part must be no more than {_MAX_PREFIX} bytes")
        if not re.fullmatch(_SUBDOMAIN, prefix):
            problems.append(_PREFIX_PROBLEM)
    if not name:
        problems.append("name part must be non-empty")
    elif len(name.encode()) > _MAX_NAME:
        problems.append(f"name part must be no more than {_MAX_NAME} bytes")
    if not re.fullmatch(NAME_PATTERN, name):
        problems.append(NAME_PROBLEM)
    return problems


def label_value_problems(value: str) -> list[str]:
    """What is wrong with the value of a label."""
    problems = []
    if len(value.encode()) > _MAX_NAME:
        problems.append(f"must be no more than {_MAX_NAME} bytes")
    if value and not re.fullmatch(NAME_PATTERN, value):
        problems.append(_VALUE_PROBLEM)
    return problems


class _LabelParser:
    """Recursive descent over `key`, `!key`, `key = value`, `key > 1`, `key in (a, b)`, joined by commas."""

    def __init__(self, text: str) -> None:
        self._symbols: list[str] = _SYMBOL.findall(text)
        self._at = 0

    def parse(self) -> tuple[Test, ...]:
        tests: list[Test] = []
        problem = "found '{}', expected: !, identifier, or 'end of string'"
        if not self._peek():
            return ()
        while True:
            if not (_is_word(self._peek()) or self._peek() == "!"):
                raise bad_request(problem.format(self._peek()))
            tests.append(self._requirement())
            symbol = self._next()
            if not symbol:
                return tuple(tests)
            if symbol != ",":
                raise bad_request(f"found '{symbol}', expected: ',' or 'end of string'")
            problem = "found '{}', expected: identifier after ','"

    def _requirement(self) -> Test:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = self._word()
        if problems := label_key_problems(key):
            raise _unparsable(f'<nil>: Invalid value: "{key}": {"; ".join(problems)}')
        if absent:
            return lambda labels: key not in labels
        if self._peek() in ("", ","):
            return lambda labels: key in labels
        operator = self._next()
        if operator in ("in", "notin"):
            return _membership(key, operator, self._values())
        if operator in _COMPARISONS:
            return _comparison(key, operator, "" if self._peek() in ("", ",") else self._word())
        raise _unparsable(f"found '{operator}', expected: {_OPERATORS}")

    def _values(self) -> frozenset[str]:
        if (opening := self._next()) != "(":
            raise _unparsable(f"found '{opening}' expected: '('")
        if not (_is_word(self._peek()) or self._peek() in (",", ")")):
            raise _unparsable(f"found '{self._peek()}', expected: ',', ')' or identifier")
        values = {self._optional_word()}
        while (symbol := self._next()) == ",":
            if self._peek() not in (",", ")") and not _is_word(self._peek()):
                raise _unparsable(f"found '{self._peek()}', expected: ',', or identifier")
            values.add(self._optional_word())
        if symbol != ")":
            raise _unparsable(f"found '{symbol}', expected: ',' or ')'")
        return frozenset(values)

    def _word(self) -> str:
        symbol = self._next()
        if not _is_word(symbol):
            raise _unparsable(f"found '{symbol}', expected: identifier")
        return symbol

    def _optional_word(self) -> str:
        return self._next() if _is_word(self._peek()) else ""

    def _peek(self) -> str:
        return self._symbols[self._at] if self._at < len(self._symbols) else ""

    def _next(self) -> str:
        symbol = self._peek()
        self._at += 1
        return symbol


def _membership(key: str, operator: str, values: frozenset[str]) -> Test:
    _check_values(key, sorted(values))
    if operator == "in":
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _comparison(key: str, operator: str, value: str) -> Test:
    if operator in ("<", ">"):
        return _order(key, operator, value)
    _check_values(key, [value])
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _order(key: str, operator: str, value: str) -> Test:
    bound = _int64(value)
    if bound is None:
        problem = "for 'Gt', 'Lt' operators, the value must be an integer"
        raise _unparsable(f'values[0]: Invalid value: "{value}": {problem}')

    def test(labels: Mapping[str, str]) -> bool:
        number = _int64(labels.get(key, ""))
        return number is not None and (number > bound if operator == ">" else number < bound)

    return test


def _int64(text: str) -> int | None:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        return None
    number = int(text)
    return number if -_MAX_INT64 - 1 <= number <= _MAX_INT64 else None


def _check_values(key: str, values: list[str]) -> None:
    causes = [
        f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(problems)}'
        for index, value in enumerate(values)
        if (problems := label_value_problems(value))
    ]
    if causes:
        raise _unparsable(causes[0] if len(causes) == 1 else f"[{', '.join(causes)}]")


def _unparsable(problem: str) -> ApiFailure:
    return bad_request(f"unable to parse requirement: {problem}")


def _is_word(symbol: str) -> bool:
    return bool(symbol) and symbol not in _SPECIAL
