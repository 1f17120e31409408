"""The whole platform as one async context manager: everything in this process but nats-server and the pods' containers.

    async with run_platform(PlatformOptions()) as platform:
        async with ApiClient(platform.api_url) as api: ...

Parts start in the order in which they need each other and end in reverse, so that a worker can still publish while it
drains. When a part dies, the block is cancelled and the part's error is raised.
"""

import asyncio
import contextlib
import dataclasses
import functools
import shutil
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sidecar.queue import Queue, StreamSettings
from simulator.activator.activator import Activator
from simulator.activator.settings import ActivatorSettings
from simulator.api.app import ApiServer
from simulator.api.settings import ApiSettings
from simulator.background import Tasks
from simulator.cluster_access import ClusterAccess, grant_access
from simulator.controllers.controllers import Controllers
from simulator.errors import PlatformError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.identities.authority import Authority
from simulator.identities.issuer import Issuer
from simulator.identities.roles import ACCOUNTS, Roles
from simulator.kube.access.platform_roles import Part
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.kubelet.images import ImageTable
from simulator.kubelet.kubelet import DEFAULT_TIME_SCALE, Kubelet
from simulator.kubelet.serving import KubeletAgent
from simulator.kubelet.startup_times import StartupTimes
from simulator.nats_server import LOG_TAIL_LINES, NatsServer
from simulator.nodes import NodeSpec, register_nodes
from simulator.one_error import one_error
from simulator.processes.spawn import Processes
from simulator.processes.user_range import DEFAULT_USERS
from simulator.queue_setup import make_queue
from simulator.reconciler.controller import Reconciler
from simulator.reconciler.settings import ReconcilerSettings
from simulator.results.store import ResultStore
from simulator.worker_consumer import DEFAULT_CONCURRENCY

DIRECTORY_PREFIX: Final = "unitsim-"
LOG_TAIL_CHARACTERS: Final = 500
CONNECTED_ROLES: Final = ("owner", "results", "admin", ACCOUNTS)
"""Each has one connection to the queue, and so has every activator and API; the admin's is for scenarios."""


@dataclass(frozen=True, slots=True)
class PlatformOptions:
    """What can be chosen. Port 0 means any free port; the commands replace the built-in programs of every worker.

    `max_concurrency` is how many calls a worker runs at once, 1 unless it is set. `keep` leaves the platform's
    directory (logs, the stream's files, kubeconfig) behind. `apis` and `activators` are how many there are of each; the
    first API has the wanted port. `startup` says how long starts from an image take, `*` from any other. `nodes` are
    those of the cluster; all of them are this machine. `pod_users` are users that pods may have for themselves. `open`
    runs the queue without authentication, for sidecars that cannot present credentials; they then create their
    consumers themselves.
    """

    api_port: int = 0
    kube_port: int = 0
    nats_port: int = 0
    sidecar_command: tuple[str, ...] | None = None
    framework_command: tuple[str, ...] | None = None
    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    startup: Mapping[str, StartupTimes] = field(default_factory=dict)
    stream: StreamSettings = field(default_factory=StreamSettings)
    activator: ActivatorSettings = field(default_factory=ActivatorSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    max_concurrency: int | None = None
    apis: int = 1
    activators: int = 1
    nodes: tuple[NodeSpec, ...] = (NodeSpec(),)
    pod_users: range = DEFAULT_USERS
    keep: bool = False
    open: bool = False


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform: its addresses, and the parts that scenarios look into.

    `queue` may do everything. So may whoever presents `admin_credentials`; those of `reader_credentials` look on. Both
    are files for NATS clients, and None when the platform is open. `cluster` and `kubeconfig` are the cluster's
    administrator.
    """

    directory: Path
    nats_url: str
    kube_url: str
    kubeconfig: Path
    api_url: str
    api_urls: tuple[str, ...]
    cluster: Cluster
    queue: Queue
    units: Informer
    nats: NatsServer
    kubelets: tuple[Kubelet, ...]
    activators: tuple[Activator, ...]
    admin_credentials: Path | None
    reader_credentials: Path | None
    roles: Roles = field(repr=False)
    access: ClusterAccess = field(repr=False)

    @property
    def kubelet(self) -> Kubelet:
        """The kubelet of the first node, which is the only one unless the options say otherwise."""
        return self.kubelets[0]

    def credentials_for(self, role: str) -> Path | None:
        """Make an identity for one more `activator` or `api`: its file, which only we may read; None when open."""
        return self.roles.write_credentials(role, Path(tempfile.mkdtemp(prefix=f"{role}-", dir=self.directory)))

    def kubeconfig_for(self, role: str) -> Path:
        """The kubeconfig of an `activator` or `api`: a file, which only we may read."""
        return self.access.kubeconfig(Part(role))


@contextlib.asynccontextmanager
async def run_platform(options: PlatformOptions | None = None) -> AsyncIterator[Platform]:
    """Start a platform, yield it, end it; afterwards no process, port or file of it is left.

    Raises:
        EnvironmentMissing: nats-server is missing or too old, or a wanted port is taken.
        PlatformError: a part failed while the block ran.
    """
    options = options or PlatformOptions()
    with _directory(options.keep) as directory, one_error():
        async with contextlib.AsyncExitStack() as stack:
            base = await _start_base(stack, options, directory)
            roles = Roles(base.authority, options.stream, options.activator.consumer_name)
            connect = functools.partial(_connect, stack, roles, base.nats.url)
            queues = {role: await connect(role) for role in CONNECTED_ROLES if role != ACCOUNTS or base.authority}
            await make_queue(queues["owner"], options.activator)
            clusters = {part: await stack.enter_async_context(base.access.connect(part)) for part in Part}
            units = Informer(base.cluster, GPUUNIT, ACTIVE_NAMESPACE)
            await register_nodes(clusters[Part.KUBELET], options.nodes)
            kubelets = [_kubelet(node, clusters[Part.KUBELET], base, directory, options) for node in options.nodes]
            settings = _activator_settings(options)
            activators = [
                Activator(clusters[Part.ACTIVATOR], units, await connect("activator"), settings)
                for _ in range(options.activators)
            ]
            base.tasks.start(units.run())
            for node, kubelet in zip(options.nodes, kubelets, strict=True):
                base.kube.reach_pods(node.name, KubeletAgent(kubelet))
                base.tasks.start(kubelet.run())
            for controller in _controllers(base, clusters, queues, units, options):
                base.tasks.start(controller)
            for activator in activators:
                base.tasks.start(activator.run())
            ports = (options.api_port, *(0 for _ in range(options.apis - 1)))
            servers = [
                ApiServer(clusters[Part.API], await connect("api"), settings=options.api, units=units, port=port)
                for port in ports
            ]
            apis = [await stack.enter_async_context(server) for server in servers]
            yield Platform(
                directory=directory,
                nats_url=base.nats.url,
                kube_url=base.kube.url,
                kubeconfig=base.kubeconfig,
                api_url=apis[0].url,
                api_urls=tuple(api.url for api in apis),
                cluster=base.cluster,
                queue=queues["admin"],
                units=units,
                nats=base.nats,
                kubelets=tuple(kubelets),
                activators=tuple(activators),
                admin_credentials=roles.write_credentials("admin", directory),
                reader_credentials=roles.write_credentials("reader", directory),
                roles=roles,
                access=base.access,
            )


async def _connect(stack: contextlib.AsyncExitStack, roles: Roles, url: str, role: str) -> Queue:
    return await stack.enter_async_context(roles.connect(role, url))


@dataclass(frozen=True, slots=True)
class _Base:
    """What all parts stand on: the two servers, a client, and the owner of tasks and processes."""

    processes: Processes
    tasks: Tasks
    authority: Authority | None
    nats: NatsServer
    kube: KubeServer
    kubeconfig: Path
    cluster: Cluster
    access: ClusterAccess


async def _start_base(stack: contextlib.AsyncExitStack, options: PlatformOptions, directory: Path) -> _Base:
    processes = await stack.enter_async_context(Processes())
    if not options.keep:
        processes.remove_at_end(directory)
    group = await stack.enter_async_context(asyncio.TaskGroup())
    authority = None if options.open else Authority(directory / "nats" / "accounts", options.stream)
    nats = NatsServer(processes, directory / "nats", port=options.nats_port, authority=authority)
    nats_up = group.create_task(stack.enter_async_context(nats))
    store = ResourceStore()
    grant_access(store)
    kube = await stack.enter_async_context(KubeServer(store, port=options.kube_port))
    kubeconfig = directory / "kubeconfig"
    kube.write_kubeconfig(kubeconfig)
    # The client imports for 0.1 s when it is made: in a thread, the server starts meanwhile.
    client = await asyncio.to_thread(Cluster, kubeconfig, field_manager="unitsim")
    cluster = await stack.enter_async_context(client)
    await nats_up
    tasks = Tasks(stack, group)
    tasks.start(_guard(nats, keep=options.keep))
    access = ClusterAccess(kube, directory / "kubeconfigs")
    return _Base(processes, tasks, authority, nats, kube, kubeconfig, cluster, access)


def _controllers(
    base: _Base,
    clusters: Mapping[Part, Cluster],
    queues: Mapping[str, Queue],
    units: Informer,
    options: PlatformOptions,
) -> Iterator[Coroutine[Any, Any, None]]:
    settings = _reconciler_settings(options, base.nats.url)
    yield Controllers(clusters[Part.KUBELET], DEFAULT_TIME_SCALE).run()
    yield Reconciler(clusters[Part.RECONCILER], settings).run()
    yield ResultStore(queues["results"]).run()
    if base.authority:
        concurrency = options.max_concurrency or DEFAULT_CONCURRENCY
        workers = base.authority.of_workers(queues[ACCOUNTS])
        yield Issuer(clusters[Part.ISSUER], units, queues["owner"], workers, concurrency).run()


async def _guard(nats: NatsServer, *, keep: bool) -> None:
    code = await nats.unexpected_end()
    where = f" {nats.log}" if keep else ""  # else it is deleted when this is read
    raise PlatformError(
        f"nats-server ended unexpectedly with code {code}; the end of its log{where}:\n{_tail(nats.log)}"
    )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError as error:
        return f"(cannot be read: {error.strerror})"
    return "\n".join(lines[-LOG_TAIL_LINES:])[-LOG_TAIL_CHARACTERS:] or "(empty)"


@contextlib.contextmanager
def _directory(keep: bool) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix=DIRECTORY_PREFIX))
    try:
        yield directory
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


def _kubelet(node: NodeSpec, cluster: Cluster, base: _Base, directory: Path, options: PlatformOptions) -> Kubelet:
    images, users = _images(options), options.pod_users
    return Kubelet(cluster, base.processes, directory, images, users=users, keep_logs=options.keep, node_name=node.name)


def _images(options: PlatformOptions) -> ImageTable:
    return ImageTable(
        options.images,
        sidecar_command=options.sidecar_command,
        framework_command=options.framework_command,
        startup=options.startup,
    )


def _activator_settings(options: PlatformOptions) -> ActivatorSettings:
    return dataclasses.replace(options.activator, capacity=options.max_concurrency or DEFAULT_CONCURRENCY)


def _reconciler_settings(options: PlatformOptions, nats_url: str) -> ReconcilerSettings:
    return ReconcilerSettings(
        nats_url=nats_url,
        subject_prefix=options.stream.subjects.prefix,
        stream_name=options.stream.name,
        worker_credentials=not options.open,
        max_concurrency=options.max_concurrency,
    )
