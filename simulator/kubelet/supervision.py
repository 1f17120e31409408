"""Watching over one run of a container: its probes, its end, and how it is brought about."""

import asyncio
from enum import Enum, auto
from typing import Final

import structlog

from simulator.kubelet.context import PodContext
from simulator.kubelet.execution import Execution
from simulator.kubelet.pre_stop import remaining_grace_s
from simulator.kubelet.probe_rules import Exec, HttpGet, Probe, ProbeCount
from simulator.kubelet.probing import ask
from simulator.kubelet.race import first_of
from simulator.kubelet.reporting import Reporter
from simulator.kubelet.states import ContainerKind
from simulator.kubelet.stopping import Stopping
from simulator.processes.process import Process

PASSING_PERIOD_S: Final = 0.5
"""How long a probe that passes rests at least, however short the time scale; its own period, if that is shorter."""

_log = structlog.get_logger(__name__)


class Ending(Enum):
    """Why a run ended."""

    BY_ITSELF = auto()
    STOPPED = auto()
    PROBE_FAILED = auto()


class Supervision:
    """One run of a container, from the start of its process to its end."""

    def __init__(
        self, context: PodContext, report: Reporter, stopping: Stopping, process: Process, execution: Execution
    ) -> None:
        self.execution = execution
        self._context = context
        self._report = report
        self._stopping = stopping
        self._process = process

    async def run(self, started: asyncio.Event) -> Ending:
        """Return when the process has ended, by itself or because it was stopped or failed a probe.

        `started` is set when the container counts as started.
        """
        first = await first_of(self._process.wait(), self._stopping.wait(), self._probe(started))
        if first == 0:
            return Ending.BY_ITSELF
        if first == 1:
            self._report.emit("Killing", f"Stopping container {self._report.record.name}")
            await self._process.terminate(await self._wait_for_turn())
            return Ending.STOPPED
        grace_s = float(self._context.pod["spec"].get("terminationGracePeriodSeconds", 30))
        await first_of(self._process.terminate(grace_s), self._stopping.wait())
        if self._process.exit_code is None:
            await self._process.terminate(await self._wait_for_turn())
        return Ending.STOPPED if self._stopping.asked else Ending.PROBE_FAILED

    async def _wait_for_turn(self) -> float:
        """Run the preStop hook, wait for others to end, and return what is left of the grace period."""
        grace_s = self._stopping.grace_s
        if grace_s == 0:
            return 0
        clock = asyncio.get_running_loop().time
        began = clock()
        # What ends or kills the container ends the hook too: there is nothing left that it could save.
        if self.execution.pre_stop is not None:
            await first_of(self._process.wait(), self._ask_hook(self.execution.pre_stop, grace_s))
        if self._stopping.turn is not None:
            # Those before it are killed when the period is over, so the wait has an end.
            await first_of(self._process.wait(), self._stopping.turn.wait())
        return remaining_grace_s(grace_s, clock() - began)

    async def _ask_hook(self, hook: HttpGet | Exec, timeout_s: float) -> None:
        problem = await ask(hook, timeout_s, self._context.node.session, self.execution.start_command)
        if problem is not None:
            # As on a cluster, what was wrong is not in the event: it may be a program's output.
            self._report.emit("FailedPreStopHook", "PreStopHook failed", "Warning")
            name = self._report.record.name
            _log.warning("preStop hook failed", pod=self._context.full_name, container=name, reason=problem)

    async def _probe(self, started: asyncio.Event) -> None:
        """Keep the record's `started` and `ready` up to date; return when the container must be restarted."""
        probes = self.execution.probes
        if startup := probes.get("startup"):
            if not await self._passes(startup):
                self._tell_failure("startup")
                return
            # A cluster tells these two one after the other.
            await self._report.show(started=True)
            ready = "readiness" not in probes and self._report.kind is not ContainerKind.INIT
            await self._report.show(ready=ready, passed=True)
            started.set()
        watches = [self._follow(probes[kind]) for kind in ("readiness", "liveness") if kind in probes]
        await first_of(*watches, asyncio.Event().wait())
        self._tell_failure("liveness")

    def _tell_failure(self, probe: str) -> None:
        name = self._report.record.name
        if self._report.kind is ContainerKind.MAIN:
            self._report.emit("Killing", f"Container {name} failed {probe} probe, will be restarted")
        else:
            self._report.emit("Killing", f"Init container {name} failed {probe} probe")

    async def _passes(self, probe: Probe) -> bool:
        count = ProbeCount()
        allowed = probe.failures_allowed(self._context.node.time_scale)
        await self._sleep(probe.initial_delay_s)
        while not count.passing and count.failures < allowed:
            count = await self._ask(probe, count)
            if not count.passing:
                await self._sleep(probe.period_s)
        return count.passing

    async def _follow(self, probe: Probe) -> None:
        """Ask a probe for ever; return only when a liveness probe fails."""
        count = ProbeCount(passing=probe.kind == "liveness")
        await self._sleep(probe.initial_delay_s)
        while True:
            count = await self._ask(probe, count)
            if probe.kind == "readiness":
                await self._report.show(ready=count.passing)
            elif not count.passing:
                return
            await asyncio.sleep(self._until_next(probe, count))

    def _until_next(self, probe: Probe, count: ProbeCount) -> float:
        """Seconds to the next time: what passes is asked at leisure, or idle pods would keep a processor busy."""
        scaled_s = probe.period_s * self._context.node.time_scale
        return max(scaled_s, min(probe.period_s, PASSING_PERIOD_S)) if count.passing else scaled_s

    async def _ask(self, probe: Probe, count: ProbeCount) -> ProbeCount:
        problem = await ask(probe.action, probe.timeout_s, self._context.node.session, self.execution.start_command)
        if problem is not None:
            self._report.emit("Unhealthy", f"{probe.kind.capitalize()} probe failed: {problem}", "Warning")
        allowed = probe.failures_allowed(self._context.node.time_scale)
        return count.add(problem is None, probe.success_threshold, allowed)

    async def _sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s * self._context.node.time_scale)
