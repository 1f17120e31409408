"""The benchmarks run, count what they should, and judge themselves right; their figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kubectl import needs_kubectl

pytestmark = pytest.mark.e2e

SIDECAR = Path(__file__).with_name("sidecar.py")
PATH = Path(__file__).with_name("path.py")
KUBE = Path(__file__).with_name("kube.py")
KINDS = [("ours", 1), ("plain", 1), ("ours", 8), ("plain", 8), ("ours", 64), ("plain", 64)]


SYNC = [
    (workers, callers, kind)
    for workers in (1, 4)
    for callers in (1, 16, 64, 256)
    for kind in ("ours", "plain", "sequential")
    if kind != "sequential" or callers == 64
]
ASYNC = [(workers, 256, kind) for workers in (1, 4) for kind in ("ours", "plain", "sequential")]


def report_of(program: Path, count: int) -> Any:
    """Run a benchmark that does all it does once; it must find nothing wrong."""
    command = [sys.executable, str(program), "--count", str(count), "--rounds", "1", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["correct"] is True
    assert report["problems"] == []
    assert report["rounds"] == 1
    return report


@pytest.mark.timeout(180)
def test_a_tiny_run_of_the_sidecars_reports_every_measurement_and_that_nothing_was_lost() -> None:
    report = report_of(SIDECAR, 40)
    assert [(row["kind"], row["in_flight"]) for row in report["backlog"]] == KINDS
    assert [row["invocations"] for row in report["backlog"]] == [10, 10, 20, 20, 40, 40]
    assert [(row["kind"], row["invocations"]) for row in report["paced"]] == [
        ("ours", 10),
        ("plain", 10),
        ("floor", 10),
    ]
    figures = [row[name] for row in report["backlog"] for name in ("per_second", "sidecar_us", "nats_us")]
    assert all(figure > 0 for figure in [*figures, *report["floors"].values()])
    assert [set(goal) for goal in report["goals"]] == [{"what", "figure", "limit", "at_least", "met"}] * 3


@pytest.mark.timeout(180)
def test_a_tiny_run_of_whole_paths_reports_every_measurement_and_that_nothing_was_lost() -> None:
    report = report_of(PATH, 16)
    rows = report["rows"]
    sync, asynchronous = ([row for row in rows if row["mode"] == mode] for mode in ("sync", "async"))
    assert [(row["workers"], row["callers"], row["kind"]) for row in sync] == SYNC
    assert [(row["workers"], row["callers"], row["kind"]) for row in asynchronous] == ASYNC
    assert {(row["callers"], row["invocations"]) for row in sync} == {(1, 2), (16, 8), (64, 16), (256, 16)}
    assert {row["invocations"] for row in asynchronous} == {16}
    parts = {"api", "activator", "sidecar", "nats", "framework"}
    assert [set(row["cpu_us"]) - {"platform"} for row in rows] == [parts] * len(rows)
    assert all("platform" in row["cpu_us"] for row in rows if row["kind"] == "ours")
    figures = [row[name] for row in rows for name in ("per_second", "p50_us", "p50_to_floor", "completed_per_second")]
    assert all(figure > 0 for figure in figures)
    assert [set(goal) for goal in report["goals"]] == [{"what", "figure", "first", "then", "at_least"}] * 13


@needs_kubectl
def test_a_tiny_run_of_the_kubernetes_api_measures_all_and_nothing_was_lost() -> None:
    command = [sys.executable, str(KUBE), "--objects", "30", "--watchers", "3", "--starts", "1", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    start = figures.pop("start")
    assert {name for name, figure in figures.items() if figure > 0} >= set(figures) - {"mebibytes_per_1000_objects"}
    assert 0 < start["created_to_ready_s"] < start["apply_to_ready_s"]
    assert start["kubectl_s"] > 0
