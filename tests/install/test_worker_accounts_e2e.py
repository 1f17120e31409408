"""Identities for workers of a server that is elsewhere: it believes the installation's operator, and nobody else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.queue import Access, Credentials, Queue, QueueRefusedError, QueueUnavailableError
from simulator.identities import permissions
from simulator.identities.jwt import Key, KeyKind, bearer_of
from simulator.identities.worker_accounts import ACCOUNTS_GRANTS, WorkerAccounts, refusal_in
from simulator.install.keys import OPERATOR_SEED
from simulator.install.settings import InstallSettings
from simulator.processes.spawn import Processes
from tests.install.installed import Installed, queue_server

pytestmark = pytest.mark.e2e


@pytest.fixture
async def installed(tmp_path: Path) -> AsyncIterator[Installed]:
    installed = Installed(tmp_path, InstallSettings())
    async with Processes() as processes, queue_server(installed, processes):
        yield installed


def access(installed: Installed, role: str, inbox_prefix: str) -> Access:
    credentials = installed.keys.credentials(role, installed.settings.stream)
    return Access(Credentials(credentials), inbox_prefix=inbox_prefix)


def operator_of(installed: Installed) -> Key:
    return Key(KeyKind.OPERATOR, installed.keys.seeds[OPERATOR_SEED])


def workers_of(installed: Installed, operator: Key, server: Queue) -> WorkerAccounts:
    system = bearer_of(installed.keys.credentials("accounts", installed.settings.stream)).account
    return WorkerAccounts(operator, installed.keys.queue_account, system, server)


async def test_a_worker_gets_in_once_the_server_was_told_and_no_more_when_it_is_told_so(installed: Installed) -> None:
    stream = installed.settings.stream
    accounts = access(installed, "accounts", ACCOUNTS_GRANTS.inbox_prefix)
    async with Queue.connect(installed.nats_url, client_name="issuer", access=accounts) as system:
        authority = workers_of(installed, operator_of(installed), system)
        worker = await authority.issue("w1", permissions.worker(stream, "pool", "w1"))
        async with Queue.connect(installed.nats_url, client_name="w1", access=worker) as queue:
            assert queue.connected
            account = bearer_of(worker.credentials.text if worker.credentials else "").account
            assert await authority.known() == {account}
            await authority.revoke([account])
            assert await authority.known() == set()
        with pytest.raises(QueueRefusedError, match="refused the connection"):
            async with Queue.connect(installed.nats_url, client_name="w1", timeout_s=2, access=worker):
                pass


async def test_s23_a_worker_of_another_operator_does_not_get_in(installed: Installed) -> None:
    accounts = access(installed, "accounts", ACCOUNTS_GRANTS.inbox_prefix)
    async with Queue.connect(installed.nats_url, client_name="issuer", access=accounts) as system:
        authority = workers_of(installed, Key(KeyKind.OPERATOR), system)
        worker = await authority.issue("w1", permissions.worker(installed.settings.stream, "pool", "w1"))
        with pytest.raises(QueueRefusedError, match="refused the connection"):
            async with Queue.connect(installed.nats_url, client_name="w1", timeout_s=2, access=worker):
                pass


@pytest.mark.parametrize("role", ["owner", "api", "activator", "admin"])
async def test_s23_nobody_else_may_send_accounts(installed: Installed, role: str) -> None:
    grants = {
        "owner": permissions.owner(installed.settings.stream).inbox_prefix,
        "api": permissions.API_INBOX,
        "activator": "_PLATFORM_INBOX.activator",
        "admin": "_INBOX",
    }
    identity = access(installed, role, grants[role])
    async with Queue.connect(installed.nats_url, client_name=role, access=identity) as queue:
        authority = workers_of(installed, operator_of(installed), queue)
        answers = await asyncio.gather(
            authority.issue("w1", permissions.worker(installed.settings.stream, "pool", "w1")),
            authority.revoke([installed.keys.queue_account]),
            authority.known(),
            return_exceptions=True,
        )
    assert [answer for answer in answers if not isinstance(answer, QueueRefusedError | QueueUnavailableError)] == []


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [
        (b'{"server":{},"data":{"code":200,"message":"jwt updated"}}', ""),
        (b'{"error":{"code":500,"description":"jwt validation failed"}}', "jwt validation failed"),
        (b'{"error":{}}', "no reason given"),
        (b"hello", "its answer is not the one of a nats-server"),
        (b"[]", "its answer is not the one of a nats-server"),
    ],
)
def test_what_the_server_answers(answer: bytes, refusal: str) -> None:
    assert refusal_in(answer) == refusal
