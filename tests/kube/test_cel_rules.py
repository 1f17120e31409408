"""Rules of custom kinds in CEL: which are looked at when an object is written, and what breaking one leads to."""

import subprocess
import sys
from typing import Any

import pytest

from simulator.kube.cel import rules
from simulator.kube.cel.rule_definitions import expression_causes
from simulator.kube.cel.rules import rule_findings
from simulator.kube.kinds import CUSTOM_RESOURCE_DEFINITION, Kind, Object
from simulator.kube.patching.merge import merge_patch
from simulator.kube.schema.load import schema_of_crd
from simulator.kube.schema.structure import structure_causes
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample

THINGS = "things.example.com"
NUMBER = {"type": "integer"}


def ruled(schema: Object, *expressions: str, **more: Any) -> Object:
    return {**schema, "x-kubernetes-validations": [{"rule": expression, **more} for expression in expressions]}


def listed(items: Object, list_type: str) -> Object:
    keys = {"x-kubernetes-list-map-keys": ["k"]} if list_type == "map" else {}
    return {"type": "array", "items": items, "x-kubernetes-list-type": list_type, **keys}


def of_fields(**fields: Any) -> Object:
    return {"type": "object", "properties": fields}


def found(schema: Object, new: Any, old: Any = None) -> list[str]:
    findings = rule_findings(schema_of_crd(schema), new, old, at="spec", is_resource=False)
    return [cause.field for cause in findings.causes]


def defined(store: ResourceStore, spec: Object) -> Kind:
    definition = sample(CUSTOM_RESOURCE_DEFINITION)
    [version] = definition["spec"]["versions"]
    schema = of_fields(spec=spec, status=ruled(of_fields(ready=NUMBER), "self.ready >= 0"))
    versions = [{**version, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}}}]
    store.create(CUSTOM_RESOURCE_DEFINITION, merge_patch(definition, {"spec": {"versions": versions}}))
    return next(served.kind for served in store.registry if served.kind.kind == "Thing")


def thing(spec: Object, **more: Any) -> Object:
    return {"metadata": {"name": "t"}, "spec": spec, **more}


def test_rules_are_looked_at_wherever_they_stand() -> None:
    item = ruled(of_fields(k={"type": "string"}, v=ruled(NUMBER, "self < 3")), "self.v != 2")
    schema = ruled(
        of_fields(
            items=ruled(listed(item, "map"), "self.size() < 3"),
            sizes={"type": "object", "additionalProperties": ruled(NUMBER, "self > 0")},
        ),
        "has(self.items)",
    )
    assert found(schema, {"items": [{"k": "a", "v": 2}, {"k": "b", "v": 3}], "sizes": {"x": 1, "y": 0}}) == [
        "spec.items[0]",
        "spec.items[1].v",
        "spec.sizes[y]",
    ]
    assert found(schema, {}) == ["spec"]


@pytest.mark.parametrize(
    ("new", "old", "fields"),
    [
        ({"items": [{"k": "a", "v": 1}]}, None, []),
        ({"items": [{"k": "b", "v": 1}, {"k": "a", "v": 1}]}, {"items": [{"k": "a", "v": 2}]}, ["spec.items[1].v"]),
        ({"sizes": {"x": 1, "y": 1}}, {"sizes": {"x": 2}}, ["spec.sizes[x]"]),
        ({"names": ["b", "a"]}, {"names": ["a", "b"]}, []),
        ({"names": ["b", "c"]}, {"names": ["a", "b"]}, ["spec.names"]),
    ],
)
def test_a_value_is_compared_with_what_it_was(new: Object, old: Object | None, fields: list[str]) -> None:
    growing = ruled(NUMBER, "self >= oldSelf")
    schema = of_fields(
        items=listed(of_fields(k={"type": "string"}, v=growing), "map"),
        sizes={"type": "object", "additionalProperties": growing},
        names=ruled(listed({"type": "string"}, "set"), "self == oldSelf"),
    )
    assert found(schema, new, old) == fields


def test_what_an_update_leaves_as_it_was_is_only_warned_of() -> None:
    schema = schema_of_crd(of_fields(a=ruled(NUMBER, "self > 0"), b=NUMBER))
    kept = rule_findings(schema, {"a": 0, "b": 2}, {"a": 0, "b": 1})
    assert (kept.causes, kept.warnings) == ([], ["a: Invalid value: 0: failed rule: self > 0"])
    changed = rule_findings(schema, {"a": -1, "b": 1}, {"a": 0, "b": 1})
    assert [cause.field for cause in changed.causes] == ["a"]
    assert changed.warnings == []


def test_looking_at_rules_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_SECONDS", -1)
    schema = {"type": "array", "items": ruled(NUMBER, "self > 0")}
    findings = rule_findings(schema_of_crd(schema), [1, 0, 0, 0], at="spec", is_resource=False)
    assert [cause.message for cause in findings.causes] == [
        'Invalid value: "integer": validation failed due to running out of cost budget, no further validation rules '
        "will be run",
    ]


def test_a_duration_beyond_all_is_a_text() -> None:
    schema = of_fields(a=ruled({"type": "string", "format": "duration"}, "type(self) == string"))
    assert found(schema, {"a": "99999999999999h"}) == []


def test_rules_of_an_object_with_too_many_fields_are_refused() -> None:
    schema = ruled(of_fields(**{f"p{number}": {"type": "string"} for number in range(20_000)}), "true")
    assert [cause.reason for cause in expression_causes(schema, "spec", ())] == ["InternalError"]


def test_every_write_of_an_object_is_held_against_the_rules(store: ResourceStore) -> None:
    kind = defined(store, ruled(of_fields(a=NUMBER), "self.a > 0"))
    with pytest.raises(ApiFailure, match=r"spec: Invalid value: failed rule: self\.a > 0") as refused:
        store.create(kind, thing({"a": 0}), NS)
    assert refused.value.code == 422
    held = store.create(kind, thing({"a": 1}), NS)
    with pytest.raises(ApiFailure, match="failed rule"):
        store.update(kind, merge_patch(held, {"spec": {"a": 0}}), NS)
    with pytest.raises(ApiFailure, match=r"status: Invalid value: failed rule: self\.ready >= 0"):
        store.update_status(kind, merge_patch(held, {"status": {"ready": -1}}), NS)
    assert store.get(kind, "t", NS) == held


def test_rules_wait_until_an_object_has_its_form(store: ResourceStore) -> None:
    kind = defined(store, ruled({**of_fields(a=NUMBER), "required": ["a"]}, "self.a > 0"))
    with pytest.raises(ApiFailure, match="some validation rules were not checked") as refused:
        store.create(kind, thing({}), NS)
    assert "failed rule" not in str(refused.value)


def test_a_rule_that_cannot_be_evaluated_is_refused_with_its_definition(store: ResourceStore) -> None:
    with pytest.raises(ApiFailure, match="undefined field 'b'") as refused:
        defined(store, ruled(of_fields(a=NUMBER), "self.b > 0"))
    assert refused.value.code == 422
    assert not store.holds(CUSTOM_RESOURCE_DEFINITION, THINGS)


@pytest.mark.parametrize(
    ("schema", "fields"),
    [
        (ruled(NUMBER, "self == oldSelf"), []),
        (listed(ruled(NUMBER, "self == oldSelf"), "set"), ["items.x-kubernetes-validations[0].rule"]),
        (ruled(NUMBER, "true", optionalOldSelf=True), ["x-kubernetes-validations[0].optionalOldSelf"]),
        (ruled(NUMBER, "true", fieldPath=".a"), ["x-kubernetes-validations[0].fieldPath"]),
        (ruled(of_fields(a=NUMBER), "true", fieldPath=".a", messageExpression="1"), [
            "x-kubernetes-validations[0].messageExpression"]),
        (ruled({"x-kubernetes-preserve-unknown-fields": True}, "true"), ["x-kubernetes-validations"]),
        ({**NUMBER, "not": ruled({}, "true")}, ["not.x-kubernetes-validations"]),
        (ruled(of_fields(a={"type": "odd"}), "self.x"), ["properties[a].type"]),
        (of_fields(a={"type": "odd"}, b=ruled(NUMBER, "self")), [
            "properties[a].type", "properties[b].x-kubernetes-validations[0].rule"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_rules_of_a_definition(schema: Object, fields: list[str]) -> None:
    causes = structure_causes(of_fields(spec=schema), "s")
    assert [cause.field.removeprefix("s.properties[spec].") for cause in causes] == fields


def test_a_default_that_breaks_a_rule_is_refused() -> None:
    inner = {**ruled(of_fields(b=NUMBER), "self.b != 2"), "default": {}}
    [cause] = structure_causes(of_fields(spec=of_fields(o=inner)), "s")
    assert cause.field == "s.properties[spec].properties[o].default"
    assert cause.message == 'Invalid value: "object": no such key: b evaluating rule: self.b != 2'


def test_the_library_is_loaded_only_for_a_definition_that_has_rules() -> None:
    program = "import sys, simulator.kube.server; print('cel_expr_python' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "False\n"
