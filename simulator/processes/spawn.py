"""The one place that starts child processes, and the promise that none of them outlives its owner.

Three nets: the owner ends its children when it leaves; the kernel kills a child whose parent died (Linux); and a
warden process kills whole process groups and removes directories when the parent is gone, however it went.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.errors import EnvironmentMissing, PlatformError
from simulator.processes.completion import complete
from simulator.processes.memory import MemoryLimit
from simulator.processes.process import Process
from simulator.processes.users import User
from simulator.processes.view import Mount, interpreter_paths, mounts_for

ON_LINUX = sys.platform == "linux"
START_TIMEOUT_S = 20.0
"""For the launcher to become the program; it takes some 20 ms on an idle machine."""
WARDEN_TIMEOUT_S = 10.0

PYTHON = (sys.executable, "-I", "-S")
"""An interpreter that imports the standard library only, and starts in half the time for it."""

_HERE = Path(__file__).parent


class CannotStartError(EnvironmentMissing):
    """The program was not started: it is not there, not executable, or its mounts cannot be made."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The descriptors that a program gets as its standard ones; the caller's own stay open, and his to close.

    `error` None: where the output goes. A program whose input is a terminal has it as its controlling one (Linux).
    """

    output: int
    error: int | None = None
    input: int = subprocess.DEVNULL


class Processes:
    """Owner of child processes; an async context manager.

    When it is left, by whatever way, no child is alive and what `remove_at_end` and `release_at_end` registered is
    gone; so it is when this process is killed. A descendant that leaves its process group on purpose (setsid) is
    beyond this promise.
    """

    def __init__(self) -> None:
        self._live: set[Process] = set()
        self._warden: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._warden = subprocess.Popen(  # noqa: ASYNC220 - returns after 1 ms, and leaves no gap to be cancelled in
            [*PYTHON, str(_HERE / "warden.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={},
            cwd="/",
            start_new_session=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await complete(self._end())

    async def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        binds: Sequence[tuple[Path, Path]] = (),
        user: User | None = None,
        needs: Sequence[Path] = (),
        memory: MemoryLimit | None = None,
    ) -> Process:
        """Start a program with exactly this environment; return once it runs.

        Its output is appended to `log`. For the rest see `start_with`, which this is with a file for its streams.

        Raises:
            CannotStartError: the program did not come to run; the message says why.
        """
        with log.open("ab", buffering=0) as output:
            streams = Streams(output.fileno())
            return await self.start_with(
                streams, command, env=env, cwd=cwd, binds=binds, user=user, needs=needs, memory=memory
            )

    async def start_with(
        self,
        streams: Streams,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        binds: Sequence[tuple[Path, Path]] = (),
        user: User | None = None,
        needs: Sequence[Path] = (),
        memory: MemoryLimit | None = None,
    ) -> Process:
        """Start a program with these streams and exactly this environment; return once it runs.

        The program is looked for in the PATH of `env`. With `binds`, pairs of existing directories, each first one
        appears at the second, for the program and its descendants only.

        With `user`, for which this process must be root, the program runs as that user. Of what is below directories
        that the user may not enter it sees `cwd`, this project's Python, `needs` and the binds, and nothing else.

        Raises:
            CannotStartError: the program did not come to run; the message says why.
        """
        if not ON_LINUX:
            if binds or user:
                raise CannotStartError("a process can be given its own mounts and user on Linux only")
            error = subprocess.STDOUT if streams.error is None else streams.error
            return self._spawn(command, env, cwd, streams, error, memory)
        mounts: list[Mount] = [*binds]
        if user:
            _give_output(streams, user)
            mounts = [*mounts_for(user, [*interpreter_paths(), cwd, *needs]), *binds]
        launch = launch_command(command, cwd, mounts, user, streams.error)
        channel, end = os.pipe()
        try:
            process = self._spawn(launch, env, Path("/"), streams, end, memory)
        except BaseException:
            os.close(channel)
            raise
        finally:
            os.close(end)
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                complaint = await _read_all(channel)
        except TimeoutError as late:
            await process.kill()
            raise CannotStartError(f"cannot start {command[0]!r}: not running after {START_TIMEOUT_S:g} s") from late
        except asyncio.CancelledError:
            await process.kill()
            raise
        if complaint:
            await process.kill()
            raise CannotStartError(complaint)
        return process

    def remove_at_end(self, directory: Path) -> None:
        """Have this directory tree removed when this object is left or this process dies."""
        self._tell_warden(f"dir {directory.absolute()}")

    def release_at_end(self, mount_point: Path) -> None:
        """Have this shared mount point removed at the end, unless another platform uses it."""
        self._tell_warden(f"mount {mount_point.absolute()}")

    def released(self, mount_point: Path) -> None:
        """Take back `release_at_end`."""
        self._tell_warden(f"unmount {mount_point.absolute()}")

    def _spawn(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        streams: Streams,
        error: int,
        memory: MemoryLimit | None,
    ) -> Process:
        passed = () if streams.error is None else (streams.error,)
        try:
            child = subprocess.Popen(
                command,
                stdin=streams.input,
                stdout=streams.output,
                stderr=error,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                pass_fds=passed,
            )
        except OSError as reason:
            raise CannotStartError(f"cannot start {command[0]!r}: {reason.strerror}") from reason
        except ValueError as reason:  # a NUL, where the system has strings that end with one
            raise CannotStartError(f"cannot start {command[0]!r}: {reason}") from reason
        process = Process(child, self._forget)
        self._live.add(process)
        self._tell_warden(f"group {process.pid}")
        if memory:
            memory.hold(process.pid)
        return process

    def _forget(self, process: Process) -> None:
        self._live.discard(process)
        if self._warden is not None:
            with contextlib.suppress(PlatformError):  # the process must be reaped all the same
                self._tell_warden(f"forget {process.pid}")

    def _tell_warden(self, line: str) -> None:
        if self._warden is None or self._warden.stdin is None:
            raise RuntimeError("Processes must be entered (async with) before it is used")
        if "\n" in line:
            raise ValueError(f"a path must not contain a line break: {line!r}")
        try:
            self._warden.stdin.write(os.fsencode(line + "\n"))
        except BrokenPipeError as error:
            raise PlatformError("the warden process, which cleans up after a crash, was ended; start again") from error

    async def _end(self) -> None:
        await asyncio.gather(*(process.kill() for process in list(self._live)), return_exceptions=True)
        survivors = sorted(process.pid for process in self._live)
        child, self._warden = self._warden, None
        if child is not None and child.stdin is not None:
            child.stdin.close()
            warden = Process(child, lambda _: None)
            try:
                async with asyncio.timeout(WARDEN_TIMEOUT_S):
                    await warden.wait()
            except TimeoutError:
                await warden.kill()
        if survivors:
            raise PlatformError(f"these processes could not be killed: {survivors}; look at them with `ps`")


def _give_output(streams: Streams, user: User) -> None:
    """Let the user's program open its own output anew, as `/dev/stderr`."""
    try:
        for descriptor in (streams.output, streams.error):
            if descriptor is not None:
                os.fchown(descriptor, user.uid, user.gid)
    except PermissionError as error:
        raise CannotStartError(f"cannot run a program as user {user.uid}: only root can") from error


def launch_command(
    command: Sequence[str], cwd: Path, mounts: Sequence[Mount], user: User | None, error: int | None = None
) -> list[str]:
    """The command line with which a child of this process becomes the program (see the launcher).

    `error` is the descriptor that becomes its standard error; None: where its output goes.
    """
    paths = [str(path or "") for mount in mounts for path in mount]
    launcher = [*PYTHON, str(_HERE / "launch.py"), str(os.getpid())]
    output = 1 if error is None else error
    return [*launcher, str(user or "-"), str(cwd), str(output), str(len(mounts)), *paths, *command]


async def _read_all(descriptor: int) -> str:
    """Read the pipe until its other end is closed, then close this one."""
    loop = asyncio.get_running_loop()
    chunks: list[bytes] = []
    closed = asyncio.Event()

    def read() -> None:
        chunk = os.read(descriptor, 4096)
        chunks.append(chunk)
        if not chunk:
            closed.set()

    loop.add_reader(descriptor, read)
    try:
        await closed.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return b"".join(chunks).decode(errors="replace").strip()
