"""The life of one container: get its image, start its program, watch it, start it again."""

import asyncio
import contextlib
import random
import secrets
import signal
from enum import Enum, auto
from pathlib import Path
from typing import Final

from simulator.errors import UsageError
from simulator.kube.kinds import Object
from simulator.kube.timestamps import now
from simulator.kubelet.backoff import format_delay, probe_restart_delay_s, restart_delay_s
from simulator.kubelet.console import Console
from simulator.kubelet.context import PodContext
from simulator.kubelet.deletion import first_waiting
from simulator.kubelet.env_sources import ConfigError, read_sources
from simulator.kubelet.execution import Execution, prepare, rotate, termination_message
from simulator.kubelet.image_pull import SYNC_PERIOD_S, ImagePuller
from simulator.kubelet.images import Program
from simulator.kubelet.log_files import LogCollector
from simulator.kubelet.pod_resources import memory_limit
from simulator.kubelet.reporting import Publication, Reporter
from simulator.kubelet.start_problems import start_problem
from simulator.kubelet.startup_times import StartupTimes, startup_times
from simulator.kubelet.states import (
    ContainerKind,
    ContainerRecord,
    Running,
    Terminated,
    Waiting,
    start_error,
    terminated,
)
from simulator.kubelet.stopping import Stopping
from simulator.kubelet.supervision import Ending, Supervision
from simulator.processes.memory import MemoryLimit
from simulator.processes.process import Process
from simulator.processes.spawn import CannotStartError

MODEL_LOAD: Final = ("/bin/sh", "-c", 'sleep "$0" && exec "$@"')
"""A model that takes its time: the program's process is there, and probes find nobody in."""


class _Next(Enum):
    RESTART = auto()
    END = auto()


class Container:
    """One container of a pod. `run` is its life; `record` is what the pod's status says of it.

    `process`, `execution` and `console` are those of the present run, `output` is what takes (or took) the log of the
    latest.
    """

    def __init__(self, context: PodContext, spec: Object, kind: ContainerKind, publication: Publication) -> None:
        self.kind = kind
        self.started = asyncio.Event()
        self.process: Process | None = None
        self.execution: Execution | None = None
        self.console: Console | None = None
        self.output: LogCollector | None = None
        self.context = context
        self._spec = spec
        self._stopping = Stopping(context.node.time_scale)
        record = ContainerRecord(self.name, spec.get("image", ""), kind, first_waiting(context.pod["spec"]))
        self._report = Reporter(context, record, publication)
        self._images = ImagePuller(context, spec, self._report, self._stopping)
        self._delay_s: float | None = None
        self._ended: Terminated | None = None  # the latest run, shown already or not

    @property
    def name(self) -> str:
        """The container's name in the pod's spec."""
        return str(self._spec["name"])

    @property
    def record(self) -> ContainerRecord:
        """What the pod's status says of the container."""
        return self._report.record

    @property
    def substituted(self) -> bool:
        """Whether the echo framework runs in place of the container's image."""
        return self._images.substituted

    @property
    def log(self) -> Path:
        """The file with the output of the present run."""
        return self.context.log_path(self.name)

    @property
    def starting(self) -> bool:
        """Whether the next run has begun, while the pod's status still says that the container waits."""
        return self.output is not None and not self.output.ended

    def stop(self, grace_s: float, turn: asyncio.Event | None = None) -> None:
        """End the container: no more starts, preStop hook, SIGTERM when it is its `turn`, and SIGKILL.

        Hook, wait and SIGTERM together have `grace_s` seconds (see `remaining_grace_s`). `run` then returns.
        """
        self._stopping.ask(grace_s, turn)

    def kill(self) -> None:
        """End the container at once."""
        self.stop(0)
        if self.process:
            self.process.signal(signal.SIGKILL)

    async def run(self) -> None:
        """Run the container until it is stopped, or has ended for good by its pod's restart policy."""
        while not self._stopping.asked:
            if await self._live() is _Next.END:
                return

    async def _live(self) -> _Next:
        """One run, from its image to the wait before the next one; or one attempt at it."""
        try:
            times = startup_times(self.context.pod, self.name, self.context.node.images.startup(self.record.image))
        except UsageError as error:
            await self._show_config_error(str(error))
            return _Next.RESTART
        program = await self._images.program(times)
        if program is None:
            return _Next.RESTART
        try:
            sources = await read_sources(self.context.node.cluster, self.context.namespace, self._spec)
            execution = prepare(self.context, self._spec, sources)
        except ConfigError as error:
            await self._show_config_error(str(error))
            return _Next.RESTART
        self._report.emit("Created", "Container created")
        await self._stopping.pause_unscaled(times.container_start.draw_s(random.SystemRandom()))
        if self._stopping.asked:
            return _Next.END
        return await self._run_once(execution, _with_load(program, times))

    async def _show_config_error(self, problem: str) -> None:
        self._report.emit("Failed", f"Error: {problem}", "Warning")
        await self._images.waited(Waiting("CreateContainerConfigError", problem))

    async def _run_once(self, execution: Execution, program: Program) -> _Next:
        restarts = self.record.restarts + 1 if self._ended else 0
        run = Running(now(), secrets.token_hex(32))
        rotate(self.log)
        tty = bool(self._spec.get("tty"))
        with (
            LogCollector(self.log, terminal=tty) as output,
            Console(self._spec, output) as console,
            contextlib.ExitStack() as stack,
        ):
            self.output = output
            try:
                memory = stack.enter_context(self._memory_limit(run.id))
                self.process = await execution.start(program, console.streams, memory, tty=tty)
            except (CannotStartError, OSError) as error:
                problem = start_problem(program.command[0], execution.environment, str(error))
                await self._show_start_error(problem, run.id, restarts)
                return _Next.RESTART
            console.started()
            self.console = console
            began = asyncio.get_running_loop().time()
            how = Ending.STOPPED
            before = self._ended
            try:
                self._report.emit("Started", "Container started")
                supervision = Supervision(self.context, self._report, self._stopping, self.process, execution)
                await self._show_start(supervision, run, restarts)
                how = await supervision.run(self.started)
            finally:
                await self.process.kill()
                self._note_end(run, self.process.exit_code, output, oom=bool(memory and memory.was_exceeded))
                if how is not Ending.PROBE_FAILED:
                    self._show_end()
        real_s = asyncio.get_running_loop().time() - began
        startup_s = min(supervision.startup_s, real_s)
        ran_s = startup_s + (real_s - startup_s) / self.context.node.time_scale
        return await self._after(how, ran_s, ended_before=before is not None)

    async def _show_start(self, supervision: Supervision, run: Running, restarts: int) -> None:
        self.execution = supervision.execution
        started = "startup" not in supervision.execution.probes
        ready = started and "readiness" not in supervision.execution.probes and self.kind is not ContainerKind.INIT
        last = self._ended or self.record.last
        await self._report.show(state=run, last=last, restarts=restarts, started=started, ready=ready, passed=started)
        if started:
            self.started.set()

    def _memory_limit(self, run: str) -> contextlib.AbstractContextManager[MemoryLimit | None]:
        size = memory_limit(self._spec)
        return contextlib.nullcontext() if size is None else self.context.node.memory.limit(run, size)

    def _note_end(self, run: Running, code: int | None, output: LogCollector, *, oom: bool) -> None:
        output.drain()
        message = termination_message(self._spec, self.log)
        self._ended = terminated(-signal.SIGKILL if code is None else code, run, now(), message, oom=oom)
        self.process = self.execution = self.console = None

    def _show_end(self) -> None:
        done = self.kind is ContainerKind.INIT and self._ended is not None and self._ended.exit_code == 0
        self._report.set(state=self._ended, started=False, ready=done)

    async def _after(self, how: Ending, ran_s: float, *, ended_before: bool) -> _Next:
        if how is Ending.STOPPED or self._is_final():
            return _Next.END
        if how is Ending.PROBE_FAILED:
            self._delay_s, delay_s = probe_restart_delay_s(self._delay_s, ran_s, ended_before=ended_before)
            if not delay_s:
                return _Next.RESTART  # a kubelet restarts it in one go: nobody sees it ended
            self._show_end()
        else:
            delay_s = self._delay_s = restart_delay_s(self._delay_s, ran_s)
        await self._report.show()
        await self._back_off(delay_s)
        return _Next.RESTART

    def _is_final(self) -> bool:
        """Whether the container is not started again, by its kind and its pod's restart policy."""
        if self.kind is ContainerKind.SIDECAR or self._ended is None:
            return False
        policy = self.context.pod["spec"].get("restartPolicy", "Always")
        succeeded = self._ended.exit_code == 0
        return policy == "Never" or (succeeded and (policy == "OnFailure" or self.kind is ContainerKind.INIT))

    async def _show_start_error(self, problem: str, run_id: str, restarts: int) -> None:
        self._report.emit("Failed", f"Error: {problem}", "Warning")
        await self._stopping.pause(SYNC_PERIOD_S)
        if self._stopping.asked:
            return
        self._ended = start_error(problem, run_id, now())
        waiting = Waiting("RunContainerError", problem)
        await self._report.show(state=waiting, last=self._ended, restarts=restarts, started=False, ready=False)
        self._delay_s = restart_delay_s(self._delay_s, 0)
        await self._back_off(self._delay_s)

    async def _back_off(self, delay_s: float) -> None:
        if not delay_s or self._stopping.asked:
            return
        pod = self.context.full_name
        self._report.emit("BackOff", f"Back-off restarting failed container {self.name} in pod {pod}", "Warning")
        await self._stopping.pause(min(SYNC_PERIOD_S, delay_s))
        if self._stopping.asked:
            return
        message = f"back-off {format_delay(delay_s)} restarting failed container={self.name} pod={pod}"
        await self._report.show_waiting(Waiting("CrashLoopBackOff", message))
        await self._stopping.pause(delay_s - SYNC_PERIOD_S)


def _with_load(program: Program, times: StartupTimes) -> Program:
    """The program behind the time that its model takes to load."""
    takes_s = times.model_load.draw_s(random.SystemRandom())
    if not takes_s:
        return program
    command = (*MODEL_LOAD, f"{takes_s:.3f}", *program.command)
    return Program(command, program.cwd, program.substituted, program.needs)
