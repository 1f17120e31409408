"""What an invocation needs to be taken: a free place in this process, a pool, and a pool that is not over its limit."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from simulator.api.envelope import BACKPRESSURE, POOL_NOT_FOUND, SERVICE_UNAVAILABLE, ApiError
from simulator.api.settings import ApiSettings
from simulator.gpuunit import UnitSpecError, serverless_of
from simulator.kube.informer import Informer, Key
from simulator.ledger.ledger import Ledger

UNITS_TIMEOUT_S: Final = 5.0
"""For the first list of the units, after the start."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


class RequestLimit:
    """Counts the requests in hand; one too many is refused at once, and read no further (P12)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._in_hand = 0

    def bounded(self, handler: Handler) -> Handler:
        """The handler, counted."""

        async def counted(request: web.Request) -> web.Response:
            if self._in_hand >= self._most:
                raise ApiError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    SERVICE_UNAVAILABLE,
                    f"this API process has {self._most} requests in hand, as many as it takes; try again",
                )
            self._in_hand += 1
            try:
                return await handler(request)
            finally:
                self._in_hand -= 1

        return counted


class KnownPools:
    """The pools that units serve, worked out anew only after units changed."""

    def __init__(self, units: Informer) -> None:
        self._units = units
        self._pools: frozenset[str] | None = None
        units.on_change(self._changed)

    async def has(self, pool: str) -> bool:
        """Whether a unit serves the pool, or is the pattern for workers that will.

        Raises:
            TimeoutError: the units are not known yet.
        """
        if self._pools is None:
            await self._units.synced(UNITS_TIMEOUT_S)
            self._pools = frozenset(self._served())
        return pool in self._pools

    def _changed(self, _key: Key) -> None:
        self._pools = None

    def _served(self) -> list[str]:
        served = []
        for unit in self._units.objects():
            try:
                serverless = serverless_of(unit)
            except UnitSpecError:
                continue  # its own status says so
            if serverless is not None:
                served.append(serverless.request_id)
        return served


class Admission:
    """Decides, before anything is published, whether an invocation is taken."""

    def __init__(self, ledger: Ledger, settings: ApiSettings, units: Informer | None) -> None:
        if settings.require_pool and units is None:
            raise ValueError("require_pool needs the units")
        self._ledger = ledger
        self._backlog_limit = settings.backlog_limit
        self._pools = KnownPools(units) if settings.require_pool and units is not None else None

    async def check(self, pool: str) -> None:
        """Return if the pool takes an invocation.

        Raises:
            ApiError: 404, no unit serves the pool (P8); 503, it is over its backlog limit, or the units are not known.
        """
        if self._pools is not None:
            await self._require(self._pools, pool)
        waiting = self._ledger.waiting(pool)
        if waiting >= self._backlog_limit:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                BACKPRESSURE,
                f"{waiting} invocations of pool {pool!r} wait for a worker, at most {self._backlog_limit} may; "
                "nothing was queued, try again later",
            )

    @staticmethod
    async def _require(pools: KnownPools, pool: str) -> None:
        try:
            known = await pools.has(pool)
        except TimeoutError as error:
            raise ApiError(
                HTTPStatus.SERVICE_UNAVAILABLE, SERVICE_UNAVAILABLE, "the units are not known yet; try again"
            ) from error
        if not known:
            raise ApiError(HTTPStatus.NOT_FOUND, POOL_NOT_FOUND, f"no unit serves pool {pool!r}; nothing was queued")
