"""A report as tables: with colours and lines on a terminal, as plain text elsewhere."""

from rich.console import Console
from rich.table import Table

from tests.bench.report import Goal, Report

PLAIN_WIDTH = 120


def show(report: Report) -> None:
    """Print a report for a person."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    console.print(f"{report.machine}; other programs used {report.others:.0%} of the CPUs meanwhile")
    console.print(f"medians of {report.rounds} rounds; CPU is microseconds per invocation or operation\n")
    for table in (backlog(report), paced(report), floors(report), goals(report)):
        if not console.is_terminal:
            table.box = None
            table.pad_edge = False
        console.print(table)
        console.print()
    console.print("Every invocation was delivered, answered and reported exactly once.")


def table_of(title: str, *columns: str) -> Table:
    """A table whose first column is text and whose others are figures."""
    table = Table(title=title, title_justify="left")
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def backlog(report: Report) -> Table:
    """How fast, and for how much CPU, a backlog is worked off."""
    columns = ("in flight", "per s", "x plain", "sidecar CPU", "x floor", "nats CPU", "x floor", "framework CPU", "of")
    table = table_of("A backlog of invocations", "sidecar", *columns)
    plain = {row.in_flight: row.per_second for row in report.backlog if row.kind == "plain"}
    for row in report.backlog:
        table.add_row(
            row.kind,
            f"{row.in_flight}",
            f"{row.per_second:.0f}",
            f"{row.per_second / plain[row.in_flight]:.1f}",
            f"{row.sidecar_us:.0f}",
            f"{row.sidecar_to_floor:.1f}",
            f"{row.nats_us:.0f}",
            f"{row.nats_to_floor:.1f}",
            f"{row.framework_us:.0f}",
            f"{row.invocations}",
        )
    return table


def paced(report: Report) -> Table:
    """How long one invocation takes when it is alone."""
    columns = ("p50 µs", "p99 µs", "x lean relay", "x core request", "of")
    table = table_of("One at a time: dispatch published to reply received", "sidecar", *columns)
    for row in report.paced:
        figures = (f"{row.p50_us:.0f}", f"{row.p99_us:.0f}", f"{row.p50_to_floor:.1f}", f"{row.p50_to_request:.1f}")
        table.add_row("lean relay" if row.kind == "floor" else row.kind, *figures, f"{row.invocations}")
    return table


def floors(report: Report) -> Table:
    """What is the least, by part."""
    found = report.floors
    table = table_of("Floors: lean clients under uvloop", "operation", "client CPU", "server CPU", "round trip p50 µs")
    for operation, client, server in (
        ("JetStream publish, 64 under way", found.publish_us, found.publish_nats_us),
        ("pull 64 and ack", found.pull_ack_us, found.pull_ack_nats_us),
        ("UDS POST, 16 connections", found.post_us, found.post_framework_us),
        ("sum: 3 publishes, pull and ack, POST", found.sidecar_us, found.nats_us),
    ):
        table.add_row(operation, f"{client:.1f}", f"{server:.1f}", "")
    for operation, p50_us in (
        ("core NATS request and reply, one after the other", found.request_p50_us),
        ("UDS POST, one after the other", found.post_p50_us),
        ("UDS POST, in the lean relay", report.relay_post_us),
        ("ours from receive to reply (estimate)", report.receive_to_reply_us),
    ):
        table.add_row(operation, "", "", f"{p50_us:.0f}")
    return table


def goals(report: Report) -> Table:
    """What was wanted."""
    table = table_of("Goals", "figure", "measured", "goal", "")
    for goal in report.goals:
        table.add_row(goal.what, f"{goal.figure:.1f}", limit(goal), "met" if goal.met else "not met")
    return table


def limit(goal: Goal) -> str:
    """A goal's limit as text."""
    return f"{'>=' if goal.at_least else '<='} {goal.limit:g}"
