"""HTTP sessions with an embedded API, as any user."""

import ssl
from collections.abc import Mapping

import aiohttp

from simulator.kube.access.users import ADMIN, User
from simulator.kube.server import KubeServer


def session_with(
    server: KubeServer, user: User | None = ADMIN, *, headers: Mapping[str, str] | None = None
) -> aiohttp.ClientSession:
    """A session whose paths are those of the API, without a leading slash; of nobody (None), or by the user's token."""
    authority = server.credentials.server.authority.decode()
    token = {"Authorization": f"Bearer {server.credentials.token(user)}"} if user else {}
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=authority))
    return aiohttp.ClientSession(f"{server.url}/", connector=connector, headers={**token, **(headers or {})})
