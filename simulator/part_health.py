"""What tells a cluster's kubelet how a part of the platform is doing: `/healthz` and `/readyz`."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import web

from simulator.errors import EnvironmentMissing, PortTakenError
from simulator.site import Site

SHUTDOWN_S: Final = 0.1


class PartHealth:
    """A part is alive while its event loop answers, and ready once it has `started`: it has found all that it needs."""

    def __init__(self) -> None:
        self.ready = False

    def started(self) -> None:
        """The part does its work from now on."""
        self.ready = True


@asynccontextmanager
async def serving_health(health: PartHealth, host: str, port: int) -> AsyncIterator[str]:
    """Answer while the block runs; yields the URL. Port 0 takes a free one.

    Raises:
        PortTakenError: another process listens on the port.
        EnvironmentMissing: the address is none of this machine's.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_request: web.Request) -> web.Response:
        return (
            web.Response(text="ok")
            if health.ready
            else web.Response(text="not ready", status=HTTPStatus.SERVICE_UNAVAILABLE)
        )

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await Site(runner, host, port).start()
        except OSError as error:
            raise _unusable(host, port, error) from error
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _unusable(host: str, port: int, error: OSError) -> EnvironmentMissing:
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(f"cannot serve the health of this part: {host}:{port} is in use; choose --health-port")
    return EnvironmentMissing(f"cannot serve the health of this part at {host}:{port}: {error.strerror}")
