"""The API as a web application, and the server that runs it on a loopback port."""

import errno
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from sidecar.queue import Queue
from simulator.api.envelope import error_middleware
from simulator.api.health import HealthRoute
from simulator.api.invocations import ASYNC_FALLBACK_CODE, InvocationRoutes
from simulator.api.units import UnitRoutes
from simulator.errors import EnvironmentMissing, PortTakenError
from simulator.kube.client import Cluster
from simulator.ports import LOOPBACK

SHUTDOWN_GRACE_S: Final = 1.0
"""For requests under way when the server stops; idle connections are closed at once."""


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the contract's route table (4.1)."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.Response]]
    fallback_code: str


def create_app(cluster: Cluster | None, queue: Queue | None) -> web.Application:
    """Build the API; without a cluster or a queue, the routes that need it answer 503."""
    units = UnitRoutes(cluster)
    routes = [
        Route("GET", "/api/v1/health", HealthRoute(cluster, queue).health, "health_failed"),
        Route("GET", "/api/v1/gpu-units", units.list, "list_gpuunits_failed"),
        Route("POST", "/api/v1/gpu-units", units.create, "create_gpuunit_failed"),
        Route("GET", "/api/v1/gpu-units/{name}", units.get, "gpuunit_not_found"),
        Route("PUT", "/api/v1/gpu-units/{name}", units.update, "update_gpuunit_failed"),
        Route("DELETE", "/api/v1/gpu-units/{name}", units.delete, "delete_gpuunit_failed"),
        Route("POST", "/api/v1/serverless/invocations", InvocationRoutes(queue).invoke, ASYNC_FALLBACK_CODE),
    ]
    codes = {(route.method, route.path): route.fallback_code for route in routes}
    app = web.Application(middlewares=[error_middleware(codes)])
    for route in routes:
        app.router.add_route(route.method, route.path, route.handler)
    return app


class ApiServer:
    """Serves the API on `host` and `port` (0: any free one) within an `async with` block."""

    def __init__(self, cluster: Cluster | None, queue: Queue | None, *, host: str = LOOPBACK, port: int = 0) -> None:
        self._host = host
        self._port = port
        # Handlers are cancelled when their client leaves: nobody is left to wait for a sync reply.
        self._runner = web.AppRunner(
            create_app(cluster, queue), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_GRACE_S
        )

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash; valid within the block."""
        return f"http://{self._host}:{self._port}"

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            PortTakenError: the port is in use.
            EnvironmentMissing: the address cannot be listened on.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except BaseException as error:
            await self._runner.cleanup()
            if isinstance(error, OSError):
                raise self._unusable_address(error) from error
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def _unusable_address(self, error: OSError) -> EnvironmentMissing:
        where = f"{self._host}:{self._port}"
        if error.errno == errno.EADDRINUSE:
            return PortTakenError(f"cannot serve the API: {where} is in use; stop its user or take port 0")
        return EnvironmentMissing(f"cannot serve the API at {where}: {error.strerror}; use an address of this machine")
