"""The API as a web application, and the server that runs it on a loopback port."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from sidecar.queue import Queue
from sidecar.queue_errors import ended
from simulator.api.admission import RequestLimit
from simulator.api.dead_letters import (
    DROP_FALLBACK_CODE,
    GET_FALLBACK_CODE,
    LIST_FALLBACK_CODE,
    RETRY_FALLBACK_CODE,
    DeadLetterRoutes,
)
from simulator.api.envelope import error_middleware
from simulator.api.errands import Errands
from simulator.api.health import HealthRoute
from simulator.api.invocations import ASYNC_FALLBACK_CODE, InvocationRoutes, Invocations
from simulator.api.openapi import OpenApiRoute
from simulator.api.settings import ApiSettings
from simulator.api.units import UnitRoutes
from simulator.errors import EnvironmentMissing, PortTakenError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.ledger.follower import LedgerFollower
from simulator.ports import LOOPBACK
from simulator.site import Site

SHUTDOWN_GRACE_S: Final = 1.0
"""For requests under way when the server stops; idle connections are closed at once."""
ERRANDS_GRACE_S: Final = 5.0
"""For what is brought to its end after that."""

UNITS: Final = "/api/v1/gpu-units"
INVOCATIONS: Final = "/api/v1/serverless/invocations"
DEAD_LETTERS: Final = "/api/v1/serverless/dead-letters"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the contract's route table (4.1)."""

    method: str
    path: str
    handler: Callable[[web.Request], Awaitable[web.Response]]
    fallback_code: str


def create_app(
    cluster: Cluster | None,
    queue: Queue | None,
    *,
    invocations: Invocations | None = None,
    errands: Errands | None = None,
    settings: ApiSettings | None = None,
) -> web.Application:
    """Build the API; without a cluster, a queue or `invocations`, the routes that need it answer 503."""
    limit = RequestLimit((settings or ApiSettings()).max_requests)
    always = [
        Route("GET", "/api/v1/health", HealthRoute(cluster, queue).health, "health_failed"),
        Route("GET", "/api/v1/openapi.json", OpenApiRoute().document, "openapi_failed"),
    ]
    bounded = [
        *_unit_routes(UnitRoutes(cluster, errands or Errands())),
        *_invocation_routes(InvocationRoutes(invocations)),
        *_dead_letter_routes(DeadLetterRoutes(queue)),
    ]
    codes = {(route.method, route.path): route.fallback_code for route in always + bounded}
    app = web.Application(middlewares=[error_middleware(codes)])
    for route in always:
        app.router.add_route(route.method, route.path, route.handler)
    for route in bounded:
        app.router.add_route(route.method, route.path, limit.bounded(route.handler))
    return app


def _unit_routes(units: UnitRoutes) -> list[Route]:
    return [
        Route("GET", UNITS, units.list, "list_gpuunits_failed"),
        Route("POST", UNITS, units.create, "create_gpuunit_failed"),
        Route("GET", f"{UNITS}/{{name}}", units.get, "gpuunit_not_found"),
        Route("PUT", f"{UNITS}/{{name}}", units.update, "update_gpuunit_failed"),
        Route("DELETE", f"{UNITS}/{{name}}", units.delete, "delete_gpuunit_failed"),
    ]


def _invocation_routes(invocations: InvocationRoutes) -> list[Route]:
    return [
        Route("POST", INVOCATIONS, invocations.invoke, ASYNC_FALLBACK_CODE),
        Route("GET", INVOCATIONS, invocations.list, "list_serverless_invocations_failed"),
        Route("GET", f"{INVOCATIONS}/{{id}}", invocations.get, "get_serverless_invocation_failed"),
        Route("DELETE", f"{INVOCATIONS}/{{id}}", invocations.cancel, "cancel_serverless_invocation_failed"),
    ]


def _dead_letter_routes(dead_letters: DeadLetterRoutes) -> list[Route]:
    return [
        Route("GET", DEAD_LETTERS, dead_letters.list, LIST_FALLBACK_CODE),
        Route("GET", f"{DEAD_LETTERS}/{{sequence}}", dead_letters.get, GET_FALLBACK_CODE),
        Route("POST", f"{DEAD_LETTERS}/{{sequence}}/retry", dead_letters.retry, RETRY_FALLBACK_CODE),
        Route("DELETE", f"{DEAD_LETTERS}/{{sequence}}", dead_letters.drop, DROP_FALLBACK_CODE),
    ]


class ApiServer:
    """Serves the API on `host` and `port` (0: any free one) within an `async with` block, and keeps its ledger.

    `follower` None makes a ledger of its own; given one, the server runs it.
    """

    def __init__(
        self,
        cluster: Cluster | None,
        queue: Queue | None,
        *,
        settings: ApiSettings | None = None,
        units: Informer | None = None,
        follower: LedgerFollower | None = None,
        host: str = LOOPBACK,
        port: int = 0,
    ) -> None:
        settings = settings or ApiSettings()
        self._host = host
        self._port = port
        self._errands = Errands()
        if follower is None and queue is not None:
            follower = LedgerFollower(queue)
        self._follower = follower
        self._stack = AsyncExitStack()
        invocations = None
        if queue is not None and follower is not None:
            invocations = Invocations(queue, follower, self._errands, settings, units)
        app = create_app(cluster, queue, invocations=invocations, errands=self._errands, settings=settings)
        # Handlers are cancelled when their client leaves: nobody is left to wait for a sync reply.
        self._runner = web.AppRunner(
            app,
            handler_cancellation=True,
            access_log=None,
            logger=_server_logger(),
            shutdown_timeout=SHUTDOWN_GRACE_S,
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
        async with AsyncExitStack() as stack:
            if self._follower is not None:
                await stack.enter_async_context(_running(self._follower))
            stack.push_async_callback(self._errands.finish, ERRANDS_GRACE_S)
            await self._runner.setup()
            stack.push_async_callback(self._runner.cleanup)
            try:
                await Site(self._runner, self._host, self._port).start()
            except OSError as error:
                raise self._unusable_address(error) from error
            self._port = self._runner.addresses[0][1]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _unusable_address(self, error: OSError) -> EnvironmentMissing:
        where = f"{self._host}:{self._port}"
        if error.errno == errno.EADDRINUSE:
            return PortTakenError(f"cannot serve the API: {where} is in use; stop its user or take port 0")
        return EnvironmentMissing(f"cannot serve the API at {where}: {error.strerror}; use an address of this machine")


def _server_logger() -> logging.Logger:
    """Logs what aiohttp does, but for requests that are not HTTP: their senders' mistakes, answered with 400."""
    logger = logging.getLogger(f"{__name__}.http")
    logger.addFilter(_is_our_fault)  # once, however often it is added
    return logger


def _is_our_fault(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


@asynccontextmanager
async def _running(follower: LedgerFollower) -> AsyncIterator[None]:
    """Run the ledger within the block; what ended it before is raised at the end."""
    task = asyncio.create_task(follower.run())
    task.add_done_callback(_complain)
    try:
        yield
    finally:
        await ended(task)
        if not task.cancelled():
            task.result()


def _complain(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.error("the API's ledger stopped, its answers are out of date", error=str(task.exception()))
