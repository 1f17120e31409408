"""Serve a framework application on its unix socket: in a block, in a task, or as a whole program."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeVar, Unpack

from aiohttp import web

from framework.app import STATE, Options, create_app
from framework.calls import CANCELLED_GRACE_S
from framework.connection import HEADER_TIMEOUT_S, BoundedConnection
from framework.contract import (
    DEFAULT_HEALTH_PATH,
    DEFAULT_INVOKE_PATH,
    DEFAULT_SOCKET_PATH,
    HEALTH_PATH_ENV,
    INVOKE_PATH_ENV,
    SOCKET_PATH_ENV,
    ContractError,
)
from framework.handlers import Handler, HandlerObject
from framework.listening import BACKLOG, SocketError, listen_at
from framework.readiness import LoadError

GRACE_S: Final = 5.0
"""How long running calls may take to end after a stop (contract section 8)."""

DEBUG_ENV: Final = "SERVERLESS_FRAMEWORK_DEBUG"
"""Set to 1, failed calls and a failed start show their traceback."""

_CLOSE_S: Final = 0.1
"""How long connections get for their last bytes once no call runs any more."""

Marked = TypeVar("Marked", bound=Callable[..., object])

log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    app: web.Application,
    socket_path: str,
    *,
    grace_s: float = GRACE_S,
    header_timeout_s: float = HEADER_TIMEOUT_S,
) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve an application of `create_app` while the block runs; yields the task that loads the handler.

    At the block's end running calls get up to `grace_s` seconds, then are cancelled. A call is cancelled too when its
    caller drops the connection. Await the yielded task to know that the handler is loaded; it raises `LoadError`.

    Raises:
        ContractError, SocketError: as for `listen_at`.
    """
    state = app[STATE]
    listener = listen_at(socket_path)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=_CLOSE_S)
    app.on_shutdown.append(lambda _app: state.calls.drain(grace_s))
    loading = asyncio.create_task(state.readiness.load())
    server: asyncio.Server | None = None
    try:
        await runner.setup()
        assert runner.server is not None
        connection = partial(BoundedConnection, runner.server, header_timeout_s=header_timeout_s)
        server = await asyncio.get_running_loop().create_unix_server(connection, sock=listener.socket, backlog=BACKLOG)
        yield loading
    finally:
        listener.remove_file()
        if server is not None:
            await _stop_listening(server)
        await _ended(loading)
        await runner.cleanup()
        await state.readiness.close()
        listener.socket.close()


async def _stop_listening(server: asyncio.Server) -> None:
    """Close the server, a turn of the loop after it accepts no more.

    asyncio forgets a connection that was accepted in the last turn, without closing it (python/cpython#109564).
    """
    try:
        for listener in server.sockets:
            server.get_loop().remove_reader(listener.fileno())
        await asyncio.sleep(0)
    finally:
        server.close()


async def _ended(loading: "asyncio.Task[None]") -> None:
    loading.cancel()
    await asyncio.wait({loading}, timeout=CANCELLED_GRACE_S)
    if loading.done() and not loading.cancelled():
        loading.exception()  # whoever wanted to know has awaited it


async def serve_unix(app: web.Application, socket_path: str) -> None:
    """Serve an application of `create_app` until cancelled.

    Raises:
        ContractError, SocketError: as for `listen_at`.
        LoadError: the handler's `load()` raised.
    """
    async with serving(app, socket_path) as loading:
        await loading
        await asyncio.Event().wait()


def run(
    handler: Handler | type[HandlerObject], environ: Mapping[str, str] | None = None, **options: Unpack[Options]
) -> None:
    """Serve `handler` until SIGTERM or SIGINT: the whole main program of a worker.

    Reads the three SERVERLESS_FRAMEWORK_* variables of the contract, and `DEBUG_ENV` as the default of
    `include_traceback`. A second signal ends the program at once.

    Raises:
        SystemExit: with code 1: a setting or the socket path is wrong, or `load()` raised; the message says what.
    """
    settings = os.environ if environ is None else environ
    options.setdefault("include_traceback", settings.get(DEBUG_ENV) == "1")
    run_app(partial(create_app, handler, **options), settings)


def run_app(make_app: Callable[..., web.Application], settings: Mapping[str, str]) -> None:
    """Make an application for the paths in `settings`, and serve it as `run` does.

    Raises:
        SystemExit: as for `run`.
    """
    _log_to_stderr()
    try:
        app = make_app(
            invoke_path=settings.get(INVOKE_PATH_ENV, DEFAULT_INVOKE_PATH),
            health_path=settings.get(HEALTH_PATH_ENV, DEFAULT_HEALTH_PATH),
        )
        asyncio.run(_serve_until_signal(app, settings.get(SOCKET_PATH_ENV) or DEFAULT_SOCKET_PATH))
    except (ContractError, SocketError, LoadError) as error:
        if settings.get(DEBUG_ENV) == "1":
            log.exception("the framework cannot start")
        raise SystemExit(f"framework: {error}") from error


class Framework:
    """A worker whose handler is marked by a decorator: the same as `run`, for those who like it so.

    worker = Framework(max_concurrency=2)

    @worker.handler
    async def shout(request: InvocationRequest) -> object: ...

    worker.run()
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._options = options
        self._handler: Handler | type[HandlerObject] | None = None

    def handler(self, handler: Marked) -> Marked:
        """Mark the one function or class that answers the calls.

        Raises:
            ValueError: there is one already.
        """
        if self._handler is not None:
            raise ValueError(f"a worker has one handler, and this one has {self._handler!r} already")
        self._handler = handler
        return handler

    def run(self, environ: Mapping[str, str] | None = None) -> None:
        """Serve the handler as `run` does.

        Raises:
            ValueError: no handler was marked.
            SystemExit: as for `run`.
        """
        if self._handler is None:
            raise ValueError("mark a function or a class with @worker.handler before worker.run()")
        run(self._handler, environ, **self._options)


async def _serve_until_signal(app: web.Application, socket_path: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        log.info("framework stops")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with serving(app, socket_path) as loading:
        log.info("framework listens at %s", socket_path)
        loading.add_done_callback(lambda done: stop.set() if not done.cancelled() and done.exception() else None)
        await stop.wait()
        if loading.done():
            loading.result()


def _log_to_stderr() -> None:
    """Plain lines by the standard library, unless the program has its own logging: user code needs no more from us."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
