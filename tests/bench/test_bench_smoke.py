"""The benchmark runs, counts what it should, and judges itself right; its figures are nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

PROGRAM = Path(__file__).with_name("sidecar.py")
KINDS = [("ours", 1), ("plain", 1), ("ours", 8), ("plain", 8), ("ours", 64), ("plain", 64)]


@pytest.mark.timeout(180)
def test_a_tiny_run_reports_every_measurement_and_that_nothing_was_lost() -> None:
    command = [sys.executable, str(PROGRAM), "--count", "40", "--rounds", "1", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["correct"] is True
    assert report["problems"] == []
    assert report["rounds"] == 1
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
