"""The requests that the API server hands on to a pod's node: `log` and `exec`; and the clear refusal of the others."""

import contextlib
import time
from typing import Final

from aiohttp import hdrs, web

from simulator.kube.exec_channels import PROTOCOLS, ExecChannels, exit_status
from simulator.kube.kinds import POD, Object
from simulator.kube.paths import ResourcePath
from simulator.kube.pod_options import exec_options, log_options
from simulator.kube.pod_streams import NodeAgents, chosen_container
from simulator.kube.status import ApiFailure, bad_request
from simulator.kube.store import ResourceStore

STREAMED: Final = ("attach", "exec", "log", "portforward")
"""The subresources that are answered here."""
_NOT_HERE: Final = {
    "attach": "attach is not served here; kubectl logs -f shows the output, kubectl exec runs another program",
    "portforward": "port-forward is not served here, nor needed: pods share this machine's network, "
    "so connect to the port on 127.0.0.1 (kubectl describe pod and the pod's log name it)",
}
_NO_SPDY: Final = "only WebSocket is served here, not SPDY: use kubectl 1.31 or later, without a proxy on the way"


class PodRoutes:
    """Logs and commands of the pods in one store."""

    def __init__(self, store: ResourceStore, agents: NodeAgents) -> None:
        self._store = store
        self._agents = agents

    async def handle(self, request: web.Request, path: ResourcePath) -> web.StreamResponse:
        """Answer a request, with a GET or POST.

        Raises:
            ApiFailure: 404 there is no such pod, and all that is refused before the answer begins.
        """
        pod = self._store.get(POD, path.name or "", path.namespace)
        if path.subresource == "log":
            return await self._log(request, pod)
        if refusal := _NOT_HERE.get(path.subresource or ""):
            raise not_implemented(refusal)
        return await self._exec(request, pod)

    async def _log(self, request: web.Request, pod: Object) -> web.StreamResponse:
        name = pod["metadata"]["name"]
        options = log_options(request.query, name, time.time_ns())
        container = chosen_container(pod, request.query.get("container", ""))
        node = pod["spec"].get("nodeName")
        if not node:
            return web.Response(status=204)  # as the real server: there is nothing yet
        agent = self._agents.of(node)
        async with agent.log(pod["metadata"]["namespace"], name, container, options) as chunks:
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            response.enable_chunked_encoding()
            with contextlib.suppress(ConnectionError):
                await response.prepare(request)
                async for chunk in chunks:
                    await response.write(chunk)
        return response

    async def _exec(self, request: web.Request, pod: Object) -> web.StreamResponse:
        options = exec_options(request.query)
        name = pod["metadata"]["name"]
        container = chosen_container(pod, request.query.get("container", ""))
        if not (node := pod["spec"].get("nodeName")):
            raise bad_request(f"pod {name} does not have a host assigned")
        agent = self._agents.of(node)
        socket = _socket(request)
        await socket.prepare(request)
        client = ExecChannels(socket)
        with contextlib.suppress(ConnectionError):
            try:
                code = await agent.execute(pod["metadata"]["namespace"], name, container, options, client)
            except ApiFailure as failure:
                await client.end(failure.body)
            else:
                if code is not None:
                    await client.end(exit_status(code))
        return socket


def not_implemented(message: str) -> ApiFailure:
    """The real server can do it, this one cannot (501)."""
    return ApiFailure(501, message, "NotImplemented")


def _socket(request: web.Request) -> web.WebSocketResponse:
    """The WebSocket that the client asks for.

    Raises:
        ApiFailure: it asks for something else.
    """
    upgrade = request.headers.get(hdrs.UPGRADE, "").lower()
    if upgrade.startswith("spdy/"):
        raise not_implemented(_NO_SPDY)
    if upgrade != "websocket" or request.method != "GET":
        raise bad_request("Upgrade request required")
    asked = [name.strip() for name in request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",")]
    if not set(asked) & set(PROTOCOLS):
        raise bad_request(f"unable to negotiate protocol: client supports {asked}, server accepts {list(PROTOCOLS)}")
    return web.WebSocketResponse(protocols=PROTOCOLS, compress=False)
