"""The parts that a platform in one process has anyway, as processes of their own: reconciler, issuer, result store."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nkeys  # type: ignore[import-untyped]

from sidecar.queue import QueueError
from simulator.activator.settings import ActivatorSettings
from simulator.errors import PlatformError, UsageError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.identities import permissions
from simulator.identities.issuer import Issuer
from simulator.identities.jwt import Key, KeyKind
from simulator.identities.remote import ACCOUNTS_GRANTS, RemoteAuthority
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.one_error import one_error
from simulator.parts import OTHERS, QueueAddress, Surroundings, cluster_answers, connected_queue
from simulator.queue_setup import make_queue
from simulator.reconciler.controller import Reconciler
from simulator.reconciler.leader import LeaderElection, LeaseSettings
from simulator.reconciler.settings import ReconcilerSettings
from simulator.results.store import ResultStore


@dataclass(frozen=True, slots=True)
class Trust:
    """What the issuer signs with: the operator's key, and the queue's account by its public key.

    `accounts` is the same queue, as a user of the server's system account.
    """

    operator: Key
    queue_account: str
    accounts: QueueAddress


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
            units = Informer(cluster, GPUUNIT)
            tasks.create_task(units.run())
            started(cluster.url)
            authority = RemoteAuthority(trust.operator, trust.queue_account, accounts)
            await Issuer(cluster, units, owner, authority, concurrency).run()


async def run_results(where: QueueAddress, started: Callable[[str], None]) -> None:
    """Copy results into their bucket until cancelled.

    Raises:
        PlatformError: the queue's server does not speak our language.
    """
    async with connected_queue("results", where, permissions.result_store(where.stream)) as queue:
        started(queue.stream.name)
        await ResultStore(queue).run()
