"""A real nats-server that asks who is there, the platform's stream with two workers' consumers, and plain clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from nats.aio.client import Client, RawCredentials

from sidecar.queue import Access, ConsumerSettings, Queue, StreamSettings
from sidecar.subjects import ACTIVATOR_CONSUMER, sidecar_consumer
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.identities.roles import ACCOUNTS, Roles
from simulator.identities.worker_accounts import WorkerAccounts
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes

STREAM = StreamSettings()
SUBJECTS = STREAM.subjects
WORKERS = {"w1": "pool", "w2": "other"}
"""Worker and pool."""


class Peer:
    """A plain NATS client that tells what the server refused; nothing of our own stands between it and the server."""

    def __init__(self) -> None:
        self.client = Client()
        self.closed = asyncio.Event()
        self._refusals: list[str] = []

    async def connect(self, url: str, access: Access) -> None:
        async def note(error: Exception) -> None:
            self._refusals.append(str(error))

        async def note_end() -> None:
            self.closed.set()

        credentials = RawCredentials(access.credentials.text) if access.credentials else None
        try:
            await self.client.connect(
                url,
                user_credentials=credentials,
                inbox_prefix=access.inbox_prefix,
                error_cb=note,
                closed_cb=note_end,
                allow_reconnect=False,
            )
        except BaseException:
            await self.client.close()
            raise

    async def refusal_of_publish(self, subject: str, data: bytes = b"", reply: str = "") -> str:
        """Publish; the server's refusal, or nothing."""
        self._refusals.clear()
        await self.client.publish(subject, data, reply)
        return await self._refusal()

    async def refusal_of_subscribe(self, subject: str, group: str = "") -> str:
        """Subscribe; the server's refusal, or nothing."""
        self._refusals.clear()
        await self.client.subscribe(subject, queue=group)
        return await self._refusal()

    async def settle(self) -> None:
        """Wait until the server has seen all that was sent, and its objections are known.

        nats-py's ping overtakes what it buffers, so the first one only makes sure that the buffer is out.
        """
        await self.client.flush(10)
        await self.client.flush(10)

    async def _refusal(self) -> str:
        await self.settle()
        return " ".join(self._refusals).lower()


class Guarded:
    """A server with an authority; the stream and the workers' consumers are made."""

    def __init__(self, url: str, authority: Authority, accounts: Path, stack: AsyncExitStack) -> None:
        self.url = url
        self.authority = authority
        self.accounts = accounts
        self.roles = Roles(authority, STREAM, ACTIVATOR_CONSUMER)
        self._stack = stack

    async def workers(self) -> WorkerAccounts:
        """What issues workers' identities."""
        return self.authority.of_workers(await self.queue(self.roles.access(ACCOUNTS)))

    async def queue(self, access: Access) -> Queue:
        return await self._stack.enter_async_context(Queue.connect(self.url, client_name="test", access=access))

    async def settle(self, queue: Queue) -> None:
        """Wait until the server has seen what the queue's connection subscribed to."""
        await queue._client.flush()

    async def peer(self, access: Access) -> Peer:
        peer = Peer()
        await peer.connect(self.url, access)
        self._stack.push_async_callback(peer.client.close)
        return peer

    async def worker_access(self, name: str) -> Access:
        return await (await self.workers()).issue(name, permissions.worker(STREAM, WORKERS[name], name))


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes() as owner:
        yield owner


@pytest.fixture
async def guarded(processes: Processes, tmp_path: Path) -> AsyncIterator[Guarded]:
    authority = Authority(tmp_path / "accounts", STREAM)
    async with NatsServer(processes, tmp_path / "nats", authority=authority) as server, AsyncExitStack() as stack:
        guarded = Guarded(server.url, authority, tmp_path / "accounts", stack)
        owner = await guarded.queue(guarded.roles.access("owner"))
        await owner.ensure_stream()
        consumers = {sidecar_consumer(name): SUBJECTS.dispatch(pool, name) for name, pool in WORKERS.items()}
        for durable, subject in {**consumers, ACTIVATOR_CONSUMER: SUBJECTS.invoke("*")}.items():
            await (await owner.consumer(ConsumerSettings(durable, subject, ack_wait_s=30))).close()
        yield guarded


@pytest.fixture
async def admin(guarded: Guarded) -> Queue:
    return await guarded.queue(guarded.roles.access("admin"))


@pytest.fixture
async def worker(guarded: Guarded) -> Peer:
    """The first worker's identity, in the hands of somebody who does not keep to the sidecar's ways."""
    return await guarded.peer(await guarded.worker_access("w1"))
