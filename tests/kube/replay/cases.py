"""The recorded cases, and one run over any of them."""

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from unittest import mock

import aiohttp
import yaml

from simulator.kube import patches, routes, scale_route, subresources
from simulator.kube.access.users import ADMIN
from simulator.kube.crds import with_crd_defaults
from simulator.kube.kinds import NAMESPACE
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.kube.replay.player import Exchange, Outcome, Player, scratch

GOLDEN = Path(__file__).parent.parent / "golden"
WAIT_S = 20


def recorded_cases(folder: Path = GOLDEN) -> Iterator[list[Exchange]]:
    """The exchanges of each case, in the order played."""
    for file in sorted(folder.glob("*.jsonl")):
        exchanges = [json.loads(line) for line in file.read_text().splitlines()]
        for _, lines in itertools.groupby(exchanges, key=lambda exchange: exchange["case"]):
            yield list(lines)


async def play(exchanges: list[Exchange]) -> list[Outcome]:
    """Play one case against a fresh server, and say of each compared exchange how it differed.

    All writes are of one moment: the recorded ones came quickly, and one of the next second can be another change.
    """
    store = ResourceStore(definitions=[with_crd_defaults(yaml.safe_load((GOLDEN / "gpuunit-crd.yaml").read_text()))])
    store.create(NAMESPACE, {"metadata": {"name": scratch(exchanges[0])}})
    async with _sessions(store) as sessions, asyncio.timeout(WAIT_S):
        with _one_moment():
            return await _play(exchanges, sessions)


async def _play(exchanges: list[Exchange], sessions: dict[str, aiohttp.ClientSession]) -> list[Outcome]:
    player = Player(sessions)
    for exchange in exchanges:
        await player.play(exchange)
    await player.finish()
    return player.outcomes


@contextmanager
def _one_moment() -> Iterator[None]:
    moment = datetime.now(UTC)

    class StoppedClock(datetime):
        @classmethod
        def now(cls, _zone: tzinfo | None = None) -> datetime:  # type: ignore[override] # the clock stands still
            return moment

    with ExitStack() as stack:
        for module in (patches, routes, scale_route, subresources):
            stack.enter_context(mock.patch.object(module, "datetime", StoppedClock))
        yield


@asynccontextmanager
async def _sessions(store: ResourceStore) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    async with KubeServer(store) as server, AsyncExitStack() as stack:
        trusted = ssl.create_default_context(cadata=server.credentials.server.authority.decode())

        async def session(token: str) -> aiohttp.ClientSession:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            made: Any = aiohttp.ClientSession(
                f"{server.url}/", headers=headers, connector=aiohttp.TCPConnector(ssl=trusted)
            )
            return await stack.enter_async_context(made)

        yield {
            "": await session(server.credentials.token(ADMIN)),
            "none": await session(""),
            "bad token": await session("bad"),
        }
