"""What a malformed selector is answered with, and the fields that each kind can be selected by."""

import pytest

from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    EVENT,
    GPUUNIT,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    Kind,
    Object,
)
from simulator.kube.selectors import parse_selector
from simulator.kube.status import ApiFailure


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a in (x y)", "unable to parse requirement: found 'y', expected: ',' or ')'"),
        ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a in (=)", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
        ("a in (x,=)", "unable to parse requirement: found '=', expected: ',', or identifier"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a in (x)b", "found 'b', expected: ',' or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!!a", "unable to parse requirement: found '!', expected: identifier"),
        ("a=>x", "unable to parse requirement: found '>', expected: identifier"),
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("a!b", "unable to parse requirement: found '!', expected: in, notin, =, ==, !=, gt, lt"),
        ("a gt 1", "unable to parse requirement: found 'gt', expected: in, notin, =, ==, !=, gt, lt"),
        (",", "found ',', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a>b", 'unable to parse requirement: values[0]: Invalid value: "b": for \'Gt\', \'Lt\' operators, '
                "the value must be an integer"),
        ("/a=1", 'unable to parse requirement: <nil>: Invalid value: "/a": prefix part must be non-empty'),
        ("a" * 64, f'unable to parse requirement: <nil>: Invalid value: "{"a" * 64}": '
                   "name part must be no more than 63 bytes"),
        (f"a={'b' * 64}", f'unable to parse requirement: values[0][a]: Invalid value: "{"b" * 64}": '
                          "must be no more than 63 bytes"),
    ],
)  # fmt: skip
def test_a_malformed_label_selector(text: str, problem: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        parse_selector(GPUUNIT, text, "")
    assert (failure.value.code, str(failure.value)) == (400, problem)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("a in (-x,_y)", 'unable to parse requirement: [values[0][a]: Invalid value: "-x": a valid label', "?')]"),
        (
            "A_/b=1",
            'unable to parse requirement: <nil>: Invalid value: "A_/b": prefix part a lowercase RFC 1123',
            "*')",
        ),
        ("a/b/c", 'unable to parse requirement: <nil>: Invalid value: "a/b/c": a valid label key must', "MyName')"),
    ],
)
def test_a_wrong_label(text: str, start: str, end: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        parse_selector(GPUUNIT, text, "")
    assert str(failure.value).startswith(start)
    assert str(failure.value).endswith(end)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("n>1", ["10", "5"]), ("n<10", ["-3", "5"]), ("n>-5,n<6", ["-3", "5"]), ("n in (,5)", ["", "5"]),
        ("n notin ()", ["-3", "10", "5", "x"]), ("in", []), ("n=", [""]),
    ],
)  # fmt: skip
def test_numbers_and_empty_values(text: str, taken: list[str]) -> None:
    selector = parse_selector(GPUUNIT, text, "")
    values = ["", "-3", "10", "5", "x"]
    assert [value for value in values if selector.matches({"metadata": {"labels": {"n": value}}})] == taken


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'"),
        ("b,a", "invalid selector: 'b,a'; can't understand 'a'"),
        ("spec.x=1,nonsense", "invalid selector: 'spec.x=1,nonsense'; can't understand 'nonsense'"),
        ("metadata.name=x=y", "invalid field selector: unescaped character in value: 61"),
        (r"metadata.name=x\z", r"invalid field selector: invalid escape sequence: \z"),
        ("metadata.name=x\\", "invalid field selector: invalid escape sequence: \\"),
        ("=x", "field label not supported: "),
    ],
)
def test_a_malformed_field_selector(text: str, problem: str) -> None:
    with pytest.raises(ApiFailure) as failure:
        parse_selector(GPUUNIT, "", text)
    assert (failure.value.code, str(failure.value)) == (400, problem)


@pytest.mark.parametrize("kind", [CONFIG_MAP, REPLICA_SET, CLUSTER_ROLE], ids=lambda kind: kind.kind)
def test_a_kind_without_fields_of_its_own(kind: Kind) -> None:
    assert parse_selector(kind, "", "metadata.namespace=x").fields
    with pytest.raises(
        ApiFailure, match=r'"spec\.x" is not a known field selector: only "metadata\.name", "metadata\.n'
    ):
        parse_selector(kind, "", "spec.x=1")


@pytest.mark.parametrize("kind", [NODE, NAMESPACE], ids=lambda kind: kind.kind)
def test_what_is_in_no_namespace_cannot_be_selected_by_it(kind: Kind) -> None:
    with pytest.raises(ApiFailure, match=r"field label not supported: metadata\.namespace"):
        parse_selector(kind, "", "metadata.namespace=x")


@pytest.mark.parametrize(
    ("kind", "text", "obj", "matches"),
    [
        (POD, "spec.nodeName=n", {"spec": {"nodeName": "n"}}, True),
        (POD, "spec.host=n", {"spec": {"nodeName": "n"}}, True),
        (POD, "spec.hostNetwork=false", {"spec": {}}, True),
        (POD, "spec.hostNetwork=true", {"spec": {"hostNetwork": True}}, True),
        (POD, "status.podIP=1.2.3.4", {"status": {"podIPs": [{"ip": "1.2.3.4"}]}}, True),
        (POD, "status.podIP=", {}, True),
        (POD, "status.phase!=Running", {"status": {"phase": "Running"}}, False),
        (SECRET, "type=Opaque", {"type": "Opaque"}, True),
        (SERVICE, "spec.clusterIP=None", {"spec": {"clusterIP": "None"}}, True),
        (NODE, "spec.unschedulable=false", {"spec": {}}, True),
        (NAMESPACE, "status.phase=Active", {"status": {"phase": "Active"}}, True),
        (EVENT, "source=k,type=Normal", {"source": {}, "reportingComponent": "k", "type": "Normal"}, True),
        (CONFIG_MAP, r"metadata.name=a\,b", {"metadata": {"name": "a,b"}}, True),
    ],
)
def test_fields(kind: Kind, text: str, obj: Object, matches: bool) -> None:
    assert parse_selector(kind, "", text).matches({"metadata": {}, **obj}) is matches


@pytest.mark.parametrize(
    ("text", "matches"), [("spec.n=7", True), ("spec.f=true", True), ("spec.f=", False), ("spec.none=", True)]
)
def test_the_selectable_fields_of_a_custom_resource(text: str, matches: bool) -> None:
    selector = parse_selector(GPUUNIT, "", text, selectable=("spec.n", "spec.f", "spec.none"))
    assert selector.matches({"metadata": {}, "spec": {"n": 7, "f": True}}) is matches
