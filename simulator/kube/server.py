"""The embedded API server: a store behind HTTPS on the loopback interface, for kubectl and every Kubernetes client.

Every process of this machine can connect to it, those of user code included, and its Secrets hold credentials. So a
client must prove who it is, by a token or a certificate, and may do what the stored roles allow; the kubeconfigs, which
only their owner may read, have the proof.
"""

import asyncio
import errno
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from simulator.errors import PortTakenError
from simulator.kube.access.aggregation import RoleAggregation
from simulator.kube.access.attributes import UnreadablePathError, attributes_of
from simulator.kube.access.authorization import Authorizer
from simulator.kube.access.credentials import Credentials, PeerSubject
from simulator.kube.access.default_roles import default_access
from simulator.kube.access.gate import admitted
from simulator.kube.access.kubeconfig import kubeconfig, write_kubeconfig
from simulator.kube.access.serving import HOST
from simulator.kube.access.users import ADMIN, User
from simulator.kube.answers import NO_SNIFFING, failure_answer
from simulator.kube.pod_streams import NodeAgent, NodeAgents
from simulator.kube.requests import MAX_BODY_BYTES, check_timeout
from simulator.kube.reviewing import Reviews
from simulator.kube.routes import KubeRoutes
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore
from simulator.kube.writing import Writer
from simulator.site import TlsSite

_COMMANDS: Final = ("attach", "exec", "portforward")
SHUTDOWN_S: Final = 0.1
"""For answers that are under way; open watches are ended at once."""
IDLE_S: Final = 90
"""For a client to send the headers of its next request, or of its first."""
FAREWELL_S: Final = 0.1
"""For clients to read the last of it and go."""


class KubeServer:
    """Serves `store` while the context is open.

    `port` 0 takes a free one. With the `credentials` of a server that has ended, its kubeconfigs are good for this one.
    """

    def __init__(self, store: ResourceStore, port: int = 0, credentials: Credentials | None = None) -> None:
        self._store = store
        self._port = port
        self._credentials = credentials or Credentials()
        self._authorizer = Authorizer(store)
        self._aggregation = RoleAggregation(store)
        self._agents = NodeAgents()
        reviews = Reviews(self._authorizer, self._credentials, store.registry)
        self._routes = KubeRoutes(store, self._authorizer, reviews, self._agents)
        application = web.Application(client_max_size=MAX_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._admit)
        # A watch of a client that has gone would otherwise wait for an event that may never come.
        self._runner = web.AppRunner(
            application,
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=SHUTDOWN_S,
            keepalive_timeout=IDLE_S,
        )

    async def __aenter__(self) -> Self:
        """Start serving.

        Raises:
            PortTakenError: another process listens on the port.
        """
        context = await asyncio.to_thread(lambda: self._credentials.context)  # reads a file, or makes keys
        _make_default_access(self._store)
        await self._runner.setup()
        self._site = TlsSite(self._runner, HOST, self._port, context)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(
                    f"the Kubernetes API cannot listen on {HOST}:{self._port}: address in use"
                ) from error
            raise
        self._port = self._runner.addresses[0][1]
        self._aggregation.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End every watch and stop serving."""
        self._aggregation.stop()
        for watch in list(self._routes.watches):
            watch.end()
        try:
            await self._runner.cleanup()
        finally:
            await self._site.end_connections(FAREWELL_S)

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"https://{HOST}:{self._port}"

    @property
    def credentials(self) -> Credentials:
        """The tokens and certificates with which clients come in."""
        return self._credentials

    def reach_pods(self, node: str, agent: NodeAgent) -> None:
        """Ask this agent for the logs of the pods of a node, and for commands in them."""
        self._agents.by_node[node] = agent

    def write_kubeconfig(self, path: Path, user: User = ADMIN, *, certificate: bool = False) -> None:
        """Write a kubeconfig whose current context is this server, as this user; readable by its owner only.

        The proof in it is a token, or a client certificate.
        """
        proof = self._credentials.certificate(user) if certificate else self._credentials.token(user)
        write_kubeconfig(path, kubeconfig(self.url, self._credentials.server.authority, user, proof))

    async def _admit(self, request: web.Request) -> web.StreamResponse:
        try:
            attributes = attributes_of(request.method, request.path, request.query)
            if attributes.verb != "watch":
                check_timeout(request.query)
            headers = request.headers.items()
            user = admitted(self._credentials, self._authorizer, attributes, headers, _peer_subject(request))
            if attributes.resource == "pods" and attributes.subresource in _COMMANDS:
                # A WebSocket begins with a GET, which must not be a way round the right to create.
                self._authorizer.check(user, replace(attributes, verb="create"))
        except UnreadablePathError as error:
            problem = f'Internal Server Error: "{request.path_qs}": failed to create RequestInfo: {error}\n'
            return web.Response(text=problem, status=500)
        except ApiFailure as failure:
            answer = failure_answer(failure, request.headers.get("Accept", ""))
            if failure.code == web.HTTPForbidden.status_code:
                answer.headers.update(NO_SNIFFING)
            return answer
        return await self._routes.handle(request, user)


def _peer_subject(request: web.Request) -> PeerSubject | None:
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    return certificate["subject"] if certificate else None


def _make_default_access(store: ResourceStore) -> None:
    """Make those default roles and bindings that are not there."""
    for kind, obj in default_access():
        name = obj["metadata"]["name"]
        if all(present["metadata"]["name"] != name for present in store.list(kind)):
            store.create(kind, obj, writer=Writer(datetime.now(UTC), "kube-apiserver"))
