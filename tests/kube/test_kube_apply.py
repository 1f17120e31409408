"""Server-side apply: what an applied configuration makes of an object, and who has its fields then."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.kube.apply.last_applied import ANNOTATION
from simulator.kube.kinds import Object
from simulator.kube.status import ApiFailure
from tests.kube.apply_world import apply, deployment, managers, unit, update


def failure_of(old: Object | None, config: Object, manager: str = "one", **options: Any) -> Object:
    with pytest.raises(ApiFailure) as caught:
        apply(old, config, manager, **options)
    return caught.value.body


def test_what_a_manager_leaves_out_goes_unless_another_has_it() -> None:
    first = apply(None, unit({"specName": "s", "gpu": 1, "image": "i"}), "one")
    shared = apply(first, unit({"specName": "s", "gpu": 1}), "two")
    left = apply(shared, unit({"specName": "s"}), "one")
    assert left["spec"] == {"specName": "s", "gpu": 1}
    assert apply(left, unit({"specName": "s"}), "two")["spec"] == {"specName": "s"}


def test_what_an_updater_set_stays() -> None:
    first = apply(None, unit({"specName": "s", "gpu": 1}), "one")
    edited = update(first, {**first, "spec": {"specName": "s", "gpu": 1, "image": "i"}}, "editor")
    assert apply(edited, unit({"specName": "s"}), "one")["spec"] == {"specName": "s", "image": "i"}


def test_a_conflict_names_the_manager_and_the_field() -> None:
    first = apply(None, unit({"specName": "s", "gpu": 1}), "one")
    body = failure_of(first, unit({"specName": "t", "gpu": 2}), "two")
    assert body["code"] == 409
    assert body["message"] == 'Apply failed with 2 conflicts: conflicts with "one":\n- .spec.gpu\n- .spec.specName'
    forced = apply(first, unit({"gpu": 2, "specName": "s"}), "two", force=True)
    assert managers(forced) == {
        "one": {"f:spec": {"f:specName": {}}},
        "two": {"f:spec": {"f:gpu": {}, "f:specName": {}}},
    }


def test_items_of_a_list_are_merged_by_their_key() -> None:
    first = apply(None, unit({"specName": "s", "template": {"ports": [{"name": "a", "port": 1}]}}), "one")
    both = apply(first, unit({"template": {"ports": [{"name": "b", "port": 2}]}}), "two")
    assert [port["name"] for port in both["spec"]["template"]["ports"]] == ["a", "b"]
    one_left = apply(both, unit({"specName": "s"}), "one")
    assert [port["name"] for port in one_left["spec"]["template"]["ports"]] == ["b"]


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("ab", "ba", "ba"),
        ("abc", "ca", "bca"),
        ("ab", "xb", "axb"),
        ("axb", "b", "axb"),
        ("a", "xay", "xay"),
        ("abcd", "dxa", "bcdxa"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
    ],
)
def test_the_order_of_a_merged_list(live: str, config: str, merged: str) -> None:
    def of(names: str) -> Object:
        return deployment(*({"name": name, "image": "i"} for name in names))

    obj = update(None, of(live), "maker")
    containers = apply(obj, of(config), "one")["spec"]["template"]["spec"]["containers"]
    assert "".join(container["name"] for container in containers) == merged


def test_a_set_is_merged_value_by_value() -> None:
    first = apply(None, unit({"specName": "s"}, finalizers=["x.io/a"]), "one")
    both = apply(first, unit({}, finalizers=["x.io/b"]), "two")
    assert both["metadata"]["finalizers"] == ["x.io/a", "x.io/b"]
    assert apply(both, unit({"specName": "s"}), "one")["metadata"]["finalizers"] == ["x.io/b"]


def test_an_atomic_list_has_one_manager() -> None:
    first = apply(None, unit({"specName": "s", "template": {"command": ["x"]}}), "one")
    body = failure_of(first, unit({"template": {"command": ["x", "y"]}}), "two")
    assert body["details"]["causes"][0]["field"] == ".spec.template.command"


def test_an_object_that_nobody_tracked_is_tracked_from_its_first_apply() -> None:
    old = unit({"specName": "s", "gpu": 1}, uid="uid-1")
    body = failure_of(old, unit({"gpu": 2}), "one")
    assert body["details"]["causes"][0]["message"].startswith('conflict with "before-first-apply" using ')


def test_an_apply_that_only_shares_fields_has_no_time() -> None:
    first = apply(None, unit({"specName": "s"}), "one")
    entries = apply(first, unit({"specName": "s"}), "two")["metadata"]["managedFields"]
    assert {entry["manager"]: "time" in entry for entry in entries} == {"one": True, "two": False}


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        ({"kind": "GPUUnit", "metadata": {}}, 400, "invalid object type: /, Kind=GPUUnit"),
        (unit({}, managedFields=[]), 400, "metadata.managedFields must be nil"),
        (unit({"nope": 1}), 500, ".spec.nope: field not declared in schema"),
        (unit({"gpu": "x"}), 500, ".spec.gpu: expected numeric (int or float), got string"),
        (unit({"specName": 1}), 500, ".spec.specName: expected string, got &value.valueUnstructured{Value:1}"),
        (unit({"template": "x"}), 500, ".spec.template: expected map, got &{x}"),
        (unit({"template": {"ports": {"a": 1}}}), 500, ".spec.template.ports: expected list, got &{map[a:1]}"),
        (unit({"template": {"ports": [{"name": "a"}, {"name": "a"}]}}), 500, 'duplicate entries for key [name="a"]'),
        (unit({"template": {"ports": [{"port": 1}]}}), 500, "omits all key fields"),
        (unit({"gpu": "x", "specName": 1}), 500, "errors:\n  .spec.gpu: "),
        (unit({}, uid="u-2"), 409, "uid mismatch: the provided object specified uid u-2"),
    ],
)
def test_a_configuration_that_is_refused(config: Object, code: int, message: str) -> None:
    with pytest.raises(ApiFailure) as caught:
        apply(None, {"apiVersion": "", **config})
    assert caught.value.code == code
    assert message in caught.value.body["message"]


def client_side_applied(spec: Object) -> Object:
    last = json.dumps(unit(spec))
    return update(None, unit(spec, annotations={ANNOTATION: last}), "kubectl-client-side-apply")


def test_kubectl_takes_over_what_it_applied_client_side() -> None:
    old = client_side_applied({"specName": "s", "gpu": 1})
    new = apply(old, unit({"specName": "s", "gpu": 2}), "kubectl")
    assert new["spec"]["gpu"] == 2
    assert json.loads(new["metadata"]["annotations"][ANNOTATION])["spec"] == {"specName": "s", "gpu": 2}
    assert failure_of(old, unit({"gpu": 2}), "another")["code"] == 409


def test_kubectl_does_not_take_over_what_others_changed_since() -> None:
    old = client_side_applied({"specName": "s", "gpu": 1})
    edited = update(old, {**old, "spec": {"specName": "s", "gpu": 5}}, "editor")
    assert failure_of(edited, unit({"gpu": 2, "specName": "t"}), "kubectl")["message"].startswith(
        'Apply failed with 1 conflict: conflict with "editor" using '
    )


NAMES = st.lists(st.sampled_from("abc"), unique=True)
# Empty lists and maps are left out: an empty one belongs to nobody, and the real server treats it as oddly as this one.
PORTS = NAMES.filter(bool).flatmap(
    lambda names: st.tuples(
        *(st.fixed_dictionaries({"name": st.just(name), "port": st.integers(1, 2)}) for name in names)
    )
)
SPECS = st.fixed_dictionaries(
    {"specName": st.sampled_from("st")},
    optional={
        "gpu": st.integers(0, 1),
        "template": st.fixed_dictionaries({"ports": PORTS.map(list)}, optional={"command": st.just(["x"])}),
    },
)
CONFIGS = st.builds(unit, SPECS, finalizers=NAMES.map(lambda names: [f"x.io/{name}" for name in names]))


@settings(max_examples=60, deadline=None)
@given(CONFIGS, CONFIGS, CONFIGS)
def test_applying_the_same_again_changes_nothing(one: Object, other: Object, third: Object) -> None:
    obj = apply(apply(apply(None, one, "one"), other, "two", force=True), third, "three", force=True)
    assert apply(obj, third, "three") == obj


@settings(max_examples=60, deadline=None)
@given(CONFIGS, CONFIGS)
def test_what_was_applied_is_there(one: Object, other: Object) -> None:
    obj = apply(apply(None, one, "one"), other, "two", force=True)
    assert contains(obj["spec"], other["spec"])
    assert set(other["metadata"]["finalizers"]) <= set(obj["metadata"].get("finalizers", ()))


@settings(max_examples=60, deadline=None)
@given(CONFIGS, CONFIGS)
def test_giving_everything_up_leaves_what_others_have(one: Object, other: Object) -> None:
    first = apply(None, one, "one")
    both = apply(first, other, "two", force=True)
    nothing = {name: value for name, value in unit({}).items() if name != "spec"}
    alone = apply(both, nothing, "two")
    fields = managers(both).get("one", {})
    assert managers(alone).get("one", {}) == fields
    assert "two" not in managers(alone)
    back = apply(alone, one, "one", force=True)
    assert contains(back["spec"], one["spec"])


def contains(value: Any, part: Any) -> bool:
    """Whether the value has everything that the part says."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(contains(value.get(name), held) for name, held in part.items())
    if isinstance(part, list) and all(isinstance(item, dict) for item in part):
        return all(any(contains(item, wanted) for item in value or []) for wanted in part)
    return bool(value == part)
