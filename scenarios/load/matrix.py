"""A run of all cells: a platform for each number of workers, called by more and more callers; then the two probes."""

import asyncio
import os
import platform as machine
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from scenarios.load.callers import Run, run_callers
from scenarios.load.cpu import cpu_seconds, microseconds_each
from scenarios.load.floor import floor_seconds
from scenarios.load.probes import cold_starts, loss_figures, losses, unit
from scenarios.load.report import Cell, Floor, Report, floor_of
from scenarios.load.samples import Mode, measured
from simulator.api_client import ApiClient
from simulator.platform import Platform, PlatformOptions, run_platform
from simulator.processes.spawn import Processes
from simulator.waiting import wait_until_ready

POOL: Final = "load"
READY_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure: each mode with each number of workers and callers, for `seconds` each.

    `concurrency` is how many calls a worker runs at once. `floor_requests`, `cold_starts` and `losses` are how often
    these are tried; 0 leaves the probes out.
    """

    modes: tuple[Mode, ...] = ("sync", "async")
    workers: tuple[int, ...] = (1, 4, 16)
    callers: tuple[int, ...] = (1, 16, 64, 256)
    seconds: int = 5
    concurrency: int = 64
    floor_requests: int = 1000
    cold_starts: int = 5
    losses: int = 5

    def quick(self) -> "Plan":
        """As much as shows that all of it works."""
        return replace(self, workers=self.workers[:1], callers=self.callers[:2], seconds=2, cold_starts=1, losses=1)


async def run_plan(plan: Plan) -> Report:
    """Measure everything.

    Raises:
        SimulatorError: a platform, locust or a probe failed.
    """
    floors: list[float] = []
    cells: list[Cell] = []
    async with Processes() as processes:
        for workers in plan.workers:
            async with _platform(plan.concurrency) as (platform, api):
                await _ready_pool(platform, api, workers)
                seconds = await floor_seconds(platform, processes, plan.floor_requests)
                floors += seconds
                bench = _Bench(plan, platform, processes, floor_of(seconds))
                cells += [await bench.cell(mode, workers, callers) for mode in plan.modes for callers in plan.callers]
    async with _platform(concurrency=1) as (platform, api):
        cold = await cold_starts(platform, api, plan.cold_starts)
        loss_s, by_another = loss_figures(await losses(platform, api, plan.losses))
    return Report(
        machine=f"{os.cpu_count()} CPUs, Python {machine.python_version()}, {machine.system()} {machine.release()}",
        seconds=plan.seconds,
        concurrency=plan.concurrency,
        floor=floor_of(floors),
        cells=cells,
        cold_start_s=cold,
        loss_s=loss_s,
        losses_done_by_another=by_another,
    )


@dataclass(frozen=True, slots=True)
class _Bench:
    """One platform whose pool is called, and the floor that was measured there."""

    plan: Plan
    platform: Platform
    processes: Processes
    floor: Floor

    async def cell(self, mode: Mode, workers: int, callers: int) -> Cell:
        """Measure one mode with so many callers."""
        run = Run(self.platform.api_url, POOL, mode, callers, self.plan.seconds)
        before = cpu_seconds()
        samples = await run_callers(self.processes, run, self.platform.directory)
        used = cpu_seconds()
        found = measured(samples.samples, mode, self.plan.seconds)
        sys.stderr.write(f"{workers} workers, {callers} {mode} callers: {found.per_second:.0f} per s\n")
        return Cell(
            mode=mode,
            workers=workers,
            callers=callers,
            measured=found,
            p50_to_floor=found.p50_ms / self.floor.p50_ms,
            cpu_us=microseconds_each(before, used, found.invocations),
            callers_busy=samples.cpu_seconds / self.plan.seconds,
        )


@asynccontextmanager
async def _platform(concurrency: int) -> AsyncIterator[tuple[Platform, ApiClient]]:
    options = PlatformOptions(max_concurrency=concurrency)
    async with run_platform(options) as platform, ApiClient(platform.api_url) as api:
        yield platform, api


async def _ready_pool(platform: Platform, api: ApiClient, workers: int) -> None:
    """Make the pool's units and wait until all are Ready, so that no start falls into a measurement."""
    names = [f"{POOL}-{number}" for number in range(workers)]
    async with asyncio.TaskGroup() as tasks:
        for name in names:
            tasks.create_task(api.create_unit(unit(name, POOL)))
    for name in names:
        await wait_until_ready(platform.units, name, READY_TIMEOUT_S)
