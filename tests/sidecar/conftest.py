"""A real nats-server, real sidecar and framework processes, and a view of the stream: for the end-to-end tests."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.messages import WorkerDispatchMessage, encode, utc_now
from sidecar.queue import Consumer, ConsumerSettings, Queue

NATS_SERVER = Path(sys.executable).parent / "nats-server"
Json = dict[str, Any]

WORKER = """
import os
import msgspec
from framework.server import run

def handle(request):
    order = msgspec.json.decode(request.payload)
    with open(order["log"], "a") as log:
        log.write(request.invocation_id + "\\n")
    if "fifo" in order:
        open(order["fifo"]).read()
    return {"pid": os.getpid()}

run(handle)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A child process with its stderr in a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    @classmethod
    async def start(cls, log: Path, *command: str | Path, **environ: str) -> "Process":
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command, env=os.environ | environ, stderr=stderr, stdout=asyncio.subprocess.DEVNULL
            )
        return cls(process, log)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, unless it ended already, and return its exit code."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self.ended()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ended(self) -> int:
        async with asyncio.timeout(20):
            return await self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid


class Journal:
    """All that the stream stored, in its order."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.entries: list[tuple[str, Json]] = []

    async def until(self, kind: str, count: int = 1) -> list[Json]:
        """Read on until `count` entries of a kind are there; a kind is a subject family or an event type."""
        async with asyncio.timeout(20):
            while len(self.of(kind)) < count:
                for delivery in await self._consumer.fetch(100, 5):
                    family = delivery.subject.split(".")[2]
                    fields = msgspec.json.decode(delivery.data) if family != "dispatch" else {}
                    self.entries.append((fields["eventType"] if family == "metrics" else family, fields))
                    await delivery.ack()
        return self.of(kind)

    def of(self, kind: str) -> list[Json]:
        return [fields for found, fields in self.entries if found == kind]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.entries if kind not in {"heartbeat", "dispatch"}]


class Bench:
    """One worker's surroundings: directories, ports, the queue, and the processes started so far."""

    def __init__(self, directory: Path, socket_dir: Path) -> None:
        self.directory = directory
        self.nats_port = free_port()
        self.health_port = free_port()
        self.socket_path = str(socket_dir / "f.sock")
        self.runs = directory / "runs.txt"
        self.processes: list[Process] = []
        self.environ = {
            "SERVERLESS_NATS_URL": f"nats://127.0.0.1:{self.nats_port}",
            "SERVERLESS_SUBJECT_PREFIX": "runtime.serverless",
            "SERVERLESS_STREAM_NAME": "RUNTIME_SERVERLESS",
            "SERVERLESS_WORKER_NAME": "w1",
            "SERVERLESS_WORKER_NAMESPACE": "runtime-instance",
            "SERVERLESS_REQUEST_ID": "pool",
            "SERVERLESS_WORKER_CONSUMER_NAME": "serverless-sidecar-w1",
            "SERVERLESS_HEARTBEAT_INTERVAL": "15s",
            "SERVERLESS_FRAMEWORK_SOCKET_PATH": self.socket_path,
            "SERVERLESS_FRAMEWORK_INVOKE_PATH": "/invoke",
            "SERVERLESS_FRAMEWORK_HEALTH_PATH": "/healthz",
            "SERVERLESS_SIDECAR_HEALTH_PORT": str(self.health_port),
        }

    async def _start(self, name: str, *command: str | Path, **environ: str) -> Process:
        process = await Process.start(self.directory / f"{name}.log", *command, **environ)
        self.processes.append(process)
        return process

    async def nats(self) -> Process:
        options = ["-js", "-sd", str(self.directory / "js"), "-a", "127.0.0.1", "-p", str(self.nats_port)]
        return await self._start("nats", NATS_SERVER, *options)

    async def sidecar(self, name: str = "sidecar", **settings: str) -> Process:
        return await self._start(name, sys.executable, "-m", "sidecar", **(self.environ | settings))

    async def echo(self) -> Process:
        return await self._start("framework", sys.executable, "-m", "framework.echo", **self.environ)

    async def worker(self) -> Process:
        return await self._start("framework", sys.executable, "-c", WORKER, **self.environ)

    @asynccontextmanager
    async def queue(self) -> AsyncIterator[Queue]:
        async with Queue.connect(self.environ["SERVERLESS_NATS_URL"], client_name="test", timeout_s=20) as queue:
            await queue.ensure_stream()
            yield queue

    async def journal(self, queue: Queue) -> Journal:
        settings = ConsumerSettings(durable="test-journal", filter_subject="runtime.serverless.>", ack_wait_s=60)
        return Journal(await queue.consumer(settings))

    def order(self, invocation_id: str, fifo: Path | None = None, **changes: Any) -> bytes:
        """A dispatch whose handler notes its run and, with a fifo, ends when the fifo's writer closes."""
        payload = {"log": str(self.runs)} | ({"fifo": str(fifo)} if fifo else {})
        message = WorkerDispatchMessage(
            invocation_id=invocation_id,
            serverless_request_id="pool",
            worker_name="w1",
            worker_namespace="runtime-instance",
            payload=msgspec.Raw(msgspec.json.encode(payload)),
            dispatched_at=utc_now(),
        )
        return encode(msgspec.structs.replace(message, **changes))

    async def dispatch(self, queue: Queue, data: bytes, message_id: str) -> None:
        await queue.publish(queue.subjects.dispatch("pool", "w1"), data, message_id=message_id)

    def fifo(self, name: str) -> Path:
        path = self.directory / name
        os.mkfifo(path)
        return path

    async def opened(self, fifo: Path) -> Callable[[], None]:
        """Wait until a handler reads the fifo: the call runs. Returns what lets it end."""
        async with asyncio.timeout(20):
            while True:
                try:
                    descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody reads it yet; an open that waits for that could not be cancelled
                    await asyncio.sleep(0.01)
                else:
                    return lambda: os.close(descriptor)

    def ran(self) -> list[str]:
        """Invocation IDs in the order in which the handler began."""
        return self.runs.read_text().split() if self.runs.exists() else []

    def sidecar_log(self) -> list[Json]:
        text = (self.directory / "sidecar.log").read_text()
        return [msgspec.json.decode(line) for line in text.splitlines()]

    async def http(self, path: str) -> tuple[int, bytes]:
        """GET from the health port; status 0 while nobody listens."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.health_port)
        except ConnectionRefusedError:
            return 0, b""
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    async def logged(self, event: str) -> None:
        """Wait until the sidecar's log has a line with this event."""
        async with asyncio.timeout(20):
            while not any(line["event"] == event for line in self.sidecar_log()):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)

    async def http_until(self, path: str, wanted: Callable[[int, bytes], bool]) -> bytes:
        """Ask the health port until the answer is as wanted."""
        async with asyncio.timeout(20):
            while True:
                status, body = await self.http(path)
                if wanted(status, body):
                    return body
                await asyncio.sleep(0.02)


@pytest.fixture
def directories(socket_directory: Path) -> Iterator[tuple[Path, Path]]:
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="sc-"))
    yield directory, socket_directory
    shutil.rmtree(directory)


@pytest.fixture
async def bench(directories: tuple[Path, Path]) -> AsyncIterator[Bench]:
    bench = Bench(*directories)
    yield bench
    for process in reversed(bench.processes):
        await process.end(signal.SIGKILL)
