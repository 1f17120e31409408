"""HTTP sessions with an embedded API, as any user."""

import asyncio
import json
import ssl
from collections.abc import Mapping

import aiohttp

from simulator.kube.access.users import ADMIN, User
from simulator.kube.server import KubeServer

WAIT_S = 10


def session_with(
    server: KubeServer, user: User | None = ADMIN, *, headers: Mapping[str, str] | None = None
) -> aiohttp.ClientSession:
    """A session whose paths are those of the API, without a leading slash; of nobody (None), or by the user's token."""
    authority = server.credentials.server.authority.decode()
    token = {"Authorization": f"Bearer {server.credentials.token(user)}"} if user else {}
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority))
    return aiohttp.ClientSession(f"{server.url}/", connector=connector, headers={**token, **(headers or {})})


async def next_event(watch: aiohttp.ClientResponse) -> tuple[str, str]:
    """Type of the next event of a watch, and the name of its object."""
    async with asyncio.timeout(WAIT_S):
        event = json.loads(await watch.content.readline())
    return event["type"], event["object"]["metadata"].get("name", "")
