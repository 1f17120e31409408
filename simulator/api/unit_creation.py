"""Creating a unit once (contract 4.2, P9): also when several API processes, or activators, do it at the same instant.

The cluster decides about a name: it takes one object of a name. Of an operation ID it knows nothing, so two processes
may create two units under other names. Each then reads in the history of the units which of the two came first, an
order that is the same for all of them; whoever came later takes its unit back and looks again. No lock, no clock.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Final, cast

import structlog

from simulator.api.envelope import OPERATION_CONFLICT, ApiError
from simulator.api.unit_objects import find_replay, new_unit, operation_of
from simulator.api.units_request import UnitCreate
from simulator.errors import AlreadyExistsError, KubeError, NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.client import Cluster
from simulator.kube.kinds import GPUUNIT, Object

CREATE_ATTEMPTS: Final = 3
"""The second look at the units decides, unless the winner was deleted in between."""

HISTORY_TIMEOUT_S: Final = 5.0

log = structlog.get_logger(__name__)


async def create_unit(cluster: Cluster, wanted: UnitCreate) -> tuple[Object, bool]:
    """Return the unit and whether this call created it.

    Where another process comes first, looking again tells a replay from a taken name or operation ID (P10).

    Raises:
        ApiError: 409, the name is taken, or the operation ID was used for another request.
        KubeError: the cluster refuses or is away. A unit may then have been created: the same request finds it.
    """
    for _ in range(CREATE_ATTEMPTS):
        units, version = await cluster.list_with_version(GPUUNIT, ACTIVE_NAMESPACE)
        existing = find_replay(wanted, units)
        if existing is not None:
            return existing, False
        try:
            unit = await cluster.create(GPUUNIT, new_unit(wanted))
        except AlreadyExistsError:
            continue
        if await _came_first(cluster, unit, version):
            log.info("unit created", unit=wanted.name, operation_id=wanted.operation_id)
            return unit, True
        await _take_back(cluster, unit)
    raise ApiError(
        HTTPStatus.CONFLICT,
        OPERATION_CONFLICT,
        f"units named {wanted.name!r} are being created and deleted by others; try again or use another name",
    )


async def _came_first(cluster: Cluster, unit: Object, version: str) -> bool:
    """Whether, of the units with this one's operation ID, none was created after `version` and before it."""
    uid, earlier = unit["metadata"]["uid"], set()
    watch = cast("AsyncGenerator[tuple[str, Object], None]", cluster.watch(GPUUNIT, ACTIVE_NAMESPACE, version))
    try:
        async with asyncio.timeout(HISTORY_TIMEOUT_S), aclosing(watch) as changes:
            async for change, other in changes:
                if other["metadata"]["uid"] == uid:
                    break
                if change == "DELETED":
                    earlier.discard(other["metadata"]["uid"])
                elif operation_of(other) == operation_of(unit):
                    earlier.add(other["metadata"]["uid"])
    except TimeoutError as error:
        raise KubeError(f"the cluster did not tell of unit {unit['metadata']['name']!r}, which it created") from error
    return not earlier


async def _take_back(cluster: Cluster, unit: Object) -> None:
    """Delete the unit if it is still the one that was created here."""
    name = unit["metadata"]["name"]
    try:
        now = await cluster.get(GPUUNIT, name, ACTIVE_NAMESPACE)
        if now["metadata"]["uid"] == unit["metadata"]["uid"]:
            await cluster.delete(GPUUNIT, name, ACTIVE_NAMESPACE)
    except NotFoundError:
        return
    log.info("unit taken back, its operation ID was used at the same time", unit=name, operation_id=operation_of(unit))
