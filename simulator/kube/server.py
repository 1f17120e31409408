"""The embedded API server: a store behind HTTP on the loopback interface, for kubectl and every Kubernetes client.

Every process of this machine can connect to it, those of user code included, and its Secrets hold credentials. So a
client must know a secret, which is the first part of each path: kubectl sends tokens over TLS only, but takes any
server address. The kubeconfig, which only its owner may read, has it.
"""

import errno
import hmac
import json
import os
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from simulator.errors import PortTakenError
from simulator.kube.requests import MAX_BODY_BYTES
from simulator.kube.routes import HEALTH_PATHS, KubeRoutes, json_response
from simulator.kube.status import unauthorized
from simulator.kube.store import ResourceStore

HOST = "127.0.0.1"
SHUTDOWN_S = 0.1
"""For answers that are under way; open watches are ended at once."""
_SECRET_BYTES = 16
_CONTEXT = "gpuunit-sim"
_NAMESPACE = "runtime-instance"


class KubeServer:
    """Serves `store` while the context is open; `port` 0 takes a free one, `secret` None makes a new one."""

    def __init__(self, store: ResourceStore, port: int = 0, secret: str | None = None) -> None:
        self._routes = KubeRoutes(store)
        self._port = port
        self._secret = secret or secrets.token_urlsafe(_SECRET_BYTES)
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{secret}/{path:.*}", self._admit)
        application.router.add_route("*", "/{path:.*}", _answer_stranger)
        # A watch of a client that has gone would otherwise wait for an event that may never come.
        self._runner = web.AppRunner(
            application, handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S
        )

    async def __aenter__(self) -> Self:
        """Start serving.

        Raises:
            PortTakenError: another process listens on the port.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(
                    f"the Kubernetes API cannot listen on {HOST}:{self._port}: address in use"
                ) from error
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End every watch and stop serving."""
        for watch in list(self._routes.watches):
            watch.end()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Address of the API, as it may be shown to anybody; only its health is told there."""
        return f"http://{HOST}:{self._port}"

    @property
    def private_url(self) -> str:
        """Address that admits a client: a secret, for the kubeconfig."""
        return f"{self.url}/{self._secret}"

    def write_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig whose current context is this server, readable by its owner only."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            # Plain HTTP: there is nothing to verify, and clients need not load the system's certificates (30 ms each).
            "clusters": [{"name": _CONTEXT, "cluster": {"server": self.private_url, "insecure-skip-tls-verify": True}}],
            "users": [{"name": _CONTEXT, "user": {}}],
            "contexts": [
                {"name": _CONTEXT, "context": {"cluster": _CONTEXT, "user": _CONTEXT, "namespace": _NAMESPACE}}
            ],
            "current-context": _CONTEXT,
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), 0o600)  # the file may have been there, with another mode
            json.dump(config, file, indent=2)  # JSON is YAML

    async def _admit(self, request: web.Request) -> web.StreamResponse:
        if hmac.compare_digest(request.match_info["secret"].encode(), self._secret.encode()):
            return await self._routes.handle(request)
        return await _answer_stranger(request)


async def _answer_stranger(request: web.Request) -> web.StreamResponse:
    if request.path in HEALTH_PATHS:
        return web.Response(text="ok")
    failure = unauthorized()
    return json_response(failure.body, failure.code)
