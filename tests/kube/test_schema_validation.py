"""Objects against the schema of their CustomResourceDefinition, and definitions against the rules for them.

`schema_golden/validation.jsonl` holds objects of `probe-crd.yaml`, and `crds.jsonl` definitions, that were posted to a
real Kubernetes 1.36.2, with what it stored or had against them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.crd_rules import crd_causes
from simulator.kube.crds import served_by, with_crd_defaults, with_stored_version
from simulator.kube.kinds import Object
from simulator.kube.registry import ScalePaths, Served
from simulator.kube.scaling import scale_causes, scale_of, with_scale
from simulator.kube.schema.decode import decode_value, parsed_body
from simulator.kube.schema.defaulting import with_defaults
from simulator.kube.schema.go_json import plain
from simulator.kube.schema.load import schema_of_crd
from simulator.kube.schema.validation import schema_causes
from simulator.kube.status import ApiFailure, Cause

GOLDEN = Path(__file__).parent / "schema_golden"


def cases(name: str) -> list[Any]:
    return [json.loads(line) for line in (GOLDEN / name).read_text().splitlines()]


def told(causes: list[Cause]) -> list[tuple[str, str, str]]:
    """The causes in an order of ours; that of the real server is random."""
    return sorted((cause.field, cause.reason, cause.message) for cause in causes)


def expected(case: Any) -> list[tuple[str, str, str]]:
    return sorted((cause["field"], cause["reason"], cause["message"]) for cause in case.get("causes", ()))


@pytest.fixture(scope="module")
def probe() -> Served:
    crd, _ = parsed_body((GOLDEN / "probe-crd.yaml").read_bytes(), "application/yaml")
    [served] = served_by(with_crd_defaults(plain(crd)))
    return served


@pytest.mark.parametrize("case", cases("validation.jsonl"), ids=lambda case: json.dumps(case["spec"])[:60])
def test_object_against_its_schema(case: Any, probe: Served) -> None:
    obj, _ = decode_value(probe.kind, probe.schema, {"metadata": {"name": "x"}, "spec": case["spec"]})
    obj = with_defaults(probe.schema, obj)
    assert probe.scale is not None
    causes = [*schema_causes(probe.schema, obj), *scale_causes(probe.scale, obj)]
    assert told(causes) == expected(case)
    if not causes:
        assert obj["spec"] == case["stored"]


@pytest.mark.parametrize("case", cases("crds.jsonl"), ids=lambda case: json.dumps(case["causes"])[:80])
def test_definition_against_the_rules(case: Any) -> None:
    crd = with_stored_version(with_crd_defaults(case["crd"]))
    assert told(crd_causes(crd)) == expected(case)


def test_values_that_stay_as_they_were_are_not_checked_again() -> None:
    schema = schema_of_crd(
        {
            "type": "object",
            "properties": {
                "a": {"type": "string", "maxLength": 1},
                "m": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "properties": {"v": {"type": "integer", "maximum": 1}}},
                },
            },
        }
    )
    old: Object = {"a": "xx", "m": [{"k": "1", "v": 5}, {"k": "2", "v": 5}]}
    assert schema_causes(schema, {**old, "b": 1}, old) == []
    assert [cause.field for cause in schema_causes(schema, {**old, "a": "yy"}, old)] == ["a"]
    moved: Object = {"a": "xx", "m": [{"k": "2", "v": 5}, {"k": "1", "v": 6}]}
    assert [cause.field for cause in schema_causes(schema, moved, old)] == ["m[1].v"]


def test_a_write_to_the_status_is_checked_within_it(probe: Served) -> None:
    obj: Object = {"spec": {"i": 1}, "status": {"phase": 5}}
    [cause] = schema_causes(probe.schema, obj, status_only=True)
    assert (cause.field, cause.message) == (
        "status.phase",
        'Invalid value: "integer": phase in body must be of type string: "integer"',
    )


@pytest.mark.parametrize("status_only", [False, True])
def test_lists_whose_items_already_did_not_differ_may_stay_so(status_only: bool) -> None:
    names = {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}
    schema = schema_of_crd({"type": "object", "properties": {"status": {"type": "object", "properties": {"l": names}}}})
    twice, once = {"status": {"l": ["a", "a"]}}, {"status": {"l": ["a"]}}
    found = schema_causes(schema, twice, once, status_only=status_only)
    assert told(found) == [("status.l[1]", "FieldValueDuplicate", 'Duplicate value: "a"')]
    assert schema_causes(schema, {"status": {"l": ["b", "b"]}}, twice, status_only=status_only) == []


def test_established_definitions_keep_scope_and_names() -> None:
    [case] = [case for case in cases("crds.jsonl") if not case["causes"]][:1]
    old = with_stored_version(with_crd_defaults(case["crd"]))
    old["status"]["conditions"] = [{"type": "Established", "status": "True"}]
    names = {**old["spec"]["names"], "kind": "Other", "plural": "others"}
    new = {**old, "spec": {**old["spec"], "scope": "Cluster", "names": names}}
    assert [cause.field for cause in crd_causes(new, old)] == ["spec.scope", "spec.names.kind", "spec.names.plural"]


def test_a_version_that_is_stored_must_stay() -> None:
    crd = cases("crds.jsonl")[0]["crd"]
    old = {**crd, "status": {"storedVersions": ["v1alpha1", "v1"]}}
    [cause] = crd_causes(with_stored_version(with_crd_defaults(crd), old), with_crd_defaults(old))
    assert cause.field == "status.storedVersions[0]"


SCALE = ScalePaths(".spec.replicas", ".status.replicas", ".status.selector")


def test_scale_shows_what_the_definition_says() -> None:
    obj: Object = {
        "metadata": {"name": "x", "namespace": "n", "labels": {"a": "b"}, "resourceVersion": "5"},
        "spec": {"replicas": 3},
        "status": {"replicas": 2, "selector": "a=b"},
    }
    scale = scale_of(SCALE, obj)
    assert scale["metadata"] == {"name": "x", "namespace": "n", "resourceVersion": "5"}
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, {"replicas": 2, "selector": "a=b"})
    assert with_scale(SCALE, obj, {"spec": {"replicas": 7}})["spec"] == {"replicas": 7}
    assert obj["spec"] == {"replicas": 3}


def test_there_is_no_scale_without_wanted_replicas() -> None:
    with pytest.raises(ApiFailure, match="does not exist") as failure:
        scale_of(SCALE, {"metadata": {}})
    assert failure.value.code == 500
