"""The life of one container: start its program, watch it, start it again."""

import asyncio
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import structlog

from simulator.kube.kinds import Object
from simulator.kubelet.backoff import format_delay, pull_delay_s, restart_delay_s
from simulator.kubelet.context import PodContext
from simulator.kubelet.environment import ConfigError
from simulator.kubelet.events import EventType
from simulator.kubelet.execution import Execution, prepare, rotate, termination_message
from simulator.kubelet.images import IMAGE_SUBSTITUTED, Program, UnknownImageError, substitution_notice
from simulator.kubelet.pre_stop import remaining_grace_s
from simulator.kubelet.probe_rules import Exec, HttpGet, Probe, ProbeCount
from simulator.kubelet.probing import ask
from simulator.kubelet.race import first_of
from simulator.kubelet.states import ContainerKind, ContainerRecord, Running, Terminated, Waiting, terminated
from simulator.kubelet.timestamps import now
from simulator.processes.process import Process
from simulator.processes.spawn import CannotStartError

SYNC_PERIOD_S: Final = 1.0
"""How long (scaled) a container's end, or a failed pull, shows before the back-off that follows it."""
PASSING_PERIOD_S: Final = 0.5
"""How long a probe that passes rests at least, however short the time scale; its own period, if that is shorter."""
START_ERROR_CODE: Final = 128

_log = structlog.get_logger(__name__)


class Container:
    """One container of a pod. `run` is its life; `record` is what the pod's status says of it.

    `on_change` is called after each change of the record.
    """

    def __init__(self, context: PodContext, spec: Object, kind: ContainerKind, on_change: Callable[[], None]) -> None:
        self.kind = kind
        self.substituted = False
        self.started = asyncio.Event()
        self.process: Process | None = None
        self._context = context
        self._spec = spec
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._grace_s = float(context.pod["spec"].get("terminationGracePeriodSeconds") or 30)
        waiting = "PodInitializing" if context.pod["spec"].get("initContainers") else "ContainerCreating"
        self.record = ContainerRecord(self.name, spec.get("image", ""), kind, Waiting(waiting))

    @property
    def name(self) -> str:
        """The container's name in the pod's spec."""
        return str(self._spec["name"])

    @property
    def log(self) -> Path:
        """The file with the output of the present run."""
        return self._context.log_path(self.name)

    def stop(self, grace_s: float) -> None:
        """End the container: no more starts, preStop hook, SIGTERM, and SIGKILL. `run` then returns.

        Hook and SIGTERM together have `grace_s` seconds (see `remaining_grace_s`); with none there is no hook.
        """
        self._grace_s = grace_s
        self._stopping.set()

    def kill(self) -> None:
        """End the container at once."""
        self.stop(0)
        if self.process:
            self.process.signal(signal.SIGKILL)

    async def run(self) -> None:
        """Run the container until it is stopped; an ordinary init container until it has succeeded."""
        try:
            execution = prepare(self._context, self._spec)
        except ConfigError as error:
            self._set(state=Waiting("CreateContainerConfigError", str(error)))
            self._emit("Failed", f"Error: {error}", "Warning")
            await self._stopping.wait()
            return
        program = await self._find_program()
        delay_s: float | None = None
        while program is not None and not self._stopping.is_set():
            ran_s = await self._run_once(execution, program)
            if self._finished():
                return
            delay_s = restart_delay_s(delay_s, ran_s / self._context.node.time_scale)
            await self._back_off(delay_s)

    def _finished(self) -> bool:
        ended = self.record.state
        succeeded = isinstance(ended, Terminated) and ended.exit_code == 0
        return self.kind is ContainerKind.INIT and succeeded

    async def _find_program(self) -> Program | None:
        """The image's program; None if the container is stopped before there is one."""
        delay_s = 0.0
        while not self._stopping.is_set():
            try:
                program = self._context.node.images.resolve(self._context.pod, self._spec)
            except UnknownImageError as error:
                delay_s = pull_delay_s(delay_s)
                await self._show_failed_pull(str(error), delay_s)
            else:
                if program.substituted:
                    self.substituted = True
                    self._emit(IMAGE_SUBSTITUTED, substitution_notice(self.record.image), "Warning")
                return program
        return None

    async def _show_failed_pull(self, problem: str, delay_s: float) -> None:
        image = self.record.image
        self._emit("Pulling", f'Pulling image "{image}"')
        self._emit("Failed", f'Failed to pull image "{image}": {problem}', "Warning")
        self._emit("Failed", "Error: ErrImagePull", "Warning")
        self._set(state=Waiting("ErrImagePull", problem))
        await self._pause(SYNC_PERIOD_S)
        self._emit("BackOff", f'Back-off pulling image "{image}"')
        self._emit("Failed", "Error: ImagePullBackOff", "Warning")
        self._set(state=Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {problem}'))
        await self._pause(delay_s)

    async def _run_once(self, execution: Execution, program: Program) -> float:
        """Start the program, wait for its end, and return how long it ran in seconds; 0 if it did not start."""
        rotate(self.log)
        restarts = self.record.restarts + 1 if self.record.begun else 0
        self._emit("Pulled", f'Container image "{self.record.image}" already present on machine')
        self._emit("Created", "Container created")
        try:
            self.process = await execution.start(program, self.log)
        except CannotStartError as error:
            self._emit("Failed", f"Error: {error}", "Warning")
            failed = Terminated(START_ERROR_CODE, "StartError", now(), message=str(error))
            self._set(state=Waiting("RunContainerError", str(error)), last=failed, restarts=restarts)
            return 0.0
        clock = asyncio.get_running_loop().time
        started_at, began = now(), clock()
        try:
            self._emit("Started", "Container started")
            self._show_start(execution, Running(started_at, self.process.pid), restarts)
            await self._supervise(execution, self.process)
        finally:
            await self.process.kill()
            code = self.process.exit_code if self.process.exit_code is not None else -signal.SIGKILL
            message = termination_message(self._spec, self.log)
            ended = terminated(code, self.process.pid, started_at, now(), message)
            self.process = None
            self._set(state=ended, started=False, ready=self.kind is ContainerKind.INIT and ended.exit_code == 0)
        return clock() - began

    def _show_start(self, execution: Execution, running: Running, restarts: int) -> None:
        ended = self.record.state
        self._set(state=running, last=ended if isinstance(ended, Terminated) else self.record.last, restarts=restarts)
        if "startup" not in execution.probes:
            self._show_started(execution)

    def _show_started(self, execution: Execution) -> None:
        self._set(started=True, ready="readiness" not in execution.probes and self.kind is not ContainerKind.INIT)
        self.started.set()

    async def _supervise(self, execution: Execution, process: Process) -> None:
        """Return when the process has ended, by itself or because it was stopped or failed a probe."""
        first = await first_of(process.wait(), self._stopping.wait(), self._probe(execution))
        if first == 0:
            return
        grace_s = self._grace_s
        if first == 1:
            self._emit("Killing", f"Stopping container {self.name}")
            grace_s = await self._call_hook(execution, process, grace_s)
        await process.terminate(grace_s)

    async def _call_hook(self, execution: Execution, process: Process, grace_s: float) -> float:
        """Run the preStop hook, if there is one and time for it, and return how much of the grace period is left."""
        if execution.pre_stop is None or grace_s == 0:
            return grace_s
        clock = asyncio.get_running_loop().time
        began = clock()
        # What ends or kills the container ends the hook too: there is nothing left that it could save.
        await first_of(process.wait(), self._ask_hook(execution.pre_stop, grace_s, execution))
        return remaining_grace_s(grace_s, clock() - began)

    async def _ask_hook(self, hook: HttpGet | Exec, timeout_s: float, execution: Execution) -> None:
        problem = await ask(hook, timeout_s, self._context.node.session, execution.start_command)
        if problem is not None:
            # As on a cluster, what was wrong is not in the event: it may be a program's output.
            self._emit("FailedPreStopHook", "PreStopHook failed", "Warning")
            _log.warning("preStop hook failed", pod=self._context.full_name, container=self.name, reason=problem)

    async def _probe(self, execution: Execution) -> None:
        """Keep the record's `started` and `ready` up to date; return when the container must be restarted."""
        probes = execution.probes
        if startup := probes.get("startup"):
            if not await self._passes(startup, execution):
                role = "Container" if self.kind is ContainerKind.MAIN else "Init container"
                self._emit("Killing", f"{role} {self.name} failed startup probe")
                return
            self._show_started(execution)
        watches = [self._follow(probes[kind], execution) for kind in ("readiness", "liveness") if kind in probes]
        await first_of(*watches, asyncio.Event().wait())
        self._emit("Killing", f"Container {self.name} failed liveness probe, will be restarted")

    async def _passes(self, probe: Probe, execution: Execution) -> bool:
        count = ProbeCount()
        allowed = probe.failures_allowed(self._context.node.time_scale)
        await self._sleep(probe.initial_delay_s)
        while not count.passing and count.failures < allowed:
            count = await self._ask(probe, execution, count)
            if not count.passing:
                await self._sleep(probe.period_s)
        return count.passing

    async def _follow(self, probe: Probe, execution: Execution) -> None:
        """Ask a probe for ever; return only when a liveness probe fails."""
        count = ProbeCount(passing=probe.kind == "liveness")
        await self._sleep(probe.initial_delay_s)
        while True:
            count = await self._ask(probe, execution, count)
            if probe.kind == "readiness":
                self._set(ready=count.passing)
            elif not count.passing:
                return
            await asyncio.sleep(self._until_next(probe, count))

    def _until_next(self, probe: Probe, count: ProbeCount) -> float:
        """Seconds to the next time: what passes is asked at leisure, or idle pods would keep a processor busy."""
        scaled_s = probe.period_s * self._context.node.time_scale
        return max(scaled_s, min(probe.period_s, PASSING_PERIOD_S)) if count.passing else scaled_s

    async def _ask(self, probe: Probe, execution: Execution, count: ProbeCount) -> ProbeCount:
        problem = await ask(probe.action, probe.timeout_s, self._context.node.session, execution.start_command)
        if problem is not None:
            self._emit("Unhealthy", f"{probe.kind.capitalize()} probe failed: {problem}", "Warning")
        allowed = probe.failures_allowed(self._context.node.time_scale)
        return count.add(problem is None, probe.success_threshold, allowed)

    async def _back_off(self, delay_s: float) -> None:
        if not delay_s or self._stopping.is_set():
            return
        pod = self._context.full_name
        self._emit("BackOff", f"Back-off restarting failed container {self.name} in pod {pod}", "Warning")
        await self._pause(min(SYNC_PERIOD_S, delay_s))
        if self._stopping.is_set():
            return
        ended = self.record.state
        delay = format_delay(delay_s)
        self._set(
            state=Waiting("CrashLoopBackOff", f"back-off {delay} restarting failed container={self.name} pod={pod}"),
            last=ended if isinstance(ended, Terminated) else self.record.last,
        )
        await self._pause(delay_s - SYNC_PERIOD_S)

    async def _pause(self, delay_s: float) -> None:
        """Sleep, scaled, but no longer than until the container is stopped."""
        if delay_s > 0:
            await first_of(self._sleep(delay_s), self._stopping.wait())

    async def _sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s * self._context.node.time_scale)

    def _emit(self, reason: str, message: str, kind: EventType = "Normal") -> None:
        self._context.emit_for(self.name, self.kind, reason, message, kind)

    def _set(self, **changes: Any) -> None:
        changed = replace(self.record, **changes)
        if changed != self.record:
            self.record = changed
            self._on_change()
