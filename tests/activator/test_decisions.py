"""Which worker takes an invocation, and what happens when none can (contract 9.2, A5 to A8, A20)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.contract import ZERO_TIME
from sidecar.messages import FailureClass, InvocationMessage
from simulator.activator.decisions import (
    MANAGED_LABEL,
    CreateWorker,
    Dispatch,
    Fail,
    WaitFor,
    decide,
    expired,
    worker_from,
)
from simulator.gpuunit import check_unit_name, serverless_of
from simulator.kube.kinds import Object


def unit(name: str, phase: str = "Ready", pool: str = "p", managed: bool = False, **extra: object) -> Object:
    labels = {MANAGED_LABEL: "activator"} if managed else {}
    metadata = {"name": name, "namespace": "ns", "labels": labels, **extra}
    return {"metadata": metadata, "spec": {"serverless": {"requestID": pool}}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("units", "given_up", "decision"),
    [
        pytest.param([unit("b"), unit("a")], set(), Dispatch("a", "ns"), id="first Ready by name"),
        pytest.param([unit("a", "Progressing"), unit("b")], set(), Dispatch("b", "ns"), id="Ready before pending"),
        pytest.param([unit("a", pool="q"), unit("b")], set(), Dispatch("b", "ns"), id="only the pool's own units"),
        pytest.param([unit("b", pool="P ")], set(), Dispatch("b", "ns"), id="request ID is normalised"),
        pytest.param([unit("a", "Progressing")], set(), WaitFor("a"), id="wait for a pending unit"),
        pytest.param([unit("a", "")], set(), WaitFor("a"), id="a fresh unit is pending"),
        pytest.param([unit("a", "Failed"), unit("b", "")], set(), WaitFor("b"), id="A6: never wait for a Failed unit"),
        pytest.param([unit("a", "Progressing"), unit("b", "")], {"a"}, WaitFor("b"), id="next after giving up"),
    ],
)
def test_decide(units: list[Object], given_up: set[str], decision: object) -> None:
    assert decide("p", units, given_up) == decision


@pytest.mark.parametrize("units", [[], [unit("a", pool="q")], [{"metadata": {"name": "x"}, "spec": {}}]])
def test_no_unit_is_a_failure_that_says_so(units: list[Object]) -> None:
    decision = decide("p", units)
    assert isinstance(decision, Fail)
    assert (decision.status_code, decision.failure_class) == (503, FailureClass.NO_WORKER_TEMPLATE)
    assert "'p'" in decision.reason


def test_units_that_are_being_deleted_take_no_work() -> None:
    going = unit("a", deletionTimestamp="2026-01-01T00:00:00Z")
    assert decide("p", [going, unit("b")]) == Dispatch("b", "ns")


def test_a7_template_is_a_unit_that_a_person_made() -> None:
    template = unit("z-template", "Failed")
    decision = decide("p", [template])
    assert decision == CreateWorker(template)


def test_a6_a_failed_managed_worker_is_not_followed_by_another() -> None:
    broken = unit("w", "Failed", managed=True)
    broken["status"]["conditions"] = [{"type": "Ready", "reason": "PodStartupFailed", "message": "no such program"}]
    decision = decide("p", [unit("template", "Failed"), broken])
    assert isinstance(decision, Fail)
    assert decision.failure_class == FailureClass.ACTIVATION_TIMEOUT
    assert "PodStartupFailed: no such program" in decision.reason


@given(pool=st.from_regex(r"[a-z0-9_-]{1,80}", fullmatch=True), invocation_id=st.text(min_size=1, max_size=64))
def test_a8_worker_names_are_valid_for_every_pool(pool: str, invocation_id: str) -> None:
    worker = worker_from(unit("template", pool=pool), invocation_id)
    assert check_unit_name(worker["metadata"]["name"]) == worker["metadata"]["name"]
    spec = serverless_of(worker)
    assert spec is not None
    assert spec.request_id == pool


def test_a8_similar_pools_and_ids_get_different_workers() -> None:
    names = {
        worker_from(unit("t", pool=pool), invocation)["metadata"]["name"]
        for pool in ("a_b", "a-b")
        for invocation in ("inv-12345678a", "inv-12345678b")
    }
    assert len(names) == 4


def test_a_second_attempt_names_the_same_worker_and_leaves_the_template_alone() -> None:
    template = unit("t")
    first = worker_from(template, "inv-1")
    first["spec"]["serverless"]["requestID"] = "changed"
    assert worker_from(template, "inv-1")["metadata"] == first["metadata"]
    assert template["spec"]["serverless"]["requestID"] == "p"


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("enqueued_at", "timeout_s", "is_expired"),
    [
        (NOW - timedelta(seconds=5), 5, True),
        (NOW - timedelta(seconds=4), 5, False),
        (NOW - timedelta(days=3), 0, False),
        (ZERO_TIME, 5, False),
    ],
)
def test_a20_expired(enqueued_at: datetime, timeout_s: int, is_expired: bool) -> None:
    invocation = InvocationMessage(
        invocation_id="i", serverless_request_id="p", timeout_seconds=timeout_s, enqueued_at=enqueued_at
    )
    assert expired(invocation, NOW) is is_expired
