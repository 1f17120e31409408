"""How a container's program is run: command line, environment, working directory, mounts and user."""

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from framework.contract import SOCKET_DIR
from simulator.kube.kinds import Object
from simulator.kubelet.context import PodContext
from simulator.kubelet.env_sources import Sources
from simulator.kubelet.environment import Translation, container_environment, expand
from simulator.kubelet.images import Program
from simulator.kubelet.log_files import remove_older, times_of
from simulator.kubelet.pre_stop import Hook, pre_stop_hook
from simulator.kubelet.probe_rules import Probe, ProbeKind, container_probes
from simulator.kubelet.security import user_of
from simulator.kubelet.volumes import bindable, container_mounts
from simulator.processes.memory import MemoryLimit
from simulator.processes.process import Process
from simulator.processes.spawn import Streams
from simulator.processes.users import User

MESSAGE_BYTES: Final = 2048
MESSAGE_LINES: Final = 80
"""What a kubelet takes from the end of a log, at most."""


@dataclass(frozen=True, slots=True)
class Execution:
    """All that is needed to run a container's program, or the command of a probe or hook in its place."""

    context: PodContext
    environment: Mapping[str, str]
    binds: tuple[tuple[Path, Path], ...]
    probes: Mapping[ProbeKind, Probe]
    pre_stop: Hook | None
    home: Path
    needs: tuple[Path, ...]
    user: User | None

    async def start(
        self, program: Program, streams: Streams, memory: MemoryLimit | None = None, *, tty: bool = False
    ) -> Process:
        """Start a program; `$(NAME)` in its command line is replaced. Raises CannotStartError."""
        return await self.context.node.processes.start_with(
            streams,
            [expand(part, self.environment) for part in program.command],
            env=self._environment(tty=tty),
            cwd=program.cwd or self.home,
            binds=self.binds,
            user=self.user,
            needs=(*self.needs, *program.needs),
            memory=memory,
        )

    async def start_with(self, streams: Streams, command: tuple[str, ...], *, tty: bool) -> Process:
        """Start a client's command beside the container's program, just as it is written. Raises CannotStartError."""
        return await self.context.node.processes.start_with(
            streams,
            command,
            env=self._environment(tty=tty),
            cwd=self.home,
            binds=self.binds,
            user=self.user,
            needs=self.needs,
        )

    async def start_command(self, command: tuple[str, ...], log: Path) -> Process:
        """Start a probe's or hook's command beside the container's program. Raises CannotStartError."""
        with log.open("ab", buffering=0) as output:
            return await self.start(Program(command), Streams(output.fileno()))

    def _environment(self, *, tty: bool) -> Mapping[str, str]:
        return {"TERM": "xterm", **self.environment} if tty else self.environment


def prepare(context: PodContext, container: Object, sources: Sources | None = None) -> Execution:
    """Work out how a container is run, and make its scratch directory, which nobody else may enter.

    Raises:
        ConfigError: the pod asks for something that is not supported here.
    """
    pod, name = context.pod, container["name"]
    home = context.scratch(name)
    user = user_of(pod, container, context.user.uid) if context.node.separate_users else None
    home.mkdir(mode=0o700, exist_ok=True)
    if user:
        os.chown(home, user.uid, user.gid)
    keep_visible = (context.directory, *map(Path, (sys.prefix, sys.base_prefix)), Path.cwd())

    def can_bind(path: str) -> bool:
        return context.node.mount_namespaces and (path == SOCKET_DIR or bindable(path, keep_visible))

    mounts = container_mounts(pod, container, context.volumes, can_bind)
    translation = Translation(context.ports, mounts.moved)
    return Execution(
        context,
        container_environment(pod, container, os.environ, home, translation, sources),
        mounts.binds,
        container_probes(container, context.ports),
        pre_stop_hook(container, context.ports),
        home,
        (home, *(directory for _, directory in mounts.moved)),
        user,
    )


def rotate(log: Path) -> None:
    """Keep the log of the container's previous run, and its times, beside that of the one to come.

    What was put aside of the previous run goes.
    """
    remove_older(log)
    for file in (log, times_of(log)):
        if file.exists():
            file.replace(file.with_suffix(f".previous{file.suffix}"))


def termination_message(container: Object, log: Path) -> str:
    """The end of the log, where the container's `terminationMessagePolicy` asks for it; files are not supported."""
    if container.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return ""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(log.stat().st_size - MESSAGE_BYTES, 0))
        lines = file.read().decode(errors="replace").splitlines(keepends=True)
        return "".join(lines[-MESSAGE_LINES:])
    return ""
