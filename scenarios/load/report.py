"""What was measured, as figures for machines (JSON) and as tables for people."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from scenarios.load.samples import Measured, percentile

PLAIN_WIDTH: Final = 120
PARTS: Final = ("platform", "activator", "nats", "sidecar", "framework")
MOST_TIMES_FLOOR: Final = 4.0
"""The goal of one sync caller: p50 at most so many times that of a request and reply through the same server."""


class Cell(msgspec.Struct, kw_only=True):
    """One mode with so many workers and callers. CPU is microseconds per invocation, by part, the callers' apart.

    `callers_busy` is the callers' process's share of one CPU: near 1, it is the callers that are measured.
    """

    mode: str
    workers: int
    callers: int
    measured: Measured
    p50_to_floor: float
    cpu_us: dict[str, float]
    callers_busy: float


class Floor(msgspec.Struct, kw_only=True):
    """A request and its reply through the same nats-server, one after the other, in milliseconds."""

    p50_ms: float
    p99_ms: float


class Report(msgspec.Struct, kw_only=True):
    """A whole run. `cold_start_s` and `loss_s` are one figure for each time that it was tried."""

    machine: str
    seconds: int
    concurrency: int
    floor: Floor
    cells: list[Cell]
    cold_start_s: list[float]
    loss_s: list[float]
    losses_done_by_another: int

    @property
    def failures(self) -> int:
        """Requests that did not succeed."""
        return sum(cell.measured.failures for cell in self.cells)


def floor_of(seconds: Sequence[float]) -> Floor:
    """Sum up the round trips."""
    return Floor(p50_ms=percentile(seconds, 50) * 1000, p99_ms=percentile(seconds, 99) * 1000)


def show(report: Report) -> None:
    """Print a report for a person."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    console.print(f"{report.machine}; {report.seconds} s each; workers run {report.concurrency} calls at once")
    console.print(f"floor: request and reply through the same nats-server, p50 {report.floor.p50_ms:.2f} ms\n")
    table = cells_table(report.cells)
    if not console.is_terminal:
        table.box = None
        table.pad_edge = False
    console.print(table)
    console.print("\nx floor: p50 by that of the floor. busy: locust's share of a CPU; near 100 % it is the limit.\n")
    for line in moments(report):
        console.print(line)


def cells_table(cells: Sequence[Cell]) -> Table:
    """Throughput, latency and CPU of each cell."""
    table = Table(title="Calls of one pool; CPU in microseconds per invocation", title_justify="left")
    table.add_column("mode")
    shown = [part for part in PARTS if any(part in cell.cpu_us for cell in cells)]
    counts, times = ("workers", "callers", "calls", "failed"), ("per s", "p50 ms", "p99 ms", "x floor")
    for column in (*counts, *times, *shown, "busy"):
        table.add_column(column, justify="right")
    for cell in cells:
        found = cell.measured
        table.add_row(
            cell.mode,
            *(f"{number}" for number in (cell.workers, cell.callers, found.invocations, found.failures)),
            *(f"{found.per_second:.0f}", f"{found.p50_ms:.1f}", f"{found.p99_ms:.1f}", f"{cell.p50_to_floor:.1f}"),
            *(f"{cell.cpu_us.get(part, 0):.0f}" for part in shown),
            f"{cell.callers_busy:.0%}",
        )
    return table


def moments(report: Report) -> list[str]:
    """The figures that are not of a cell, one line each."""
    alone = [cell.p50_to_floor for cell in report.cells if (cell.mode, cell.callers) == ("sync", 1)]
    lines = []
    if alone:
        best = min(alone)
        met = "met" if best <= MOST_TIMES_FLOOR else "not met"
        lines.append(f"one sync caller, p50: {best:.1f} times the floor (goal <= {MOST_TIMES_FLOOR:g}: {met})")
    if report.cold_start_s:
        lines.append(f"cold start, from invocation to result: {_spread(report.cold_start_s)}")
    if report.loss_s:
        lines.append(
            f"SIGKILL of the worker that runs it, to the result: {_spread(report.loss_s)}, "
            f"{report.losses_done_by_another} by another worker"
        )
    return lines


def _spread(seconds: Sequence[float]) -> str:
    middle = percentile(seconds, 50) if seconds else math.nan
    return f"p50 {middle:.2f} s, at most {max(seconds):.2f} s, of {len(seconds)}"
