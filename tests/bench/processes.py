"""One worker's surroundings, fresh for each measurement: a nats-server, an instant framework, and a sidecar of a kind.

All are children of this process, below `simulator.processes`: none outlives it, however it ends.
"""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from framework.contract import SOCKET_PATH_ENV
from simulator.kubelet.socket_dir import SocketDir
from simulator.nats_server import NatsServer
from simulator.processes.process import Process
from simulator.processes.spawn import Processes
from tests.bench.lean_http import LeanPost
from tests.bench.lean_jetstream import call
from tests.bench.lean_nats import LeanNats

ROOT: Final = Path(__file__).parents[2]
PREFIX: Final = "runtime.serverless"
STREAM: Final = "RUNTIME_SERVERLESS"
POOL: Final = "pool"
WORKER: Final = "w1"
NAMESPACE: Final = "runtime-instance"
CONSUMER: Final = "serverless-sidecar-w1"
DISPATCH: Final = f"{PREFIX}.dispatch.{POOL}.{WORKER}"

PROGRAMS: Final = {
    "ours": "sidecar",
    "plain": "tests.bench.plain_sidecar",
    "floor": "tests.bench.floor_sidecar",
    "profiled": "tests.bench.profiled_sidecar",
}
"""The kinds of sidecar, and the module that each one runs."""

READY_TIMEOUT_S: Final = 20.0
READY_POLL_S: Final = 0.005
"""A socket that nobody listens on has no event to wait for."""
STOP_GRACE_S: Final = 30.0
LOG_TAIL: Final = 2000
"""So many characters of a log are shown."""
NANOSECONDS: Final = 1_000_000_000


class SidecarFailedError(Exception):
    """A sidecar ended in another way than it was told to; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU time of the three processes, in microseconds."""

    sidecar: float
    nats: float
    framework: float

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.sidecar - earlier.sidecar, self.nats - earlier.nats, self.framework - earlier.framework)


@dataclass(frozen=True, slots=True)
class Site:
    """What is around a sidecar: running processes, and our own connection to the queue."""

    processes: Processes
    directory: Path
    environ: dict[str, str]
    server: Process
    framework: Process
    nats: LeanNats

    @asynccontextmanager
    async def sidecar(self, kind: str, in_flight: int, **environ: str) -> AsyncIterator[Process]:
        """Run a sidecar of a kind; at the end it is told to stop, and must do so.

        Raises:
            SidecarFailedError: it ended with another exit code than 0.
        """
        log = self.directory / "sidecar.log"
        settings = self.environ | {"SERVERLESS_MAX_CONCURRENCY": str(in_flight)} | environ
        process = await start(self.processes, PROGRAMS[kind], settings, log)
        try:
            yield process
            code = process.exit_code
            if code is None:
                code = await process.terminate(STOP_GRACE_S)
            if code:
                raise SidecarFailedError(f"the {kind} sidecar ended with {code}:\n{log.read_text()[-LOG_TAIL:]}")
        finally:
            await process.kill()

    def cpu(self, sidecar: Process) -> Cpu:
        """What the processes have used so far."""
        return Cpu(*(cpu_us(process.pid) for process in (sidecar, self.server, self.framework)))

    @property
    def socket_path(self) -> str:
        """Where the framework listens."""
        return self.environ[SOCKET_PATH_ENV]


@asynccontextmanager
async def site(processes: Processes, sockets: SocketDir) -> AsyncIterator[Site]:
    """Start what is around a sidecar, with an empty stream; end it all and remove its files at the end."""
    directory = Path(tempfile.mkdtemp(prefix="sidecar-bench-"))
    processes.remove_at_end(directory)
    socket_directory = sockets.make_pod_directory()
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stack.callback(shutil.rmtree, socket_directory, ignore_errors=True)
        server = await stack.enter_async_context(NatsServer(processes, directory / "nats"))
        environ = sidecar_environ(server.url, str(socket_directory / "f.sock"))
        program = "tests.bench.instant_framework"
        framework = await start(processes, program, environ, directory / "framework.log")
        stack.push_async_callback(framework.kill)
        nats = await LeanNats.connect(server.url)
        stack.callback(nats.close)
        await make_stream(nats)
        await listening(environ[SOCKET_PATH_ENV])
        yield Site(processes, directory, environ, server.process, framework, nats)


async def start(processes: Processes, module: str, environ: dict[str, str], log: Path) -> Process:
    """Run a Python module of this tree, or of the PYTHONPATH that this program was started with."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path} | environ
    return await processes.start([sys.executable, "-m", module], env=env, cwd=log.parent, log=log)


def sidecar_environ(nats_url: str, socket_path: str) -> dict[str, str]:
    """The settings that all kinds of sidecar and the framework read; heartbeats are too rare to be measured."""
    return {
        "SERVERLESS_NATS_URL": nats_url,
        "SERVERLESS_SUBJECT_PREFIX": PREFIX,
        "SERVERLESS_STREAM_NAME": STREAM,
        "SERVERLESS_WORKER_NAME": WORKER,
        "SERVERLESS_WORKER_NAMESPACE": NAMESPACE,
        "SERVERLESS_REQUEST_ID": POOL,
        "SERVERLESS_WORKER_CONSUMER_NAME": CONSUMER,
        "SERVERLESS_HEARTBEAT_INTERVAL": "1h",
        "SERVERLESS_SIDECAR_HEALTH_PORT": str(free_port()),
        SOCKET_PATH_ENV: socket_path,
    }


async def make_stream(nats: LeanNats) -> None:
    """Make the platform's stream with the settings of contract section 2.3."""
    families = ("invoke.*", "dispatch.*.*", "result.*", "metrics.*", "dlq.*.*")
    config = {
        "name": STREAM,
        "subjects": [f"{PREFIX}.{family}" for family in families],
        "retention": "limits",
        "storage": "file",
        "max_age": 72 * 3600 * NANOSECONDS,
        "duplicate_window": 24 * 3600 * NANOSECONDS,
    }
    await call(nats, f"STREAM.CREATE.{STREAM}", config)


async def listening(socket_path: str) -> None:
    """Wait until somebody accepts connections there."""
    async with asyncio.timeout(READY_TIMEOUT_S):
        while True:
            try:
                (await LeanPost.connect(socket_path)).close()
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(READY_POLL_S)
            else:
                return


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_us(pid: int) -> float:
    """CPU time of all living threads of a process, in microseconds; Linux only."""
    return sum(int(file.read_bytes().split()[0]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1000


def stop(process: Process) -> None:
    """Stop a process where it is."""
    process.signal(signal.SIGSTOP)


def go_on(process: Process) -> None:
    """Let a stopped process go on."""
    process.signal(signal.SIGCONT)
