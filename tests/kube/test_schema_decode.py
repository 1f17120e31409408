"""What becomes of bodies: the answers of a real Kubernetes 1.36.2 to each, and the recorded exchanges.

`schema_golden/decode.jsonl` and `custom.jsonl` hold bodies that were posted there, with the message of the refusal, or
the warnings of an answer that was none.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.crds import served_by, with_crd_defaults
from simulator.kube.kinds import CONFIG_MAP, DEPLOYMENT, LEASE, POD, Kind, Object
from simulator.kube.registry import Served
from simulator.kube.schema.builtin import builtin_schema
from simulator.kube.schema.decode import check_identity, decode, decode_value, parsed_body
from simulator.kube.schema.defaulting import with_defaults
from simulator.kube.schema.go_json import DecodeError, plain
from simulator.kube.status import ApiFailure

GOLDEN = Path(__file__).parent / "schema_golden"
KINDS = {kind.kind: kind for kind in (CONFIG_MAP, POD, DEPLOYMENT, LEASE)}


def cases(name: str) -> list[Any]:
    return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def probe() -> Served:
    crd, _ = parsed_body((GOLDEN / "probe-crd.yaml").read_bytes(), "application/yaml")
    [served] = served_by(with_crd_defaults(plain(crd)))
    return served


def refusal(kind: Kind, body: bytes, *, media_type: str = "application/json", validation: Any = "Warn") -> str:
    with pytest.raises(ApiFailure) as failure:
        decode(kind, builtin_schema(kind), body, media_type, validation)
    assert failure.value.code == 400
    return str(failure.value)


@pytest.mark.parametrize("case", cases("decode.jsonl"), ids=lambda case: case["body"][:60])
def test_body_of_a_built_in_kind(case: Any) -> None:
    kind, body = KINDS[case["kind"]], case["body"].encode()
    if "message" in case:
        assert refusal(kind, body) == case["message"]
        return
    _, warnings = decode(kind, builtin_schema(kind), body, "application/json", "Warn")
    assert warnings == case["warnings"]
    if "strict" in case:
        assert refusal(kind, body, validation="Strict") == case["strict"]
        assert decode(kind, builtin_schema(kind), body, "application/json", "Ignore")[1] == []


@pytest.mark.parametrize("case", cases("custom.jsonl"), ids=lambda case: case["body"][:80])
def test_body_of_a_custom_kind(case: Any, probe: Served) -> None:
    body = case["body"].encode()
    if "message" in case:
        with pytest.raises(ApiFailure) as failure:
            decode(probe.kind, probe.schema, body, "application/json", "Warn")
        assert str(failure.value) == case["message"]
        assert list(failure.value.warnings) == case["warnings"]
        return
    obj, warnings = decode(probe.kind, probe.schema, body, "application/json", "Warn")
    assert warnings == case["warnings"]
    assert with_defaults(probe.schema, obj)["spec"] == case["spec"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a: b: c", "yaml: mapping values are not allowed in this context (613a20623a2063)"),
        ("metadata: {name: x", "yaml: line 1: did not find expected ',' or '}' (6d657461646174613a207b6e616d653a2078)"),
    ],
)
def test_text_that_is_no_yaml(body: str, message: str) -> None:
    told = refusal(CONFIG_MAP, body.encode(), media_type="application/yaml")
    assert told == f"the object provided is unrecognized (must be of type ConfigMap): {message}"


def test_yaml_has_the_words_and_types_of_version_1_1() -> None:
    body = (
        b"metadata: {name: x, creationTimestamp: 2020-01-01T00:00:00Z}\ndata: {on: '1', 5: b, c: 2020-01-01}\n---\nx: y"
    )
    obj, warnings = decode(CONFIG_MAP, builtin_schema(CONFIG_MAP), body, "application/yaml", "Warn")
    assert obj == {
        "metadata": {"name": "x", "creationTimestamp": "2020-01-01T00:00:00Z"},
        "data": {"true": "1", "5": "b", "c": "2020-01-01"},
    }
    assert warnings == []
    number = refusal(CONFIG_MAP, b"data: {a: yes}", media_type="application/yaml")
    assert number.endswith("json: cannot unmarshal bool into Go struct field ConfigMap.data of type string")


def test_a_name_that_yaml_has_twice_is_told_by_its_line() -> None:
    told = refusal(
        CONFIG_MAP,
        b'metadata: {name: x}\ndata: \n  a: "1"\n  a: "2"',
        media_type="application/yaml",
        validation="Strict",
    )
    assert told == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n'
        '  line 4: key "a" already set in map'
    )


def test_other_media_types_are_not_read() -> None:
    with pytest.raises(ApiFailure) as failure:
        decode(CONFIG_MAP, builtin_schema(CONFIG_MAP), b"{}", "text/plain", "Warn")
    assert failure.value.code == 415


def test_a_body_without_media_type_is_json() -> None:
    obj, _ = decode(CONFIG_MAP, builtin_schema(CONFIG_MAP), b'{"metadata":{"name":"x"}}', "", "Warn")
    assert obj == {"metadata": {"name": "x"}}


def test_nested_too_deeply_is_refused() -> None:
    assert "exceeded max depth" in refusal(CONFIG_MAP, b"[" * 100_000)


def test_whole_numbers_are_stored_whole(probe: Served) -> None:
    body = b'{"apiVersion":"ks.example.com/v1","kind":"Probe","metadata":{},"spec":{"i":4.0,"obj":{"a":[1e3,1.5]}}}'
    obj, _ = decode(probe.kind, probe.schema, body, "application/json", "Warn")
    assert json.dumps(obj["spec"]) == '{"i": 4, "obj": {"a": [1000, 1.5]}}'


def test_a_patched_object_is_read_like_a_body(probe: Served) -> None:
    with pytest.raises(DecodeError, match="cannot unmarshal string into Go struct field DeploymentSpec"):
        decode_value(DEPLOYMENT, builtin_schema(DEPLOYMENT), {"spec": {"replicas": "two"}})
    obj, findings = decode_value(probe.kind, probe.schema, {"kind": "Probe", "spec": {"x": 1}})
    assert (obj, findings) == ({"kind": "Probe", "spec": {}}, ['unknown field "spec.x"'])


def test_reading_does_not_change_what_was_sent(probe: Served) -> None:
    sent: Object = {"kind": "Probe", "metadata": {"name": "x", "labels": {}}, "spec": {"x": 1, "m2": [{"p": 1}]}}
    before = json.dumps(sent)
    obj, _ = decode_value(probe.kind, probe.schema, sent)
    with_defaults(probe.schema, obj)
    assert json.dumps(sent) == before


@pytest.mark.parametrize(
    ("metadata", "name", "problem"),
    [
        ({"name": "a", "namespace": "n"}, "a", ""),
        ({"name": "a"}, None, ""),
        (
            {"name": "a", "namespace": "m"},
            None,
            "the namespace of the provided object does not match the namespace sent",
        ),
        ({}, "a", "the name of the object (a based on URL) was undeterminable: name must be provided"),
        ({"name": "b"}, "a", "the name of the object (b) does not match the name on the URL (a)"),
    ],
)
def test_an_object_belongs_to_its_path(metadata: Object, name: str | None, problem: str) -> None:
    if not problem:
        check_identity(CONFIG_MAP, {"metadata": metadata}, "n", name)
        return
    with pytest.raises(ApiFailure) as failure:
        check_identity(CONFIG_MAP, {"metadata": metadata}, "n", name)
    assert str(failure.value).startswith(problem)
