"""The parts that a platform in one process has anyway, as processes of their own: reconciler, issuer, result store."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nkeys  # type: ignore[import-untyped]
import structlog

from sidecar.queue import Queue, QueueError
from simulator.activator.settings import ActivatorSettings
from simulator.errors import PlatformError, UsageError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.identities import permissions
from simulator.identities.issuer import Issuer
from simulator.identities.jwt import Key, KeyKind, bearer_of
from simulator.identities.worker_accounts import ACCOUNTS_GRANTS, WorkerAccounts
from simulator.jetstream.consumers import consumer_state
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.one_error import one_error
from simulator.parts import OTHERS, QueueAddress, Surroundings, cluster_answers, connected_queue
from simulator.queue_setup import make_queue
from simulator.reconciler.controller import Reconciler
from simulator.reconciler.leader import LeaderElection, LeaseSettings
from simulator.reconciler.settings import ReconcilerSettings
from simulator.results.store import ResultStore, store_consumer

OWNER_RETRY_S: Final = 0.5

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trust:
    """What the issuer signs with: the operator's key, and the queue's account by its public key.

    `accounts` is the same queue, as a user of the server's system account.
    """

    operator: Key
    queue_account: str
    accounts: QueueAddress

    def workers(self, server: Queue) -> WorkerAccounts:
        """What issues workers' identities over a connection to `accounts`.

        Raises:
            UsageError: the credentials for it are not a user's.
        """
        try:
            system = bearer_of(self.accounts.credentials.text if self.accounts.credentials else "").account
        except ValueError as error:
            raise UsageError("the credentials for the system account hold no user's token") from error
        return WorkerAccounts(self.operator, self.queue_account, system, server)


def read_operator_key(path: Path) -> Key:
    """Read an operator's seed from a file that only its owner, and its group, may read.

    Raises:
        UsageError: it is not there, is open to others, or holds something else. What it holds is not told.
    """
    try:
        if path.stat().st_mode & OTHERS:
            raise ValueError("others may read or change it; chmod 600 it")
        key = Key(KeyKind.OPERATOR, path.read_text(encoding="ascii").strip() or " ")
        if not key.public.startswith("O"):
            raise ValueError("it is the key of something else than an operator")
    except (nkeys.NkeysError, UnicodeDecodeError):
        problem = "it holds no seed of a key"
    except (OSError, ValueError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
    else:
        return key
    raise UsageError(f"cannot use the operator's key {path}: {problem}")


async def run_reconciler(kubeconfig: Path, settings: ReconcilerSettings, started: Callable[[str], None]) -> None:
    """Reconcile while this one leads, until cancelled; `started` is called when the cluster answers, with its address.

    Raises:
        EnvironmentMissing: the kubeconfig cannot be used.
        PlatformError: the cluster does not list what it should.
    """
    with one_error():
        async with Cluster(kubeconfig, field_manager="unitsim-reconciler") as cluster:
            await cluster_answers(cluster)
            started(cluster.url)
            election = LeaderElection(cluster, LeaseSettings(ACTIVE_NAMESPACE))
            await election.run(lambda may_write: Reconciler(cluster, settings, may_write).run())


async def run_issuer(where: Surroundings, trust: Trust, concurrency: int, started: Callable[[str], None]) -> None:
    """Make what the queue needs, then give workers consumers and identities until cancelled.

    `concurrency` is how many calls a worker runs at once.

    Raises:
        EnvironmentMissing: the kubeconfig cannot be used.
        PlatformError: the queue refuses what its owner makes.
    """
    with one_error():
        async with (
            Cluster(where.kubeconfig, field_manager="unitsim-issuer") as cluster,
            connected_queue("issuer", where, permissions.owner(where.stream)) as owner,
            connected_queue("accounts", trust.accounts, ACCOUNTS_GRANTS) as accounts,
            asyncio.TaskGroup() as tasks,
        ):
            try:
                await make_queue(owner, ActivatorSettings())
            except QueueError as error:
                raise PlatformError(f"the queue cannot be set up: {error}") from error
            await cluster_answers(cluster)
            units = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE)
            tasks.create_task(units.run())
            started(cluster.url)
            await Issuer(cluster, units, owner, trust.workers(accounts), concurrency).run()


async def run_results(where: QueueAddress, started: Callable[[str], None]) -> None:
    """Copy results into their bucket until cancelled; begins when the queue's owner has made what that needs.

    Raises:
        PlatformError: the queue's server does not speak our language.
    """
    async with connected_queue("results", where, permissions.result_store(where.stream)) as queue:
        await _made(queue, store_consumer(queue.subjects).durable)
        started(queue.stream.name)
        await ResultStore(queue).run()


async def _made(queue: Queue, consumer: str) -> None:
    """Return when the owner has made a consumer that this part may not make; until then, say once that it waits."""
    said = False
    while True:
        with suppress(QueueError):
            if await consumer_state(queue, consumer) is not None:
                return
        if not said:
            log.warning("waiting for the owner of the queue", consumer=consumer)
        said = True
        await asyncio.sleep(OWNER_RETRY_S)
