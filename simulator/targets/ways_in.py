"""How one comes into a cluster from outside: to the platform's API, and to its queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from simulator.errors import NotFoundError
from simulator.install.names import API, API_PORT, NATS, NATS_OUTSIDE, NATS_PORT
from simulator.kube.client import Cluster
from simulator.kube.kinds import SERVICE
from simulator.targets.place import Place
from simulator.targets.port_forward import port_forward

CONNECT_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Door:
    """A Service of the platform and its port. `outside` is the Service that has a port of the nodes, if any has."""

    service: str
    port: int
    outside: str


API_DOOR: Final = Door(API.deployment, API_PORT, outside=API.deployment)
QUEUE_DOOR: Final = Door(NATS, NATS_PORT, outside=NATS_OUTSIDE)

WayIn = Callable[[Cluster, Place, Door], AbstractAsyncContextManager[str]]
"""Opens a door for the time of a block; gives its address on this machine, `HOST:PORT`."""


@contextlib.asynccontextmanager
async def forwarded(_cluster: Cluster, place: Place, door: Door) -> AsyncIterator[str]:
    """Come in by kubectl's port-forward. Raises what `port_forward` raises."""
    async with port_forward(place, door.service, door.port) as address:
        yield address


def mapped(ports: Mapping[int, int]) -> WayIn:
    """Come in by a port of this machine where one leads to the door's node port and answers, else by port-forward.

    `ports` are node ports, and the ports of this machine that lead to them.
    """

    @contextlib.asynccontextmanager
    async def open_door(cluster: Cluster, place: Place, door: Door) -> AsyncIterator[str]:
        node_port = await _node_port(cluster, place, door)
        port = ports.get(node_port) if node_port else None
        if port and await _answers(port):
            yield f"127.0.0.1:{port}"
            return
        async with forwarded(cluster, place, door) as address:
            yield address

    return open_door


async def _node_port(cluster: Cluster, place: Place, door: Door) -> int:
    """The door's port of every node, 0 if it has none."""
    try:
        service = await cluster.get(SERVICE, door.outside, place.namespace)
    except NotFoundError:
        return 0
    return next((int(each.get("nodePort") or 0) for each in service["spec"]["ports"] if each["port"] == door.port), 0)


async def _answers(port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:  # which TimeoutError is too
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
