"""The target that is a platform in a cluster: others use it too, and it stays, so nothing of a scenario may be left."""

import asyncio
import contextlib
import secrets
import shlex
from collections.abc import AsyncIterator, Callable
from typing import Final

from sidecar.queue import Access, Queue
from simulator.errors import KubeError, NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.install.installation import running
from simulator.install.target import target_cluster
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT
from simulator.processes.completion import complete
from simulator.targets.cluster_faults import ClusterFaults
from simulator.targets.installed import find_installed
from simulator.targets.place import Place
from simulator.targets.target import Target
from simulator.targets.ways_in import API_DOOR, QUEUE_DOOR, WayIn

REMOVAL_TIMEOUT_S: Final = 90.0
CLIENT: Final = "unitsim-scenario"

Tell = Callable[[str], None]
"""Hears what is left behind."""


@contextlib.asynccontextmanager
async def cluster_target(place: Place, way_in: WayIn, tell: Tell) -> AsyncIterator[Target]:
    """Come into the platform for one scenario; at the end the units of all pools that have its suffix are deleted.

    Raises:
        EnvironmentMissing: there is no such context, no platform in it, or no right to see what is needed.
        PlatformError: the platform cannot be reached from outside.
        QueueError: its queue does not let us in.
    """
    suffix = secrets.token_hex(3)
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(target_cluster(place.kubeconfig, place.context))
        installed = await find_installed(cluster, place)
        api = await stack.enter_async_context(way_in(cluster, place, API_DOOR))
        address = await stack.enter_async_context(way_in(cluster, place, QUEUE_DOOR))
        access = Access(installed.credentials)
        connecting = Queue.connect(f"nats://{address}", client_name=CLIENT, stream=installed.stream, access=access)
        queue = await stack.enter_async_context(connecting)
        units = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE)
        await stack.enter_async_context(running([units]))
        stack.push_async_callback(_remove, cluster, suffix, place, tell)
        yield Target(
            api_url=f"http://{api}",
            queue=queue,
            cluster=cluster,
            units=units,
            faults=await ClusterFaults(cluster, place, stack, tell).offered(),
            echo_image=installed.echo_image,
            python="python3",
            suffix=suffix,
        )


async def _remove(cluster: Cluster, suffix: str, place: Place, tell: Tell) -> None:
    """Delete what a scenario made, whatever became of it, and tell what could not be."""
    units = Informer(cluster, GPUUNIT, ACTIVE_NAMESPACE)
    try:
        await complete(remove_units(cluster, units, suffix))
    except (KubeError, TimeoutError) as error:
        reason = str(error) or "it does not go"
        names = sorted(_units_of(units, suffix))
        for name in names:
            tell(f"left behind: unit {name} ({reason}); remove it with: {_command(place, 'delete', name)}")
        if not names:
            tell(f"units of pools *-{suffix} may be left behind ({reason}); look with: {_command(place, 'get')}")


def _command(place: Place, verb: str, *names: str) -> str:
    return shlex.join(place.kubectl(verb, "gpuunit", "--namespace", ACTIVE_NAMESPACE, *names))


async def remove_units(cluster: Cluster, units: Informer, suffix: str, timeout_s: float = REMOVAL_TIMEOUT_S) -> None:
    """Delete all units of the pools that have this suffix, also those that appear meanwhile, until none is left.

    `units` is a copy that does not run yet: its first list has all that was made until now.

    Raises:
        KubeError: the cluster refuses.
        TimeoutError: one is still there after `timeout_s` seconds.
    """
    asked: set[str] = set()

    def to_delete(copy: Informer) -> set[str] | None:
        """Those not yet asked to go; none when all are gone; None while there is only to wait."""
        there = _units_of(copy, suffix)
        return (there - asked) or (None if there else set())

    async with asyncio.timeout(timeout_s), running([units]):
        await units.synced(None)
        while found := await units.wait_for(to_delete, None):
            for name in found:
                with contextlib.suppress(NotFoundError):
                    await cluster.delete(GPUUNIT, name, ACTIVE_NAMESPACE)
            asked |= found


def _units_of(units: Informer, suffix: str) -> set[str]:
    """The names of all units whose pool has this suffix, be they made by a scenario or by the activator."""
    return {
        unit["metadata"]["name"]
        for unit in units.objects()
        if str((unit["spec"].get("serverless") or {}).get("requestID", "")).endswith(f"-{suffix}")
    }
