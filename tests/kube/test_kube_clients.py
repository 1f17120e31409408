"""Unmodified client libraries against the embedded API, by the kubeconfig that it writes."""

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.kinds import CONFIG_MAP, GPUUNIT, Kind, Object
from tests.kube.client_libraries import opened

pytestmark = pytest.mark.e2e

TIMEOUT_S = 30
CONTENT: dict[Kind, tuple[Object, Object]] = {
    CONFIG_MAP: ({"data": {"a": "1"}}, {"data": {"a": "2"}}),
    GPUUNIT: ({"spec": {"specName": "s1", "gpu": 1}}, {"spec": {"gpu": 2}}),
}
"""What an object holds at first, and what is patched."""


@pytest.fixture(autouse=True)
def _broken_off() -> Iterator[None]:
    """Some of these clients end TLS connections without a word; asyncio waits half a minute, the tests do not."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def named(kind: Kind, name: str) -> Object:
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, **CONTENT[kind][0]}


async def code_of(client: Any, call: Awaitable[Any]) -> int:
    with pytest.raises(client.failure) as caught:
        await call
    code: int = client.code(caught.value)
    return code


async def events(client: Any, version: str, last: tuple[str, str]) -> list[tuple[str, str]]:
    """The events up to the last one that is awaited."""
    seen = []
    async with contextlib.aclosing(client.watch(version)) as watch:
        async for event in watch:
            seen.append(event)
            if event == last:
                break
    return seen


@pytest.mark.filterwarnings("ignore:Kubernetes version .* is not supported")  # kr8s follows some months later
@pytest.mark.parametrize("kind", CONTENT, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("library", ["lightkube", "kr8s", "kubernetes_asyncio", "kubernetes"])
async def test_create_list_watch_patch_conflict(library: str, kind: Kind, kubeconfig: Path) -> None:
    async with asyncio.timeout(TIMEOUT_S), opened(library, kubeconfig, kind) as client:
        first = await client.create(named(kind, "a"))
        watched = asyncio.create_task(events(client, first["metadata"]["resourceVersion"], ("DELETED", "a")))
        await client.create(named(kind, "b"))
        assert await code_of(client, client.create(named(kind, "b"))) == 409
        assert {"a", "b"} <= set(await client.names())

        patch = CONTENT[kind][1]
        patched = await client.patch("a", patch)
        [(part, values)] = patch.items()
        assert patched[part] | values == patched[part]
        stale = {**first, **patch}
        assert await code_of(client, client.replace(stale)) == 409
        assert (await client.replace(patched))["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]

        await client.delete("a")
        assert await watched == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "a")]
        assert "a" not in await client.names()
