"""One activator, or one API, as a process of its own beside a running platform.

Any number of both may run. Each reads where the queue and the cluster are, waits for them as long as it takes, saying
so once, and works until it is cancelled; then it gives back what it has in its hands.
"""

import asyncio
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import nkeys  # type: ignore[import-untyped]
import structlog

from sidecar.queue import Access, Credentials, Queue, QueueError, StreamSettings, redact_url
from sidecar.subjects import ACTIVATOR_CONSUMER
from simulator.activator.activator import Activator
from simulator.activator.settings import ActivatorSettings
from simulator.api.app import ApiServer
from simulator.api.settings import ApiSettings
from simulator.errors import KubeError, PlatformError, UsageError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.identities import permissions
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT, POD
from simulator.ports import LOOPBACK

PATIENCE_S: Final = 1.0
"""A queue that takes longer to answer is worth a line in the log."""
SEED_MARK: Final = "BEGIN USER NKEY SEED"
KUBE_RETRY_S: Final = 0.5
OTHERS: Final = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP
"""What a file with a secret must not allow. Its group may read: so a Secret comes into a pod that is not root's."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueAddress:
    """Where the queue is. `nats_url` may hold a password; without `credentials` the queue is an open one."""

    nats_url: str = field(repr=False)
    credentials: Credentials | None
    stream: StreamSettings

    def access(self, grants: permissions.Grants) -> Access:
        """How a role gets into the queue, which says what inboxes it may hear."""
        return Access(self.credentials, inbox_prefix=grants.inbox_prefix) if self.credentials else Access()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings(QueueAddress):
    """Where queue and cluster are."""

    kubeconfig: Path


def checked_nats_url(url: str) -> str:
    """The URL of a queue server; its text stays out of the message, it may hold a password.

    Raises:
        UsageError: it is none.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("nats", "tls") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("--nats-url must be a server's URL, such as nats://127.0.0.1:4222")
    return url


def read_credentials(path: Path) -> Credentials:
    """Read a `.creds` file.

    Raises:
        UsageError: it is not there, is open to others, or holds something else. What it holds is not told.
    """
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("it is no regular file")
        if mode & OTHERS:
            raise ValueError("others may read or change it; chmod 600 it")
        credentials = Credentials.from_file(path)
        _check_seed(credentials)
    except UnicodeDecodeError:
        problem = "it is not text"
    except (OSError, ValueError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
    else:
        return credentials
    raise UsageError(f"cannot use the credentials file {path}: {problem}")


def _check_seed(credentials: Credentials) -> None:
    """Raise ValueError where the seed cannot sign: the NATS client would find out in the middle of connecting."""
    _, _, rest = credentials.text.partition(SEED_MARK)
    words = rest.split()
    try:
        nkeys.from_seed(bytearray(words[1] if len(words) > 1 else "", "ascii")).sign(b"")
    except (nkeys.NkeysError, ValueError) as error:
        raise ValueError("its seed is no key") from error


async def run_activator(where: Surroundings, settings: ActivatorSettings, started: Callable[[str], None]) -> None:
    """Run one activator until cancelled; `started` is called with its name when queue and cluster answer.

    Raises:
        EnvironmentMissing: the kubeconfig cannot be used.
        PlatformError: the queue's server does not speak our language.
    """
    grants = permissions.activator(where.stream, ACTIVATOR_CONSUMER)
    async with _connected("activator", where, grants) as (cluster, queue), asyncio.TaskGroup() as tasks:
        await cluster_answers(cluster)
        units = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE)
        tasks.create_task(units.run())
        activator = Activator(cluster, units, queue, settings)
        started(activator.name)
        await activator.run()


async def run_api(
    where: Surroundings, port: int, settings: ApiSettings, started: Callable[[str], None], host: str = LOOPBACK
) -> None:
    """Serve the API on a port of `host` (0: any free one) until cancelled; `started` is called with its URL.

    It serves as soon as the queue answers; what needs a cluster that is away is refused meanwhile.

    Raises:
        EnvironmentMissing: the port or the kubeconfig cannot be used.
        PlatformError: the queue's server does not speak our language.
    """
    async with (
        _connected("api", where, permissions.api(where.stream)) as (cluster, queue),
        ApiServer(cluster, queue, settings=settings, host=host, port=port) as server,
    ):
        started(server.url)
        await asyncio.Event().wait()


@asynccontextmanager
async def _connected(
    role: str, where: Surroundings, grants: permissions.Grants
) -> AsyncIterator[tuple[Cluster, Queue]]:
    async with (
        Cluster(where.kubeconfig, field_manager=f"unitsim-{role}") as cluster,
        connected_queue(role, where, grants) as queue,
    ):
        yield cluster, queue


@asynccontextmanager
async def connected_queue(role: str, where: QueueAddress, grants: permissions.Grants) -> AsyncIterator[Queue]:
    """Connect to the queue, however long that takes, saying once that it does.

    Raises:
        PlatformError: the queue's server does not speak our language.
    """
    connection = Queue.connect(
        where.nats_url, client_name=f"unitsim-{role}", stream=where.stream, timeout_s=None, access=where.access(grants)
    )
    async with AsyncExitStack() as stack:
        with _said_when_slow(redact_url(where.nats_url)):
            try:
                queue = await stack.enter_async_context(connection)
            except QueueError as error:
                raise PlatformError(str(error)) from error
        yield queue


@contextmanager
def _said_when_slow(server: str) -> Iterator[None]:
    """Log once when the block, which connects to the queue, takes long."""
    loop = asyncio.get_running_loop()
    timer = loop.call_later(PATIENCE_S, lambda: log.warning("waiting for the queue", server=server))
    try:
        yield
    finally:
        timer.cancel()


async def cluster_answers(cluster: Cluster) -> None:
    """Return when the cluster tells about units and pods; until then, say once what it says."""
    said = False
    for kind in (GPUUNIT, POD):
        while True:
            try:
                await cluster.list(kind, ACTIVE_NAMESPACE)
                break
            except KubeError as error:
                if not said:
                    log.warning("waiting for the Kubernetes API", server=cluster.url, error=str(error))
                said = True
            await asyncio.sleep(KUBE_RETRY_S)
