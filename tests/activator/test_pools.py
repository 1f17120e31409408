"""Which units are a pool, which is its template, what its policy says; names of new workers (A7, A8, A15)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.activator.naming import worker_from
from simulator.activator.pools import PoolPolicy, gpus_of, is_managed, policy_of, pool_units, pools_of, template_of
from simulator.gpuunit import (
    MANAGED_LABEL,
    OPERATION_ID_ANNOTATION,
    STOCK_NAMESPACE,
    OnWorkerLoss,
    UnitSpecError,
    check_unit_name,
    serverless_of,
)
from simulator.kube.kinds import Object


def unit(name: str, pool: str = "p", *, managed: bool = False, namespace: str = "ns", **serverless: object) -> Object:
    labels = {MANAGED_LABEL: "activator"} if managed else {}
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"specName": "s1", "serverless": {"requestID": pool, **serverless}},
    }


def leaving(unit: Object) -> Object:
    unit["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return unit


def names(units: list[Object]) -> list[str]:
    return [unit["metadata"]["name"] for unit in units]


def test_pools_of_sorts_units_by_pool_and_name() -> None:
    units = [unit("b"), unit("z", "q"), unit("a", "P "), leaving(unit("c"))]
    assert {pool: names(members) for pool, members in pools_of(units).items()} == {"p": ["a", "b", "c"], "q": ["z"]}
    assert names(pool_units(units, "p")) == ["a", "b", "c"]
    assert pool_units(units, "nobody") == []


@pytest.mark.parametrize(
    "outsider",
    [
        pytest.param({"metadata": {"name": "x", "namespace": "ns"}, "spec": {}}, id="not serverless"),
        pytest.param(unit("x", "not a pool!"), id="invalid request ID"),
        pytest.param(unit("x", minAvailableCount="two"), id="invalid spec"),
        pytest.param(unit("x", namespace=STOCK_NAMESPACE), id="stock runs no worker"),
    ],
)
def test_units_that_serve_no_pool(outsider: Object) -> None:
    assert pools_of([outsider]) == {}


@pytest.mark.parametrize(
    ("units", "template"),
    [
        pytest.param([unit("b"), unit("a")], "a", id="first by name"),
        pytest.param([unit("a", managed=True), unit("b")], "b", id="never one of ours while a person's is there"),
        pytest.param(
            [unit("unit-p-worker-1"), unit("a", managed=True)], "unit-p-worker-1", id="the label, not the name"
        ),
        pytest.param([leaving(unit("a")), unit("b")], "b", id="not one that is being deleted"),
        pytest.param([leaving(unit("a")), unit("c", managed=True), unit("b", managed=True)], "b", id="ours stand in"),
    ],
)
def test_a7_template(units: list[Object], template: str) -> None:
    found = template_of(units)
    assert found is not None
    assert found["metadata"]["name"] == template


def test_a7_no_template_where_every_unit_goes() -> None:
    assert template_of([leaving(unit("a"))]) is None
    assert template_of([]) is None


def test_a15_policy_of_a_template() -> None:
    template = unit(
        "t",
        minAvailableCount=1,
        maxAvailableCount=4,
        idleTimeoutSeconds=20,
        minRequestCount=5,
        onWorkerLoss="never",
        maxAttempts=2,
    )
    template["spec"]["gpu"] = 2
    assert policy_of(template) == PoolPolicy(
        pool="p",
        min_available=1,
        max_available=4,
        idle_timeout_s=20.0,
        waiting_per_worker=5,
        on_worker_loss=OnWorkerLoss.NEVER,
        max_attempts=2,
        gpus_per_worker=2,
    )


def test_a_policy_by_default_is_the_dataclass_default() -> None:
    assert policy_of(unit("t")) == PoolPolicy("p")


def test_a_unit_that_is_not_serverless_has_no_policy() -> None:
    with pytest.raises(UnitSpecError, match=r"serverless\.requestID"):
        policy_of({"metadata": {"name": "x"}, "spec": {}})


@given(pool=st.from_regex(r"[a-z0-9_-]{1,80}", fullmatch=True), suffix=st.text(max_size=64))
def test_a8_worker_names_are_valid_for_every_pool(pool: str, suffix: str) -> None:
    worker = worker_from(unit("template", pool), "activate-1", suffix)
    assert check_unit_name(worker["metadata"]["name"]) == worker["metadata"]["name"]
    spec = serverless_of(worker)
    assert spec is not None
    assert spec.request_id == pool


def test_a8_similar_pools_and_suffixes_get_different_workers() -> None:
    made = {
        worker_from(unit("t", pool), "same", suffix)["metadata"]["name"]
        for pool in ("a_b", "a-b", "a-b-", "x" * 60, "x" * 61)
        for suffix in ("12345678a", "12345678b")
    }
    assert len(made) == 10


def test_a8_workers_are_marked_by_a_label() -> None:
    template = unit("t")
    worker = worker_from(template, "warm-7", "s")
    assert is_managed(worker)
    assert not is_managed(template)
    assert worker["metadata"]["namespace"] == "ns"
    assert worker["metadata"]["annotations"] == {OPERATION_ID_ANNOTATION: "warm-7"}


def test_a_worker_of_a_template_that_is_no_worker_is_one() -> None:
    template = unit("t", templateOnly=True)
    template["spec"]["gpu"] = 3
    worker = worker_from(template, "o", "s")
    spec, pattern = serverless_of(worker), serverless_of(template)
    assert spec is not None
    assert pattern is not None
    assert (spec.template_only, pattern.template_only) == (False, True)
    assert gpus_of(worker) == 3
    worker["spec"]["serverless"]["requestID"] = "changed"
    assert template["spec"]["serverless"]["requestID"] == "p"
