"""Serve a framework application on its unix socket: in a block, in a task, or as a whole program."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from framework.app import create_app
from framework.contract import (
    DEFAULT_HEALTH_PATH,
    DEFAULT_INVOKE_PATH,
    DEFAULT_SOCKET_PATH,
    HEALTH_PATH_ENV,
    INVOKE_PATH_ENV,
    SOCKET_PATH_ENV,
    ContractError,
)
from framework.handlers import Handler
from framework.listening import BACKLOG, SocketError, listen_at

GRACE_S: Final = 5.0
"""How long running calls may take to end after a stop (contract section 8)."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(app: web.Application, socket_path: str, *, grace_s: float = GRACE_S) -> AsyncIterator[None]:
    """Serve `app` while the block runs; at its end running calls get up to `grace_s` seconds, then are cancelled.

    A call is cancelled too when its caller drops the connection.

    Raises:
        ContractError, SocketError: as for `listen_at`.
    """
    listener = listen_at(socket_path)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=grace_s, access_log=None)
    try:
        await runner.setup()
        await web.SockSite(runner, listener.socket, backlog=BACKLOG).start()
        yield
    finally:
        listener.remove_file()
        await runner.cleanup()
        listener.socket.close()


async def serve_unix(app: web.Application, socket_path: str) -> None:
    """Serve `app` until cancelled.

    Raises:
        ContractError, SocketError: as for `listen_at`.
    """
    async with serving(app, socket_path):
        await asyncio.Event().wait()


def run(handler: Handler, environ: Mapping[str, str] | None = None) -> None:
    """Serve `handler` until SIGTERM or SIGINT: the whole main program of a worker.

    Reads the three SERVERLESS_FRAMEWORK_* variables of the contract. A second signal ends the program at once.

    Raises:
        SystemExit: a setting or the socket path is wrong; the message says what to change.
    """
    settings = os.environ if environ is None else environ
    _log_to_stderr()
    try:
        app = create_app(
            handler,
            invoke_path=settings.get(INVOKE_PATH_ENV, DEFAULT_INVOKE_PATH),
            health_path=settings.get(HEALTH_PATH_ENV, DEFAULT_HEALTH_PATH),
        )
        asyncio.run(_serve_until_signal(app, settings.get(SOCKET_PATH_ENV) or DEFAULT_SOCKET_PATH))
    except (ContractError, SocketError) as error:
        raise SystemExit(f"framework: {error}") from error


async def _serve_until_signal(app: web.Application, socket_path: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with serving(app, socket_path):
        log.info("framework listens at %s", socket_path)
        await stop.wait()
        log.info("framework stops")


def _log_to_stderr() -> None:
    """Plain lines by the standard library, unless the program has its own logging: user code needs no more from us."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
