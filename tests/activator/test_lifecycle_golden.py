"""The lifecycle's rules as a table: units, worker states and now → actions (contract 9.3, A5 to A8, A11 to A16).

A row of `golden/lifecycle.json` has `pool`, the template's `spec.serverless` beyond its ID; `units`, the first of which
is the template; how many wait; the failures so far; `now`; and what is to come of it. Times are seconds. A unit was
first seen at `seen` (0), reported its `events`, and came into its `phase` at `phaseAt` (when it was seen).
"""

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.messages import WorkerMetricMessage
from simulator.activator.budget import budget_for
from simulator.activator.fleet import FleetSettings, Worker, heard, sighted, worker_of
from simulator.activator.lifecycle import (
    Action,
    CreateWorkers,
    Delete,
    Drain,
    GiveUp,
    GpuBudget,
    Plan,
    PoolView,
    StartFailures,
    backoff_s,
    plan,
)
from simulator.activator.pools import policy_of
from simulator.gpuunit import DRAINING_ANNOTATION, MANAGED_LABEL
from simulator.kube.kinds import Object

SETTINGS = FleetSettings(silence_s=45.0, ready_wait_s=120.0, capacity=2)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ROWS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "lifecycle.json").read_text())


def unit_of(row: dict[str, Any], told: dict[str, Any]) -> Object:
    metadata: Object = {"name": told["name"], "namespace": "ns", "labels": {}, "annotations": {}}
    if told.get("managed"):
        metadata["labels"][MANAGED_LABEL] = "activator"
    if "drainingAt" in told:
        metadata["annotations"][DRAINING_ANNOTATION] = "2026-01-01T00:00:00Z"
    if told.get("leaving"):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "reason": "Told", "message": told.get("says", "nothing")}
    serverless = {"requestID": "p", **row["pool"]}
    if told.get("managed"):
        serverless.pop("templateOnly", None)
    return {
        "metadata": metadata,
        "spec": {"gpu": row.get("gpusPerWorker", 0), "serverless": serverless},
        "status": {"phase": told.get("phase", ""), "conditions": [ready]},
    }


def worker_told(row: dict[str, Any], told: dict[str, Any]) -> Worker:
    seen = told.get("seen", 0)
    fresh: Object = {"metadata": {"name": told["name"], "namespace": "ns"}, "spec": {}}
    record = sighted(None, fresh, seen)
    unit = unit_of(row, told)
    record = sighted(record, unit, told.get("drainingAt", told.get("phaseAt", seen)))
    for kind, at in told.get("events", []):
        reported_at = EPOCH + timedelta(seconds=at)
        event = WorkerMetricMessage(
            serverless_request_id="p",
            worker_name=told["name"],
            worker_namespace="ns",
            event_type=kind,
            reported_at=reported_at,
        )
        record = heard(record, event, at)
    return worker_of(
        unit,
        record,
        outstanding=told.get("outstanding", 0),
        now=row["now"],
        settings=SETTINGS,
        incarnation_lost=told.get("died", False),
    )


def view_of(row: dict[str, Any]) -> PoolView:
    template = unit_of(row, row["units"][0])
    return PoolView(
        policy=policy_of(template),
        template=template,
        workers=tuple(worker_told(row, told) for told in row["units"]),
        waiting=row.get("waiting", 0),
        failures=msgspec.convert(row.get("failures", {}), StartFailures),
    )


def plan_of(row: dict[str, Any]) -> Plan:
    gpus = GpuBudget(**row["gpus"]) if "gpus" in row else None
    return plan(view_of(row), row["now"], SETTINGS, gpus)


def short(action: Action) -> str:
    match action:
        case CreateWorkers(count):
            return f"create {count}"
        case Drain(worker):
            return f"drain {worker.name}"
        case Delete(worker):
            return f"delete {worker.name}"
        case GiveUp(reason):
            return f"give up: {reason}"


@pytest.mark.parametrize("row", ROWS, ids=[row["row"] for row in ROWS])
def test_lifecycle(row: dict[str, Any]) -> None:
    planned = plan_of(row)
    assert [short(action) for action in planned.actions] == row["actions"]
    assert planned.next_check_at == row.get("nextCheckAt")
    if "failuresAfter" in row:
        after = msgspec.to_builtins(planned.failures)
        assert {name: after.get(name, 0) for name in row["failuresAfter"]} == row["failuresAfter"]


def test_the_table_is_complete() -> None:
    assert len(ROWS) >= 25
    assert len({row["row"] for row in ROWS}) == len(ROWS)
    words = {action.split(":")[0].split()[0] for row in ROWS for action in row["actions"]}
    assert words == {"create", "drain", "delete", "give"}


@pytest.mark.parametrize("row", ROWS, ids=[row["row"] for row in ROWS])
def test_a_plan_says_why(row: dict[str, Any]) -> None:
    assert all(action.reason for action in plan_of(row).actions)


@pytest.mark.parametrize("row", ROWS, ids=[row["row"] for row in ROWS])
def test_a_second_look_counts_no_failure_twice(row: dict[str, Any]) -> None:
    view = view_of(row)
    first = plan(view, row["now"], SETTINGS)
    again = plan(dataclasses.replace(view, failures=first.failures), row["now"], SETTINGS)
    assert again.failures == first.failures


def test_backoff_doubles_up_to_a_minute() -> None:
    assert [backoff_s(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 5000)] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_clock_that_is_set_back_does_not_hold_a_pool_back() -> None:
    row = {"pool": {}, "units": [{"name": "base", "phase": "Failed"}], "waiting": 1, "now": 10}
    row["failures"] = {"consecutive": 2, "failedAt": 4000, "notBefore": 4002, "reason": "x"}
    planned = plan_of(row)
    assert (planned.failures.failed_at, planned.failures.not_before) == (10, 12)
    assert planned.next_check_at == 12


def test_failures_survive_as_json() -> None:
    failures = StartFailures(consecutive=2, failed_at=1.5, not_before=3.5, reason="x", counted=frozenset({"w"}))
    assert msgspec.json.decode(msgspec.json.encode(failures), type=StartFailures) == failures


def budget_view(units: list[dict[str, Any]], minimum: int = 0, gpus: int = 2) -> PoolView:
    return view_of({"pool": {"minAvailableCount": minimum}, "gpusPerWorker": gpus, "units": units, "now": 10})


def test_gpu_budget_counts_what_is_there_and_what_may_go() -> None:
    base, made = {"name": "base", "phase": "Ready"}, {"name": "w1", "managed": True, "phase": "Ready"}
    pools = {
        "p": budget_view([base]),
        "q": budget_view([base, made, {**made, "name": "w2"}], minimum=2),
        "r": budget_view([base, made], minimum=1),
    }
    assert budget_for("p", 20, pools) == GpuBudget(free=8, attainable=12)  # 3 bases and q's minimum stay
    assert budget_for("q", 20, pools) == GpuBudget(free=8, attainable=14)
    assert budget_for("p", 7, pools) == GpuBudget(free=0, attainable=0)


def test_a_unit_that_is_only_a_template_takes_no_gpus() -> None:
    view = view_of({"pool": {"templateOnly": True}, "gpusPerWorker": 2, "units": [{"name": "base"}], "now": 10})
    assert budget_for("p", 4, {"p": view}) == GpuBudget(free=4, attainable=4)
