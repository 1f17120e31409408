"""The whole path of one kind, fresh for each measurement, each part of it a process of its own.

Both kinds have the same nats-server, the same echo framework, and as many calls at once per worker. All are children
of this process, below `simulator.processes`: none outlives it, however it ends.
"""

import asyncio
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from framework.contract import SOCKET_PATH_ENV
from scenarios.load.cpu import part_of
from sidecar.subjects import sidecar_consumer
from simulator.kubelet.socket_dir import SocketDir
from simulator.nats_server import SERVER_ENV, NatsServer
from simulator.processes.process import Process
from simulator.processes.spawn import Processes
from tests.bench.lean_nats import LeanNats
from tests.bench.path_platform import Whereabouts
from tests.bench.processes import (
    LOG_TAIL,
    READY_TIMEOUT_S,
    ROOT,
    STOP_GRACE_S,
    cpu_us,
    free_port,
    listening,
    make_stream,
    sidecar_environ,
)

CONCURRENCY: Final = 64
"""Calls that each worker runs at once; the activator of the path `plain` has as many in its hands."""
POLL_S: Final = 0.02
"""What a program printed is looked for in its log, which has no event."""
PLATFORM_TIMEOUT_S: Final = 60.0
BACKLOG_LIMIT: Final = 1_000_000
"""An API must take all async calls at once."""
PROFILER: Final = ("-m", "cProfile", "-o")


class PartFailedError(Exception):
    """A part of a path ended, or did not begin; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Site:
    """A path that runs: where it is called, where its stream is, and which processes make up each part."""

    kind: str
    api_url: str
    nats_url: str
    credentials: str | None
    workers: tuple[str, ...]
    pids: Mapping[str, tuple[int, ...]]
    check: Callable[[], None]
    """Raises PartFailedError when a part has ended."""

    def cpu(self) -> dict[str, float]:
        """CPU microseconds that each part has used so far."""
        return {part: sum(map(cpu_us, pids)) for part, pids in self.pids.items()}

    @property
    def consumers(self) -> list[str]:
        """The workers' consumers."""
        return [sidecar_consumer(worker) for worker in self.workers]


class Parts:
    """Starts the parts of one path, and ends them in reverse order."""

    def __init__(self, processes: Processes, sockets: SocketDir, stack: AsyncExitStack) -> None:
        self.processes = processes
        self.sockets = sockets
        self.stack = stack
        self.directory = Path(tempfile.mkdtemp(prefix="path-bench-"))
        self._running: dict[str, Process] = {}
        processes.remove_at_end(self.directory)
        stack.callback(shutil.rmtree, self.directory, ignore_errors=True)

    async def start(self, name: str, command: list[str], environ: Mapping[str, str] | None = None) -> Process:
        """Run Python with these arguments, and with PATH and PYTHONPATH beside `environ`."""
        path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
        inherited = {name: os.environ[name] for name in ("PATH", SERVER_ENV) if name in os.environ}
        env = {**inherited, "PYTHONPATH": path, **(environ or {})}
        process = await self.processes.start(
            [sys.executable, *command], env=env, cwd=self.directory, log=self._log(name)
        )
        self._running[name] = process
        self.stack.push_async_callback(self._end, name)
        return process

    async def announced(self, name: str) -> Any:
        """Wait for the line of JSON that a part prints when it is ready.

        Raises:
            PartFailedError: it ended instead, or did not print it in time.
        """
        try:
            async with asyncio.timeout(PLATFORM_TIMEOUT_S):
                while True:
                    lines = self._log(name).read_bytes().splitlines(keepends=True)
                    for line in lines:
                        if line.startswith(b"{") and line.endswith(b"\n"):
                            return msgspec.json.decode(line)
                    self.check()
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise PartFailedError(f"the {name} does not begin:\n{self._tail(name)}") from None

    def check(self) -> None:
        """Raise PartFailedError when a part has ended."""
        for name, process in self._running.items():
            if process.exit_code is not None:
                raise PartFailedError(f"the {name} ended with {process.exit_code}:\n{self._tail(name)}")

    async def _end(self, name: str) -> None:
        """Stop a part; PartFailedError when it ends in another way than it was told to."""
        process = self._running.pop(name)
        code = await process.terminate(STOP_GRACE_S) if process.exit_code is None else process.exit_code
        if code:
            raise PartFailedError(f"the {name} ended with {code}:\n{self._tail(name)}")

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _tail(self, name: str) -> str:
        return self._log(name).read_text(errors="replace")[-LOG_TAIL:]


@asynccontextmanager
async def plain_site(
    processes: Processes, sockets: SocketDir, workers: int, *, kind: str = "plain", tasks: int = CONCURRENCY
) -> AsyncIterator[Site]:
    """The plain path: an open queue, and programs as one writes them first; the activator with so many tasks."""
    async with AsyncExitStack() as stack:
        parts = Parts(processes, sockets, stack)
        server = await stack.enter_async_context(NatsServer(processes, parts.directory / "nats"))
        await _make_stream(server.url)
        names = tuple(f"w{number}" for number in range(1, workers + 1))
        base = sidecar_environ(server.url, "") | {
            "SERVERLESS_MAX_CONCURRENCY": str(CONCURRENCY),
            "SERVERLESS_ACTIVATOR_TASKS": str(tasks),
            "SERVERLESS_WORKERS": ",".join(names),
            "SERVERLESS_API_PORT": str(free_port()),
        }
        started = [await _plain_worker(parts, name, base) for name in names]
        activator = await parts.start("activator", ["-m", "tests.bench.plain_activator"], base)
        api = await parts.start("api", ["-m", "tests.bench.plain_api"], base)
        port = int(base["SERVERLESS_API_PORT"])
        await _port_open(parts, port)
        pids = {
            "api": (api.pid,),
            "activator": (activator.pid,),
            "sidecar": tuple(sidecar.pid for sidecar, _ in started),
            "nats": (server.process.pid,),
            "framework": tuple(framework.pid for _, framework in started),
        }
        yield Site(kind, f"http://127.0.0.1:{port}", server.url, None, names, pids, parts.check)


async def _plain_worker(parts: Parts, name: str, base: Mapping[str, str]) -> tuple[Process, Process]:
    """Start a sidecar and its framework."""
    directory = parts.sockets.make_pod_directory()
    parts.stack.callback(shutil.rmtree, directory, ignore_errors=True)
    environ = dict(base) | {
        SOCKET_PATH_ENV: str(directory / "f.sock"),
        "SERVERLESS_WORKER_NAME": name,
        "SERVERLESS_WORKER_CONSUMER_NAME": sidecar_consumer(name),
    }
    framework = await parts.start(f"framework-{name}", ["-m", "framework.echo"], environ)
    await listening(environ[SOCKET_PATH_ENV])
    return await parts.start(f"sidecar-{name}", ["-m", "tests.bench.plain_sidecar"], environ), framework


@asynccontextmanager
async def our_site(
    processes: Processes, sockets: SocketDir, workers: int, profiles: Path | None = None
) -> AsyncIterator[Site]:
    """The real path: a platform with its identities, an API and an activator beside it.

    With `profiles` these two run under cProfile, and leave `api.prof` and `activator.prof` there when they end. The
    part `platform` is the process with the result store, the cluster, and an API that nobody calls.
    """
    async with AsyncExitStack() as stack:
        parts = Parts(processes, sockets, stack)
        command = ["-m", "tests.bench.path_platform", str(workers), str(CONCURRENCY)]
        platform = await parts.start("platform", command)
        where = msgspec.convert(await parts.announced("platform"), Whereabouts)
        place = ["--kubeconfig", where.kubeconfig, "--nats-url", where.nats_url, "--json"]

        async def run(role: str, credentials: str, *options: str) -> Process:
            profiler = [*PROFILER, str(profiles / f"{role}.prof")] if profiles else []
            command = [*profiler, "-m", "simulator.cli", role, *place, "--credentials", credentials, *options]
            return await parts.start(role, command)

        activator = await run("activator", where.activator, "--concurrency", str(CONCURRENCY))
        api = await run("api", where.api, "--port", "0", "--backlog-limit", str(BACKLOG_LIMIT))
        await parts.announced("activator")
        url = (await parts.announced("api"))["api"]
        pids = {"api": (api.pid,), "activator": (activator.pid,), "platform": (platform.pid,)}
        names = tuple(f"w{number}" for number in range(1, workers + 1))
        yield Site("ours", url, where.nats_url, where.admin, names, pids | _below(platform), parts.check)


SITES: Final[Mapping[str, Callable[[Processes, SocketDir, int], AbstractAsyncContextManager[Site]]]] = {
    "ours": our_site,
    "plain": plain_site,
    "sequential": functools.partial(plain_site, kind="sequential", tasks=1),
}
"""The kinds of path. `sequential` is the plain one with an activator that handles one invocation after the other."""


def _below(platform: Process) -> dict[str, tuple[int, ...]]:
    """The processes that a platform has started, by part."""
    found: dict[str, tuple[int, ...]] = {}
    for child in psutil.Process(platform.pid).children(recursive=True):
        part = part_of(child.cmdline())
        if part is not None:
            found[part] = (*found.get(part, ()), child.pid)
    return found


async def _make_stream(url: str) -> None:
    nats = await LeanNats.connect(url)
    try:
        await make_stream(nats)
    finally:
        nats.close()


async def _port_open(parts: Parts, port: int) -> None:
    """Wait until somebody accepts connections there."""
    async with asyncio.timeout(READY_TIMEOUT_S):
        while True:
            parts.check()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(POLL_S)
            else:
                writer.close()
                return
