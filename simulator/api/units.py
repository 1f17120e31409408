"""Routes of the GPU units (contract 4.2): each is a GPUUnit object in the namespace of active units."""

import asyncio
import re
from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web

from simulator.api.envelope import OPERATION_CONFLICT, SERVICE_UNAVAILABLE, ApiError, data_response
from simulator.api.errands import Errands
from simulator.api.request_body import read_body
from simulator.api.unit_creation import create_unit
from simulator.api.unit_objects import unit_view
from simulator.api.units_request import UnitCreate, UnitUpdate, parse_create, parse_update, updated_spec
from simulator.errors import ConflictError, NotFoundError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.client import Cluster
from simulator.kube.kinds import GPUUNIT, Object

MAX_BODY_BYTES: Final = 1024 * 1024
"""A Kubernetes API takes about this much for one object."""

UPDATE_ATTEMPTS: Final = 5
"""The reconciler writes only the status; more conflicts than this in a row means many writers."""

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

log = structlog.get_logger(__name__)


class UnitRoutes:
    """Handlers of `/api/v1/gpu-units`; without a cluster each answers 503 once the request is known to be valid."""

    def __init__(self, cluster: Cluster | None, errands: Errands) -> None:
        self._cluster_or_none = cluster
        self._errands = errands
        self._create_lock = asyncio.Lock()

    async def list(self, _request: web.Request) -> web.Response:
        """All active units, by name."""
        units = await self._cluster.list(GPUUNIT, ACTIVE_NAMESPACE)
        return data_response(sorted((unit_view(unit) for unit in units), key=lambda view: str(view["name"])))

    async def create(self, request: web.Request) -> web.Response:
        """Create a unit: 201, or 200 with the unit as it is now when this very request was answered before."""
        wanted = parse_create(await read_body(request, MAX_BODY_BYTES))
        cluster = self._cluster
        _require_storages(wanted.spec.get("storageMounts"))
        # A client that leaves half-way must not leave half a creation behind.
        unit, created = await asyncio.shield(self._errands.start(self._created(cluster, wanted)))
        return data_response(unit_view(unit), HTTPStatus.CREATED if created else HTTPStatus.OK)

    async def get(self, request: web.Request) -> web.Response:
        """One unit."""
        return data_response(unit_view(await self._cluster.get(GPUUNIT, _name(request), ACTIVE_NAMESPACE)))

    async def update(self, request: web.Request) -> web.Response:
        """Change a unit; a change that changes nothing writes nothing."""
        update = parse_update(await read_body(request, MAX_BODY_BYTES))
        cluster = self._cluster
        _require_storages(update.storage_mounts)
        return data_response(unit_view(await _update(cluster, _name(request), update)))

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a unit; what was made for it goes with it."""
        name = _name(request)
        await self._cluster.delete(GPUUNIT, name, ACTIVE_NAMESPACE)
        log.info("unit deleted", unit=name)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def _created(self, cluster: Cluster, wanted: UnitCreate) -> tuple[Object, bool]:
        async with self._create_lock:
            return await create_unit(cluster, wanted)

    @property
    def _cluster(self) -> Cluster:
        if self._cluster_or_none is None:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_UNAVAILABLE, "the API was started without a Kubernetes cluster"
            )
        return self._cluster_or_none


async def _update(cluster: Cluster, name: str, update: UnitUpdate) -> Object:
    for _ in range(UPDATE_ATTEMPTS):
        unit = await cluster.get(GPUUNIT, name, ACTIVE_NAMESPACE)
        spec = updated_spec(unit["spec"], update)
        if spec == unit["spec"]:
            return unit
        try:
            changed = await cluster.update(GPUUNIT, {**unit, "spec": spec})
        except ConflictError:
            continue
        log.info("unit changed", unit=name)
        return changed
    raise ApiError(
        HTTPStatus.CONFLICT,
        OPERATION_CONFLICT,
        f"unit {name!r} was changed by others {UPDATE_ATTEMPTS} times in a row; read it and try again",
    )


def _name(request: web.Request) -> str:
    """The unit named in the path; a name that no object can have must not become part of a Kubernetes URL."""
    name = request.match_info["name"]
    if not _OBJECT_NAME.fullmatch(name):
        raise NotFoundError(f"no unit can be named {name!r}")
    return name


def _require_storages(mounts: list[Object] | None) -> None:
    """There are no storages on this platform, so any that is asked for is missing (contract 4.2: 404)."""
    if mounts:
        raise NotFoundError(f"storage {mounts[0]['name']!r} does not exist: storages are not simulated")
