"""Watching over one run of a container: its probes, its end, and how it is brought about."""

import asyncio
import contextlib
import math
import signal
from enum import Enum, auto
from typing import Final

import structlog

from simulator.kubelet.context import PodContext
from simulator.kubelet.execution import Execution
from simulator.kubelet.pre_stop import Hook, remaining_grace_s
from simulator.kubelet.probe_rules import Probe, ProbeCount
from simulator.kubelet.probing import ask
from simulator.kubelet.race import first_of
from simulator.kubelet.reporting import Reporter
from simulator.kubelet.states import ContainerKind
from simulator.kubelet.stopping import Stopping, pod_grace_s
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
        self.startup_s = math.inf if "startup" in execution.probes else 0.0
        """After how long the startup probe passed: real seconds, which is what a program has for its start."""
        self._context = context
        self._report = report
        self._stopping = stopping
        self._process = process
        self._failed_grace_s = pod_grace_s(context.pod)

    async def run(self, started: asyncio.Event) -> Ending:
        """Return when the process has ended, by itself or because it was stopped or failed a probe.

        `started` is set when the container counts as started.
        """
        first = await first_of(self._process.wait(), self._stopping.wait(), self._probe(started))
        if first == 0:
            return Ending.BY_ITSELF
        if first == 1:
            return await self._stop()
        # The order to stop the container counts more than the failed probe that ends it already.
        await first_of(self._end_failed(), self._stopping.wait())
        if self._stopping.asked:
            return await self._stop()
        await self._process.kill()
        return Ending.PROBE_FAILED

    async def _stop(self) -> Ending:
        if self._process.exit_code is None:
            self._report.emit("Killing", f"Stopping container {self._report.record.name}")
        await first_of(self._end_in_turn(), self._follow_readiness())
        return Ending.STOPPED

    async def _end_in_turn(self) -> None:
        await self._process.terminate(await self._wait_for_turn())

    async def _follow_readiness(self) -> None:
        """Go on with the readiness probe, if there is one, for ever: a container that ends may tell so."""
        if probe := self.execution.probes.get("readiness"):
            await self._follow(probe)
        await asyncio.Event().wait()

    async def _end_failed(self) -> None:
        """Ask the container to end, its preStop hook first; return when it has, or its grace period is over."""
        left_s = await self._run_hook(self._failed_grace_s)
        self._process.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._process.wait()

    async def _wait_for_turn(self) -> float:
        """Run the preStop hook, wait for others to end, and return what is left of the grace period."""
        grace_s = self._stopping.grace_s
        if grace_s == 0:
            return 0
        clock = asyncio.get_running_loop().time
        began = clock()
        await self._run_hook(grace_s)
        if self._stopping.turn is not None:
            # Those before it are killed when the period is over, so the wait has an end.
            await first_of(self._process.wait(), self._stopping.turn.wait())
        return remaining_grace_s(grace_s, clock() - began)

    async def _run_hook(self, grace_s: float) -> float:
        """Run the preStop hook, if there is one, and return what is left of the grace period."""
        hook = self.execution.pre_stop
        if hook is None or grace_s == 0:
            return grace_s
        clock = asyncio.get_running_loop().time
        began = clock()
        # What ends or kills the container ends the hook too: there is nothing left that it could save.
        await first_of(self._process.wait(), self._ask_hook(hook, grace_s))
        return remaining_grace_s(grace_s, clock() - began)

    async def _ask_hook(self, hook: Hook, timeout_s: float) -> None:
        problem = await ask(hook, timeout_s, self._context.node.session, self.execution.start_command)
        # A pod that is killed takes the server of its hook with it, maybe before the hook's own container.
        if problem is not None and not self._stopping.killed:
            # As on a cluster, what was wrong is not in the event: it may be a program's output.
            self._report.emit("FailedPreStopHook", "PreStopHook failed", "Warning")
            name = self._report.record.name
            _log.warning("preStop hook failed", pod=self._context.full_name, container=name, reason=problem)

    async def _probe(self, started: asyncio.Event) -> None:
        """Keep the record's `started` and `ready` up to date; return when the container must be restarted."""
        probes = self.execution.probes
        if startup := probes.get("startup"):
            clock = asyncio.get_running_loop().time
            began = clock()
            if not await self._passes(startup):
                self._tell_failure(startup)
                return
            self.startup_s = clock() - began
            # A cluster tells these two one after the other.
            await self._report.show(started=True)
            ready = "readiness" not in probes and self._report.kind is not ContainerKind.INIT
            await self._report.show(ready=ready, passed=True)
            started.set()
        followed = [probe for kind in ("readiness", "liveness") if (probe := probes.get(kind))]
        watches = [self._follow(probe, probe.initial_delay_s) for probe in followed]
        await first_of(*watches, asyncio.Event().wait())
        self._tell_failure(probes["liveness"])

    def _tell_failure(self, probe: Probe) -> None:
        if probe.grace_s is not None:
            self._failed_grace_s = probe.grace_s
        name = self._report.record.name
        if self._report.kind is ContainerKind.MAIN:
            self._report.emit("Killing", f"Container {name} failed {probe.kind} probe, will be restarted")
        else:
            self._report.emit("Killing", f"Init container {name} failed {probe.kind} probe")

    async def _passes(self, probe: Probe) -> bool:
        """Ask a startup probe until it passes, or has failed often enough.

        A program does not start faster because the clock of this kubelet does: the probe is asked more often, but the
        program has as much real time as it would have on a cluster.
        """
        clock = asyncio.get_running_loop().time
        count = ProbeCount()
        await self._sleep(probe.initial_delay_s)
        began = clock()
        while not count.passing and (count.failures < probe.failure_threshold or clock() - began < probe.patience_s):
            count = await self._ask(probe, count)
            if not count.passing:
                await self._sleep(probe.period_s)
        return count.passing

    async def _follow(self, probe: Probe, delay_s: float = 0) -> None:
        """Ask a probe for ever; return only when a liveness probe fails."""
        count = ProbeCount(passing=probe.kind == "liveness" or self._report.record.ready)
        await self._sleep(delay_s)
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
        at_leisure = count.passing and not self._stopping.asked
        return max(scaled_s, min(probe.period_s, PASSING_PERIOD_S)) if at_leisure else scaled_s

    async def _ask(self, probe: Probe, count: ProbeCount) -> ProbeCount:
        problem = await ask(probe.action, probe.timeout_s, self._context.node.session, self.execution.start_command)
        if problem is not None:
            self._report.emit("Unhealthy", f"{probe.kind.capitalize()} probe failed: {problem}", "Warning")
        return count.add(problem is None, probe.success_threshold, probe.failure_threshold)

    async def _sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s * self._context.node.time_scale)
