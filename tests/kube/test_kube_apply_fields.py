"""Sets of fields: their algebra, and FieldsV1."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kube.apply.fields import (
    FieldSet,
    Path,
    from_fields_v1,
    is_touched,
    keyed_item,
    path_text,
    set_item,
    to_fields_v1,
)

STEPS = st.sampled_from(["f:a", "f:b", "f:c", keyed_item({"name": "x"}), keyed_item({"port": 9}), set_item("v")])
PATHS = st.lists(STEPS, min_size=1, max_size=4).map(tuple)
SETS = st.lists(PATHS, max_size=8).map(lambda paths: set(paths))


def as_set(paths: set[Path]) -> FieldSet:
    return FieldSet(paths)


@given(SETS)
def test_fields_v1_round_trip(paths: set[Path]) -> None:
    assert set(from_fields_v1(to_fields_v1(as_set(paths))).paths()) == paths


@given(SETS, SETS)
def test_the_algebra_is_that_of_sets_of_paths(one: set[Path], other: set[Path]) -> None:
    left, right = as_set(one), as_set(other)
    assert set((left | right).paths()) == one | other
    assert set((left & right).paths()) == one & other
    assert set((left - right).paths()) == one - other
    assert set(left.without(right).paths()) == {
        path for path in one if not any(path[:length] in other for length in range(1, len(path) + 1))
    }
    assert bool(left) is bool(one)


@given(SETS, SETS)
def test_is_touched_tells_whether_two_sets_meet(one: set[Path], other: set[Path]) -> None:
    assert is_touched(to_fields_v1(as_set(one)), as_set(other)) is bool(one & other)


@given(SETS, PATHS)
def test_membership(paths: set[Path], path: Path) -> None:
    assert (path in as_set(paths)) is (path in paths)


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ({}, []),
        ({"f:spec": {}}, [("f:spec",)]),
        ({"f:spec": {"f:gpu": {}}}, [("f:spec", "f:gpu")]),
        ({"f:spec": {".": {}, "f:gpu": {}}}, [("f:spec",), ("f:spec", "f:gpu")]),
        ({"x:new": {}, "f:a": {}}, [("f:a",)]),
        ({'k:{ "b": 1, "a": 2 }': {}}, [('k:{"a":2,"b":1}',)]),
    ],
)
def test_reading_fields_v1(value: Any, paths: list[Path]) -> None:
    assert list(from_fields_v1(value).paths()) == paths


@pytest.mark.parametrize("value", [{"f": {}}, {"nocolon": {}}, {"k:{": {}}, [], {"f:a": 1}])
def test_what_is_no_fields_v1(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_fields_v1(value)


def test_paths_come_in_the_order_of_the_real_server() -> None:
    fields = FieldSet(
        [
            (keyed_item({"port": 443}),),
            (keyed_item({"port": 80}),),
            ("f:b", "f:x"),
            ("f:c",),
            ("f:a",),
            (set_item("v"),),
        ]
    )
    assert [path_text(path) for path in fields.paths()] == [".a", ".c", "[port=80]", "[port=443]", '[="v"]', ".b.x"]


def test_the_text_of_a_path() -> None:
    path = ("f:spec", "f:ports", keyed_item({"protocol": "TCP", "containerPort": 80}), "f:name")
    assert path_text(path) == '.spec.ports[containerPort=80,protocol="TCP"].name'
    assert path_text(("f:a", "i:3")) == ".a[3]"
