"""Expressions of rules: what they evaluate to, and what is said of those that have no value."""

from typing import Any

import pytest

from simulator.kube.cel.declarations import Declarations
from simulator.kube.cel.expressions import BOOL, STRING, Checker, evaluated, optional, uses_old_self
from simulator.kube.cel.function import CelError
from simulator.kube.cel.names import names_of
from simulator.kube.schema.load import schema_of_crd

TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
LONG = "9" * 5000
"""More digits than Python makes a number of."""


def checker(schema: dict[str, Any], *, is_resource: bool = False, optional_old: bool = False) -> Checker:
    return Checker(Declarations(schema_of_crd(schema), is_resource=is_resource), optional_old=optional_old)


def of_fields(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[duration('1s'), duration('2s')].sum() == duration('3s')", True),
        ("[timestamp('2020-01-01T00:00:00Z')].min().getFullYear()", 2020),
        ("{'a': 1}.transformMap(k, v, v + 1)['a']", 2),
        ("'a1b22'.findAll('[0-9]+') == ['1', '22']", True),
        ("'a1b22'.findAll('([0-9])([0-9])?', 1) == ['1']", True),
        ("'aab'.findAll('b*') == ['', '', 'b']", True),
        (f"'{'a' * 40}!'.find('(a+)+$')", ""),
        (f"isQuantity('{LONG}') || isIP('1.2.3.{LONG}') || isSemver('{LONG}.0.0') || isURL('http://[::1')", False),
        ("url('https://u:p@h.example:8080/a b?x=1&x=2').getQuery() == {'x': ['1', '2']}", True),
        ("url('http://[::1]:80/').getHostname()", "::1"),
        ("quantity('1.5').add(1).isGreaterThan(quantity('2'))", True),
        ("quantity('1k').compareTo(quantity('1Ki'))", -1),
        ("string(cidr('10.0.0.1/8').masked())", "10.0.0.0/8"),
        ("cidr('10.0.0.0/8').containsIP(ip('10.1.2.3'))", True),
        ("cidr('::/0').containsCIDR('10.0.0.0/8')", False),
        ("semver('v1.2', true).isLessThan(semver('1.2.1-rc.1'))", True),
        ("semver('1.0.0-alpha.2').compareTo(semver('1.0.0-alpha.10'))", -1),
        ("format.dns1123Label().validate('A').hasValue()", True),
        ("format.named('nope').hasValue()", False),
        ("format.uuid().validate('A').value().size()", 1),
        ("optional.of(self).value()", 1),
        ("self < 1.5", True),
    ],
)
def test_the_value_of_an_expression(expression: str, value: Any) -> None:
    assert evaluated(expression, {"self": 1}) == value


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("self.b", "no such key: b"),
        ("self.a[999]", "index out of bounds: 999"),
        ("1 / 0", "division by zero"),
        ("self.a + 1", "no such overload"),
        ("self.a.all(x, self.a.all(y, x + y >= 0))", "operation cancelled: actual cost limit exceeded"),
        ("[].max()", "max called on empty list"),
        ("[9223372036854775807, 1].sum()", "integer overflow"),
        ("format.named('nope').value()", "optional.none() dereference"),
        ("'a'.find('(')", "error parsing regexp: missing closing ): `(`"),
        ("quantity('x')", "quantities must match the regular expression "
                            "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ("quantity('1.5').asInteger()", "cannot convert value to integer"),
        ("ip('::1').isLessThan(ip('::2'))", "no such overload"),
        ("url('https://h/%zz')", "URL parse error during conversion from string: parse \"https://h/%zz\": "
                                 'invalid URL escape "%zz"'),
        ("ip('::ffff:1.2.3.4')", 'IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed'),
        ("int('x')", "type conversion error from 'string' to 'int'"),
        ("'a'.matches('(x')", "error parsing regexp: missing closing ): `(x`"),
    ],
)  # fmt: skip
def test_why_an_expression_has_no_value(expression: str, problem: str) -> None:
    with pytest.raises(CelError) as raised:
        evaluated(expression, {"self": {"a": list(range(200))}})
    assert str(raised.value) == problem


def test_a_former_value_that_may_be_missing() -> None:
    for old, expected in ((None, "none"), (5, "5")):
        values = {"self": 1, "oldSelf": optional(old)}
        assert evaluated("oldSelf.hasValue() ? string(oldSelf.value()) : 'none'", values) == expected


@pytest.mark.parametrize(
    ("expression", "uses"),
    [
        ("self == oldSelf", True),
        ("self == 'oldSelf'", False),
        ("[1].all(oldSelf, oldSelf == self)", False),
        ("has(oldSelf.a)", True),
        ("self.oldSelf", False),
    ],
)
def test_whether_an_expression_compares_with_the_former_value(expression: str, uses: bool) -> None:
    assert uses_old_self(expression) is uses


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("a", ("a",)),
        ("namespace", ("__namespace__", "namespace")),
        ("a-b.c/d", ("a__dash__b__dot__c__slash__d",)),
        ("a__b", ("a__underscores__b",)),
        ("1a", ()),
        ("$x", ()),
        ("", ()),
    ],
)
def test_the_names_of_a_property(name: str, names: tuple[str, ...]) -> None:
    assert names_of(name) == names


FIELDS = of_fields(
    o=of_fields(b=NUMBER),
    l={"type": "array", "items": of_fields(b=NUMBER)},
    m={"type": "object", "additionalProperties": of_fields(b=NUMBER)},
    a_b={"type": "object", "additionalProperties": TEXT},
    aB={"type": "object", "additionalProperties": TEXT},
    namespace=TEXT,
    open={"x-kubernetes-preserve-unknown-fields": True},
    when={"type": "string", "format": "date-time"},
)


@pytest.mark.parametrize(
    "expression",
    [
        "self.o.b == 1 && self.l[0].b == 1 && self.m['a'].b == 1",
        "self.a_b['x'] == 'a' && self.aB['x'] == 'a'",
        "self.namespace == 'a' && self.__namespace__ == 'a'",
        "self.when > timestamp('2020-01-01T00:00:00Z')",
        "self.o.b < 1.5",
        "format.uuid().validate(self.namespace).orValue([]).size() == 0",
        "!self.?o.?b.hasValue() || self.l.indexOf(self.l[0]) == 0",
    ],
)
def test_an_expression_that_fits_its_schema(expression: str) -> None:
    assert checker(FIELDS).check(expression, BOOL)


@pytest.mark.parametrize(
    ("expression", "problem", "column"),
    [
        ("self.x == 1", "undefined field 'x'", 5),
        ("self.open == 1", "undefined field 'open'", 5),
        ("self.o['b'] == 1", "found no matching overload for '_[_]' applied to '(selfType.o, string)'", 7),
        ("self.l.b == 1", "type 'list(selfType.l.@idx)' does not support field selection", 7),
        ("self.m[1].b == 1", "found no matching overload for '_[_]' applied to "
                             "'(map(string, selfType.m.@elem), int)'", 7),
        ("self.when == 'a'", "found no matching overload for '_==_' applied to '(timestamp, string)'", 11),
        ("self.namespace.indexOf(1) == 1", "found no matching overload for 'indexOf' applied to 'string.(int)'", 23),
        ("x.y == 1", "undeclared reference to 'x' (in container '')", 1),
        ("quantity('1') + 1", "found no matching overload for '_+_' applied to '(kubernetes.Quantity, int)'", 15),
    ],
)  # fmt: skip
def test_an_expression_that_does_not_fit_its_schema(expression: str, problem: str, column: int) -> None:
    with pytest.raises(CelError) as raised:
        checker(FIELDS).check(expression, BOOL)
    shown = f"ERROR: <input>:1:{column}: {problem}\n | {expression}\n | {'.' * (column - 1)}^"
    assert str(raised.value) == shown


def test_a_resource_shows_of_its_metadata_its_names() -> None:
    root = checker(of_fields(), is_resource=True)
    assert root.check("self.metadata.name + self.metadata.generateName + self.kind", STRING)
    with pytest.raises(CelError, match="undefined field 'labels'"):
        root.check("self.metadata.labels == 1", BOOL)


def test_a_former_value_that_may_be_missing_has_a_type_of_its_own() -> None:
    assert checker(NUMBER, optional_old=True).check("oldSelf.orValue(5) == self", BOOL)
    with pytest.raises(CelError, match="applied to 'optional_type"):
        checker(NUMBER, optional_old=True).check("oldSelf.startsWith('a')", BOOL)


def test_the_type_of_an_expression() -> None:
    assert not checker(NUMBER).check("self + 1", BOOL)
