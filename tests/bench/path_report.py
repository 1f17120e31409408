"""What was measured of whole paths, as figures with their ratios and goals, for machines as JSON."""

import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from tests.bench.path_workload import Run
from tests.bench.report import MICROSECONDS, grouped, percentile_us

PARTS: Final = ("api", "activator", "platform", "sidecar", "nats", "framework")
ALONE: Final = 1
SOME: Final = 64
MANY: Final = 256


class Round(msgspec.Struct):
    """All measurements of one round. `floor_s` are round trips on core NATS, by the number of workers they are for."""

    floor_s: dict[int, tuple[float, ...]]
    runs: list[Run]


class Row(msgspec.Struct, kw_only=True):
    """One kind of path with so many workers and callers.

    `per_second` counts answers: results of sync calls, receipts of async ones. CPU is microseconds per invocation.
    The ratios are rates as multiples of those of the plain path and of the sequential one, None where that was not
    measured; `p50_to_floor` is a p50 in round trips of the same minute.
    """

    kind: str
    mode: str
    workers: int
    callers: int
    invocations: int
    per_second: float
    completed_per_second: float
    p50_us: float
    p99_us: float
    to_plain: float
    to_sequential: float | None
    completed_to_plain: float
    completed_to_sequential: float | None
    p50_to_floor: float
    cpu_us: dict[str, float]
    callers_busy: float

    @property
    def total_us(self) -> float:
        """CPU of all parts."""
        return sum(self.cpu_us.values())


class Goal(msgspec.Struct, kw_only=True):
    """A figure, what it should be first, and what it should be then."""

    what: str
    figure: float
    first: float
    then: float
    at_least: bool

    def met(self, limit: float) -> bool:
        """Whether the figure is on the right side of a limit."""
        return self.figure >= limit if self.at_least else self.figure <= limit


class Report(msgspec.Struct, kw_only=True):
    """A whole run in which every accepted invocation had exactly one result; of another one there is no report.

    `others` is the share of the machine's CPUs that went to other programs meanwhile: much of it spoils the figures.
    """

    machine: str
    others: float
    rounds: int
    floor_p50_us: float
    rows: list[Row]
    goals: list[Goal]
    correct: bool = True
    problems: list[str] = []


def report_of(rounds: Sequence[Round], others: float) -> Report:
    """Sum up: each figure is the median of its rounds."""
    runs = [run for measured in rounds for run in measured.runs]
    floors = {
        workers: statistics.median(percentile_us(measured.floor_s[workers], 50) for measured in rounds)
        for workers in rounds[0].floor_s
    }
    groups = grouped(runs, lambda run: (run.kind, run.mode, run.workers, run.callers))
    rows = [row_of(group, runs, floors[group[0].workers]) for group in groups]
    rows.sort(key=lambda row: (row.mode != "sync", row.workers, row.callers, row.kind))
    return Report(
        machine=f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} {platform.release()}",
        others=others,
        rounds=len(rounds),
        floor_p50_us=statistics.median(floors.values()),
        rows=rows,
        goals=goals(rows),
    )


def row_of(group: Sequence[Run], runs: Sequence[Run], floor_us: float) -> Row:
    """Sum up the rounds of one measurement, beside those of the plain paths among all `runs`."""
    first = group[0]
    per_second, completed = rates(group)
    shape = (first.mode, first.workers, first.callers)
    alike = [run for run in runs if (run.mode, run.workers, run.callers) == shape]
    plain, plain_completed = rates([run for run in alike if run.kind == "plain"])
    sequential = [run for run in alike if run.kind == "sequential"]
    p50_us = statistics.median(percentile_us(run.seconds, 50) for run in group)
    return Row(
        kind=first.kind,
        mode=first.mode,
        workers=first.workers,
        callers=first.callers,
        invocations=sum(run.invocations for run in group),
        per_second=per_second,
        completed_per_second=completed,
        p50_us=p50_us,
        p99_us=statistics.median(percentile_us(run.seconds, 99) for run in group),
        to_plain=per_second / plain,
        to_sequential=per_second / rates(sequential)[0] if sequential else None,
        completed_to_plain=completed / plain_completed,
        completed_to_sequential=completed / rates(sequential)[1] if sequential else None,
        p50_to_floor=p50_us / floor_us,
        cpu_us={part: statistics.median(run.cpu_us[part] for run in group) for part in first.cpu_us},
        callers_busy=statistics.median(run.callers_busy for run in group),
    )


def rates(group: Sequence[Run]) -> tuple[float, float]:
    """Answers, and stored results, per second."""
    return (
        statistics.median(run.per_second for run in group),
        statistics.median(run.completed_per_second for run in group),
    )


def goals(rows: Sequence[Row]) -> list[Goal]:
    """What the whole path should reach, first and then, beside what was measured of it."""
    found: list[Goal] = []
    for row in rows:
        if row.kind == "ours":
            where = f"{counted(row.workers, 'worker')}, {counted(row.callers, f'{row.mode} caller')}"
            found += [msgspec.structs.replace(goal, what=f"{where}: {goal.what}") for goal in goals_of(row)]
    return found


def goals_of(row: Row) -> Iterator[Goal]:
    """The goals that one measurement of our path has."""
    shape = (row.mode, row.callers, row.workers)
    if shape == ("sync", ALONE, 1):
        yield Goal(what="p50, times the floor", figure=row.p50_to_floor, first=4, then=3, at_least=False)
    if shape == ("sync", SOME, 4):
        yield from faster("per second", row.to_plain, row.to_sequential, first=5, then=10)
    if shape[:2] == ("sync", SOME):
        yield Goal(what="CPU of the activator, µs", figure=row.cpu_us["activator"], first=60, then=40, at_least=False)
    if shape[:2] == ("async", MANY):
        yield from faster("submitted per second", row.to_plain, row.to_sequential, first=3, then=5)
        completed = (row.completed_to_plain, row.completed_to_sequential)
        yield from faster("completed per second", *completed, first=6, then=10)


def faster(what: str, to_plain: float, to_sequential: float | None, *, first: float, then: float) -> Iterator[Goal]:
    """One goal beside the plain path, and the same beside the sequential one where that was measured."""
    yield Goal(what=f"{what}, times plain", figure=to_plain, first=first, then=then, at_least=True)
    if to_sequential is not None:
        yield Goal(what=f"{what}, times sequential", figure=to_sequential, first=first, then=then, at_least=True)


def counted(number: int, thing: str) -> str:
    """A number of things as text."""
    return f"{number} {thing}{'s' if number > 1 else ''}"


def milliseconds(microseconds: float) -> float:
    """For people."""
    return microseconds / MICROSECONDS * 1000
