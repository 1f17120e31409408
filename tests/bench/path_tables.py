"""A report of whole paths as tables: with colours and lines on a terminal, as plain text elsewhere."""

from rich.console import Console
from rich.table import Table

from tests.bench.path_report import PARTS, Goal, Report, milliseconds
from tests.bench.tables import PLAIN_WIDTH, table_of


def show(report: Report) -> None:
    """Print a report for a person."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    console.print(f"{report.machine}; other programs used {report.others:.0%} of the CPUs meanwhile")
    console.print(f"medians of {report.rounds} rounds; CPU is microseconds per invocation")
    floor_ms = milliseconds(report.floor_p50_us)
    console.print(f"floor: request and reply on core NATS, lean clients, p50 {floor_ms:.2f} ms\n")
    for table in (speeds(report), cpu(report), goals(report)):
        if not console.is_terminal:
            table.box = None
            table.pad_edge = False
        console.print(table)
        console.print()
    console.print("seq., sequential: plain, with an activator that handles one invocation after the other.")
    console.print("busy: the callers' share of one CPU. platform: result store, cluster, and an API that nobody calls.")
    console.print("Every accepted invocation was delivered and reported once, and has exactly one result.")


def speeds(report: Report) -> Table:
    """How fast each path is."""
    rates = ("per s", "x plain", "x seq.", "completed", "x plain", "x seq.")
    table = table_of("Calls of one pool", "path", "mode", "workers", "callers", *rates, "p50 ms", "p99 ms", "x floor")
    for row in report.rows:
        completed = (row.completed_to_plain, row.completed_to_sequential)
        table.add_row(
            *(row.kind, row.mode, f"{row.workers}", f"{row.callers}"),
            *(f"{row.per_second:.0f}", f"{row.to_plain:.1f}", times(row.to_sequential)),
            *((f"{row.completed_per_second:.0f}", *map(times, completed)) if row.mode == "async" else ("", "", "")),
            *(f"{milliseconds(row.p50_us):.1f}", f"{milliseconds(row.p99_us):.1f}", f"{row.p50_to_floor:.1f}"),
        )
    return table


def times(ratio: float | None) -> str:
    """A ratio as text; empty where there is none."""
    return "" if ratio is None else f"{ratio:.1f}"


def cpu(report: Report) -> Table:
    """What each path costs, by part."""
    table = table_of("CPU of each part", "path", "mode", "workers", "callers", *PARTS, "all", "busy")
    for row in report.rows:
        table.add_row(
            *(row.kind, row.mode, f"{row.workers}", f"{row.callers}"),
            *(f"{row.cpu_us[part]:.0f}" if part in row.cpu_us else "" for part in PARTS),
            *(f"{row.total_us:.0f}", f"{row.callers_busy:.0%}"),
        )
    return table


def goals(report: Report) -> Table:
    """What was wanted."""
    table = table_of("Goals", "figure", "measured", "first", "", "then", "")
    for goal in report.goals:
        table.add_row(goal.what, f"{goal.figure:.1f}", *verdict(goal, goal.first), *verdict(goal, goal.then))
    return table


def verdict(goal: Goal, limit: float) -> tuple[str, str]:
    """A limit as text, and whether it is kept."""
    return f"{'>=' if goal.at_least else '<='} {limit:g}", "met" if goal.met(limit) else "not met"
