"""How a request for streams is upgraded: to a WebSocket, or to SPDY, in one of the protocols that both sides know."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import hdrs, web

from simulator.kube.spdy.carriers import Carrier, upgraded
from simulator.kube.status import ApiFailure, bad_request

_VERSION: Final = "X-Stream-Protocol-Version"


def wants_spdy(request: web.Request) -> bool:
    """Whether the upgrade that the request asks for is SPDY, and not a WebSocket.

    Raises:
        ApiFailure: 400 it asks for neither.
    """
    upgrade = request.headers.get(hdrs.UPGRADE, "").lower()
    if upgrade.startswith("spdy/3.1"):
        return True
    if upgrade != "websocket" or request.method != "GET":
        raise bad_request("Upgrade request required")
    return False


def asked_protocols(request: web.Request) -> list[str]:
    """The protocols within a WebSocket that the client knows, the best first."""
    return _names(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()))


async def open_socket(
    request: web.Request, protocols: Sequence[str], *, may_name_none: bool = False
) -> web.WebSocketResponse:
    """The WebSocket that the client asks for.

    Raises:
        ApiFailure: 400 it knows none of the protocols.
    """
    asked = asked_protocols(request)
    if not (set(asked) & set(protocols) or (may_name_none and not asked)):
        raise bad_request(f"unable to negotiate protocol: client supports {asked}, server accepts {list(protocols)}")
    socket = web.WebSocketResponse(protocols=protocols, compress=False)
    await socket.prepare(request)
    return socket


@asynccontextmanager
async def open_spdy(request: web.Request, protocol: str) -> AsyncIterator[tuple[web.StreamResponse, Carrier]]:
    """The client's connection, upgraded to SPDY.

    Raises:
        ApiFailure: 403 it does not know the protocol.
        ConnectionError: it is gone.
    """
    asked = _names(request.headers.getall(_VERSION, ()))
    if protocol not in asked:
        problem = f"unable to negotiate protocol: client supports {asked}, server accepts {[protocol]}"
        raise ApiFailure(403, f"unable to upgrade: {problem}", "Forbidden")
    async with upgraded(request, {hdrs.UPGRADE: "SPDY/3.1", _VERSION: protocol}) as taken:
        yield taken


def _names(values: Sequence[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
