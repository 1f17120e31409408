"""How a delete is asked for."""

from typing import Any

import pytest

from simulator.kube.delete_options import delete_options
from simulator.kube.deletion import DeleteOptions
from simulator.kube.status import ApiFailure


@pytest.mark.parametrize(
    ("body", "query", "options"),
    [
        (None, {}, DeleteOptions()),
        ({}, {"gracePeriodSeconds": "5"}, DeleteOptions()),  # with a body, the parameters do not count
        (None, {"gracePeriodSeconds": "5", "propagationPolicy": "Orphan"},
         DeleteOptions(grace_period_s=5, propagation="Orphan")),
        (None, {"orphanDependents": "false"}, DeleteOptions(orphan_dependents=False)),
        ({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "u", "resourceVersion": "7"}}, {},
         DeleteOptions(uid="u", resource_version="7")),
        ({"dryRun": ["All"], "propagationPolicy": "Foreground"}, {},
         DeleteOptions(dry_run=True, propagation="Foreground")),
    ],
)  # fmt: skip
def test_options(body: Any, query: dict[str, str], options: DeleteOptions) -> None:
    assert delete_options(body, query, []) == options


@pytest.mark.parametrize(
    ("body", "dry_run", "code", "problem"),
    [
        ({"gracePeriodSeconds": "x"}, [], 400,
         "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"),
        ({"preconditions": {"uid": 5}}, [], 400,
         "json: cannot unmarshal number into Go struct field Preconditions.preconditions.uid of type types.UID"),
        ([], [], 400, "get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct"),
        ({"kind": "Foo"}, [], 400, 'no kind "Foo" is registered for version "meta.k8s.io/v1"'),
        ({"kind": "Foo", "apiVersion": "v2"}, [], 400, 'no kind "Foo" is registered for version "v2"'),
        ({"dryRun": ["All", "x"]}, [], 422, r'dryRun: Unsupported value: \["All","x"\]: supported values: "All"'),
        (None, ["x"], 422, r'dryRun: Unsupported value: \["x"\]: supported values: "All"'),
        ({"propagationPolicy": "x"}, [], 422,
         'Unsupported value: "x": supported values: "Foreground", "Background", "Orphan", "nil"'),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, [], 422,
         'Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(body: Any, dry_run: list[str], code: int, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem) as failure:
        delete_options(body, {}, dry_run)
    assert failure.value.code == code
