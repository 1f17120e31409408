"""The requests that the API server hands on to a pod's node: `log`, `exec`, `attach` and `portforward`."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final, Protocol

from aiohttp import web

from simulator.kube import exec_channels, exec_streams
from simulator.kube.exec_channels import SUCCESS, ExecChannels, exit_status
from simulator.kube.kinds import POD, Object
from simulator.kube.paths import ResourcePath
from simulator.kube.pod_options import asked_ports, attach_options, exec_options, log_options
from simulator.kube.pod_streams import (
    ExecClient,
    ExecOptions,
    NodeAgent,
    NodeAgents,
    PodPorts,
    StreamOptions,
    chosen_container,
)
from simulator.kube.port_forwarding import (
    CHANNEL_PROTOCOL,
    MAX_PORTS,
    SPDY_PROTOCOL,
    TUNNEL_PROTOCOL,
    ChannelForwarding,
    SpdyForwarding,
)
from simulator.kube.spdy.carriers import WebSocketCarrier
from simulator.kube.spdy.connection import SpdyConnection
from simulator.kube.status import ApiFailure, bad_request
from simulator.kube.store import ResourceStore
from simulator.kube.upgrades import asked_protocols, open_socket, open_spdy, wants_spdy

STREAMED: Final = ("attach", "exec", "log", "portforward")
"""The subresources that are answered here."""


class _Client(ExecClient, Protocol):
    async def end(self, status: Object) -> None: ...


class PodRoutes:
    """Logs, commands, streams and ports of the pods in one store."""

    def __init__(self, store: ResourceStore, agents: NodeAgents) -> None:
        self._store = store
        self._agents = agents

    async def handle(self, request: web.Request, path: ResourcePath) -> web.StreamResponse:
        """Answer a request, with a GET or POST.

        Raises:
            ApiFailure: 404 there is no such pod, and all that is refused before the answer begins.
        """
        pod = self._store.get(POD, path.name or "", path.namespace)
        match path.subresource:
            case "log":
                return await self._log(request, pod)
            case "portforward":
                return await self._port_forward(request, pod)
            case "attach":
                return await self._command(request, pod, attach_options(request.query))
        return await self._command(request, pod, exec_options(request.query))

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

    async def _command(self, request: web.Request, pod: Object, options: StreamOptions) -> web.StreamResponse:
        """`exec`, if the options have a command, and `attach`."""
        metadata = pod["metadata"]
        container = chosen_container(pod, request.query.get("container", ""))
        agent = self._agent(pod)
        response: web.StreamResponse = web.Response()
        with contextlib.suppress(ConnectionError):
            async with _command_client(request, options) as (response, client):
                place = (metadata["namespace"], metadata["name"], container)
                try:
                    status = await _ended(agent, place, options, client)
                except ApiFailure as failure:
                    status = failure.body
                if status is not None:
                    await client.end(status)
        return response

    async def _port_forward(self, request: web.Request, pod: Object) -> web.StreamResponse:
        metadata, agent = pod["metadata"], self._agent(pod)
        by_spdy, numbers = wants_spdy(request), asked_ports(request.query)
        by_tunnel = not by_spdy and TUNNEL_PROTOCOL in asked_protocols(request)
        if not (by_spdy or by_tunnel or 0 < len(numbers) <= MAX_PORTS):
            raise bad_request(f'query parameter "ports" is required, for at most {MAX_PORTS} ports')
        ports = agent.ports(metadata["namespace"], metadata["name"])
        if ports is None:
            # Not a Status: this is what a kubelet answers, and kubectl shows it.
            return web.Response(status=500, text=f'pod not found ("{metadata["name"]}_{metadata["namespace"]}")')
        response: web.StreamResponse = web.Response()
        with contextlib.suppress(ConnectionError):
            if by_spdy:
                async with open_spdy(request, SPDY_PROTOCOL) as (response, carrier):
                    await SpdyForwarding(ports).run(SpdyConnection(carrier))
                return response
            response = socket = await open_socket(request, (TUNNEL_PROTOCOL, CHANNEL_PROTOCOL), may_name_none=True)
            await _forward_by_socket(socket, ports, numbers)
        return response

    def _agent(self, pod: Object) -> NodeAgent:
        if not (node := pod["spec"].get("nodeName")):
            raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        return self._agents.of(node)


async def _forward_by_socket(socket: web.WebSocketResponse, ports: PodPorts, numbers: list[int]) -> None:
    if socket.ws_protocol == TUNNEL_PROTOCOL:
        await SpdyForwarding(ports).run(SpdyConnection(WebSocketCarrier(socket)))
        await socket.close()
    else:
        await ChannelForwarding(ports, numbers, socket).run()


async def _ended(
    agent: NodeAgent, place: tuple[str, str, str], options: StreamOptions, client: ExecClient
) -> Object | None:
    """Run the command or attach the client, and return how that ended; None if the client went."""
    if isinstance(options, ExecOptions):
        code = await agent.execute(*place, options, client)
        return None if code is None else exit_status(code)
    return SUCCESS if await agent.attach(*place, options, client) else None


@contextlib.asynccontextmanager
async def _command_client(
    request: web.Request, options: StreamOptions
) -> AsyncIterator[tuple[web.StreamResponse, _Client]]:
    """The client's end of a command's streams, in the form that it asks for."""
    if not wants_spdy(request):
        socket = await open_socket(request, exec_channels.PROTOCOLS)
        yield socket, ExecChannels(socket)
        return
    async with (
        open_spdy(request, exec_streams.PROTOCOL) as (response, carrier),
        exec_streams.exec_streams(SpdyConnection(carrier), options) as streams,
    ):
        yield response, streams
