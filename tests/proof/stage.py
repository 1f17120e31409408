"""One sidecar between a real nats-server, behind the proxy, and the scripted framework; and what the stream holds."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, StreamConfig

from tests.proof.nats_proxy import NatsProxy
from tests.proof.scripted_framework import ScriptedFramework
from tests.proof.steps import PREFIX, REPLIES, TIMEOUT_S, Trap

NATS_SERVER: Final = Path(sys.executable).parent / "nats-server"
STREAM: Final = "RUNTIME_SERVERLESS"
POOL: Final = "pool"
WORKER: Final = "w1"
NAMESPACE: Final = "runtime-instance"
CONSUMER: Final = f"serverless-sidecar-{WORKER}"
DISPATCHES: Final = f"{PREFIX}.dispatch.{POOL}.{WORKER}"
POLL_S: Final = 0.02

Json = dict[str, Any]


def free_ports(count: int) -> list[int]:
    """Different free ports; chosen one by one, two could be the same."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def dispatch(invocation_id: str, **changes: object) -> Json:
    """A dispatch for the stage's worker, whose caller waits for a reply (contract 3.5)."""
    return {
        "version": "v1",
        "invocationID": invocation_id,
        "serverlessRequestID": POOL,
        "workerName": WORKER,
        "workerNamespace": NAMESPACE,
        "mode": "sync",
        "payload": {},
        "replySubject": f"{REPLIES}.{invocation_id}",
        "dispatchedAt": "2026-01-02T03:04:05Z",
    } | changes


class Stage:
    """The pieces, each of which can be killed and started again."""

    def __init__(self, directory: Path, socket_directory: Path) -> None:
        self.directory = directory
        self.socket_directory = socket_directory
        self.trap = Trap()
        self.nats_port, self._health_port = free_ports(2)
        self.proxy = NatsProxy(self.nats_port, self.trap)
        self.framework = ScriptedFramework(str(socket_directory / "f.sock"), self.trap)
        self.replies: list[Json] = []
        self._cleanup = AsyncExitStack()
        self._client: Client | None = None
        self._server: asyncio.subprocess.Process | None = None
        self._replied = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Stage"]:
        """Start everything but the sidecar; at the end nothing is left."""
        async with AsyncExitStack() as self._cleanup:
            cleanup = self._cleanup
            cleanup.push_async_callback(self.end_server)
            await self.start_server()
            self._client = await nats.connect(
                f"nats://test:test@127.0.0.1:{self.nats_port}",
                max_reconnect_attempts=-1,
                reconnect_time_wait=POLL_S,
                error_cb=_expected,
            )
            cleanup.push_async_callback(self._close_client)
            await self._client.subscribe(f"{REPLIES}.>", cb=self._on_reply)
            families = ("invoke.*", "dispatch.*.*", "result.*", "metrics.*", "dlq.*.*")
            subjects = [f"{PREFIX}.{family}" for family in families]
            await self._client.jetstream().add_stream(StreamConfig(STREAM, subjects=subjects, duplicate_window=3600))
            await cleanup.enter_async_context(self.proxy.serving())
            await cleanup.enter_async_context(self.framework.serving())
            yield self

    async def _close_client(self) -> None:
        """Close the client, connected: one that is closed while it reconnects may try so for ever."""
        if self._server is None or self._server.returncode is not None:
            await self.start_server()
        async with asyncio.timeout(TIMEOUT_S):
            await self.client.flush()
            await self.client.close()

    async def _on_reply(self, message: Msg) -> None:
        self.replies.append(json.loads(message.data))
        self._replied.set()

    async def start_server(self, config: str = "") -> None:
        """Start nats-server on its port and its store, with `config` as its file; return when it listens."""
        options = ["-js", "-sd", str(self.directory / "js"), "-a", "127.0.0.1", "-p", str(self.nats_port)]
        if config:
            path = self.directory / "nats.conf"
            path.write_text(config)
            options += ["-c", str(path)]
        self._server = await self._start(NATS_SERVER, *options)
        async with asyncio.timeout(TIMEOUT_S):
            while not await _listens(self.nats_port):  # noqa: ASYNC110 - another process's port
                await asyncio.sleep(POLL_S)

    async def end_server(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End nats-server; its store stays."""
        if self._server is not None:
            await end(self._server, number)

    async def start_sidecar(self, **settings: str) -> asyncio.subprocess.Process:
        """Start `python -m sidecar` with the stage's identity; `settings` are its variables without `SERVERLESS_`."""
        names = {
            "NATS_URL": f"nats://sidecar:sidecar@127.0.0.1:{self.proxy.port}",
            "SUBJECT_PREFIX": PREFIX,
            "STREAM_NAME": STREAM,
            "WORKER_NAME": WORKER,
            "WORKER_NAMESPACE": NAMESPACE,
            "REQUEST_ID": POOL,
            "WORKER_CONSUMER_NAME": CONSUMER,
            "FRAMEWORK_SOCKET_PATH": self.framework.socket_path,
            "SIDECAR_HEALTH_PORT": str(self._health_port),
            "DISPATCH_ACK_WAIT": "1s",
        } | settings
        environ = {f"SERVERLESS_{name}": value for name, value in names.items()}
        return await self.start(sys.executable, "-m", "sidecar", environ=environ)

    async def start(
        self, *command: str | Path, environ: Mapping[str, str] | None = None, stdout: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        """Start a process that ends with the stage; its stderr goes to the test's directory."""
        process = await self._start(*command, environ=environ, stdout=stdout)
        self._cleanup.push_async_callback(end, process)
        return process

    async def _start(
        self, *command: str | Path, environ: Mapping[str, str] | None = None, stdout: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        with (self.directory / "stderr.log").open("ab") as stderr:
            return await asyncio.create_subprocess_exec(
                *command, env={**os.environ, **(environ or {})}, stderr=stderr, stdout=stdout
            )

    @property
    def direct_url(self) -> str:
        """The server without the proxy, which would still accept connections when the server is gone."""
        return f"nats://sidecar:sidecar@127.0.0.1:{self.nats_port}"

    @property
    def client(self) -> Client:
        """The test's own connection, straight to the server."""
        assert self._client is not None
        return self._client

    async def dispatch(self, *invocation_ids: str, **changes: object) -> None:
        """Store dispatches for the worker, in this order."""
        jetstream = self.client.jetstream(timeout=TIMEOUT_S)
        for invocation_id in invocation_ids:
            message_id = {"Nats-Msg-Id": f"dispatch-{invocation_id}-{WORKER}"}
            data = json.dumps(dispatch(invocation_id, **changes)).encode()
            await jetstream.publish(DISPATCHES, data, headers=message_id)

    async def settled(self) -> int:
        """Wait until nothing is left to deliver or to acknowledge; return how many deliveries there were in all."""
        async with asyncio.timeout(TIMEOUT_S):
            while (deliveries := await self._deliveries_if_settled()) is None:  # noqa: ASYNC110 - the server's state
                await asyncio.sleep(POLL_S)
        return deliveries

    async def _deliveries_if_settled(self) -> int | None:
        try:
            info: ConsumerInfo = await self.client.jetstream(timeout=1).consumer_info(STREAM, CONSUMER)
        except (nats.errors.Error, nats.js.errors.Error):
            return None  # no consumer yet, or no server
        if info.num_pending or info.num_ack_pending or info.delivered is None:
            return None
        return info.delivered.consumer_seq

    async def stored(self, family: str) -> list[Json]:
        """The stream's messages of a family, in their order."""
        jetstream = self.client.jetstream(timeout=TIMEOUT_S)
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, inactive_threshold=60)
        reader = await jetstream.pull_subscribe(f"{PREFIX}.{family}.>", stream=STREAM, config=config)
        messages: list[Msg] = []
        count = (await reader.consumer_info()).num_pending or 0
        while len(messages) < count:
            messages += await reader.fetch(min(count - len(messages), 500), timeout=TIMEOUT_S)
        await reader.unsubscribe()
        return [json.loads(message.data) for message in messages]

    async def replied(self, count: int) -> None:
        """Wait until the caller got `count` replies."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.replies) < count:
                self._replied.clear()
                await self._replied.wait()


async def end(process: asyncio.subprocess.Process, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal a process, unless it ended, and wait for its end."""
    if process.returncode is None:
        process.send_signal(number)
    async with asyncio.timeout(TIMEOUT_S):
        await process.wait()


async def _expected(error: Exception) -> None:
    """The server goes away on purpose: no log of it."""


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True
