"""What a run of callers says: percentiles, rates, shares, and who is who among the processes."""

import ast
import math
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from scenarios.load.callers import CALLERS, LOCUST_FILE, Run, command_of
from scenarios.load.cpu import microseconds_each, part_of
from scenarios.load.matrix import Plan
from scenarios.load.probes import Loss, loss_figures
from scenarios.load.report import Cell, Floor, Report, floor_of, moments, show
from scenarios.load.samples import RESULTS, Measured, Sample, Samples, measured, percentile


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([3.0], 50, 3.0), ([1, 2], 50, 1), ([2, 1, 3], 50, 2), (range(1, 101), 99, 99), (range(1, 1001), 99, 990)],
)
def test_percentiles_are_of_the_nearest_rank(values: list[float], percent: int, found: float) -> None:
    assert percentile(values, percent) == found


def test_there_is_no_percentile_of_nothing() -> None:
    assert math.isnan(percentile([], 50))


def call(ended: float, milliseconds: float = 10, name: str = "sync", *, succeeded: bool = True) -> Sample:
    return Sample(name, ended - milliseconds / 1000, milliseconds, succeeded)


def test_only_calls_that_end_within_the_run_and_after_its_warm_up_are_figures() -> None:
    samples = [
        Sample("sync", 100.0, 10, True),  # the first: the run begins, and the warm-up of 2 s
        call(101.9, 1),
        call(102.1, 20),
        call(109.9, 40),
        call(110.1, 500),  # while the callers were stopped
    ]
    assert measured(samples, "sync", 10) == Measured(invocations=5, failures=0, per_second=2 / 8, p50_ms=20, p99_ms=40)


def test_a_failed_request_of_any_kind_is_a_failure_and_no_figure() -> None:
    samples = [
        Sample("async submit", 100.0, 5, True),
        call(105, 30, "async result"),
        call(106, 5000, "async result", succeeded=False),
        call(106, 7, "async wait", succeeded=False),
    ]
    assert measured(samples, "async", 10) == Measured(invocations=2, failures=2, per_second=1 / 8, p50_ms=30, p99_ms=30)


def test_a_run_in_which_nothing_was_called_has_no_figures() -> None:
    found = measured([], "sync", 10)
    assert (found.invocations, found.failures, found.per_second) == (0, 0, 0)
    assert math.isnan(found.p50_ms)


def test_the_file_of_samples_is_read_as_it_is_written() -> None:
    written = b'{"samples": [["sync", 1.5, 2.5, true]], "cpu_seconds": 0.5}'
    assert msgspec.json.decode(written, type=Samples) == Samples([Sample("sync", 1.5, 2.5, True)], 0.5)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["/venv/bin/python", "-m", "sidecar"], "sidecar"),
        (["/venv/bin/python", "-m", "framework.echo"], "framework"),
        (["/venv/bin/python", "-m", "framework.misbehave", "--quiet"], "framework"),
        (["/venv/bin/nats-server", "--config", "/tmp/sidecar/nats.conf"], "nats"),
        (["python", "-m", "simulator.activator"], "activator"),
        (["python", "-m", "locust", "--host", "sidecar"], None),
        (["python", "-I", "-S", "/x/warden.py"], None),
        (["python", "-m"], None),
        ([], None),
    ],
)
def test_a_process_belongs_to_a_part_by_its_command(command: list[str], part: str | None) -> None:
    assert part_of(command) == part


def test_cpu_of_each_part_is_shared_out_to_the_invocations() -> None:
    before, after = {"platform": 1.0, "gone": 5.0}, {"platform": 1.5, "sidecar": 0.25}
    assert microseconds_each(before, after, 1000) == {"platform": 500.0, "sidecar": 250.0}
    assert microseconds_each(before, after, 0) == {}


def test_locust_is_run_without_its_web_ui_and_with_callers_of_one_kind() -> None:
    command = command_of(Run("http://127.0.0.1:1", "load", "async", 64, 5), Path("/tmp/samples.json"))
    assert command[:4] == [sys.executable, "-m", "locust", "--headless"]
    assert command[-1] == "AsyncCaller"
    options = dict(zip(command[5:-1:2], command[6:-1:2], strict=True))
    assert options["--users"] == options["--spawn-rate"] == "64"
    assert (options["--run-time"], options["--samples"]) == ("5s", "/tmp/samples.json")


def test_the_locust_file_has_the_callers_and_requests_that_are_counted() -> None:
    """It is read and not imported: that would replace the sockets of this process."""
    tree = ast.parse(LOCUST_FILE.read_text(encoding="utf-8"))
    assert set(CALLERS.values()) <= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert set(RESULTS.values()) <= texts


@pytest.mark.parametrize("module", ["scenarios", "scenarios.load", "scenarios.load.__main__", "scenarios.load.floor"])
def test_nothing_but_the_locust_file_imports_locust(module: str) -> None:
    code = f"import {module}, sys; sys.exit(bool({{'locust', 'gevent'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0


def test_a_quick_plan_tries_everything_once() -> None:
    plan = Plan().quick()
    assert (plan.modes, plan.workers, plan.callers) == (("sync", "async"), (1,), (1, 16))
    assert (plan.seconds, plan.cold_starts, plan.losses) == (2, 1, 1)


def report_of(*cells: Cell) -> Report:
    return Report(
        machine="a machine",
        seconds=5,
        concurrency=64,
        floor=floor_of([0.0004, 0.0005, 0.0009]),
        cells=list(cells),
        cold_start_s=[1.5, 0.5, 1.0],
        loss_s=[0.25, 0.75],
        losses_done_by_another=2,
    )


def cell(mode: str, callers: int, failures: int, p50_to_floor: float) -> Cell:
    found = Measured(invocations=100, failures=failures, per_second=50.0, p50_ms=2.0, p99_ms=4.0)
    return Cell(
        mode=mode,
        workers=1,
        callers=callers,
        measured=found,
        p50_to_floor=p50_to_floor,
        cpu_us={"platform": 800.0, "nats": 400.0},
        callers_busy=0.5,
    )


def test_the_floor_is_in_milliseconds() -> None:
    assert floor_of([0.0004, 0.0005, 0.0009]) == Floor(p50_ms=0.5, p99_ms=0.9)


def test_failures_of_all_cells_are_counted() -> None:
    assert report_of(cell("sync", 1, 2, 3.5), cell("async", 1, 1, 3.5)).failures == 3


@pytest.mark.parametrize(("times", "verdict"), [(4.0, "met"), (4.1, "not met")])
def test_the_goal_is_judged_by_one_sync_caller(times: float, verdict: str) -> None:
    alone, *others = moments(report_of(cell("sync", 64, 0, 1.0), cell("async", 1, 0, 1.0), cell("sync", 1, 0, times)))
    assert alone == f"one sync caller, p50: {times} times the floor (goal <= 4: {verdict})"
    assert others == [
        "cold start, from invocation to result: p50 1.00 s, at most 1.50 s, of 3",
        "SIGKILL of the worker that runs it, to the result: p50 0.25 s, at most 0.75 s, of 2, 2 by another worker",
    ]


def test_the_losses_are_told_apart_by_who_did_the_work() -> None:
    losses = [Loss(0.5, by_another=True), Loss(2.0, by_another=False)]
    assert loss_figures(losses) == ([0.5, 2.0], 1)


def test_a_report_is_shown_as_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(report_of(cell("sync", 1, 0, 3.5)))
    shown = capsys.readouterr().out
    assert "framework" not in shown
    [row] = [line.split() for line in shown.splitlines() if line.startswith("sync ")]
    assert row == ["sync", "1", "1", "100", "0", "50", "2.0", "4.0", "3.5", "800", "400", "50%"]
