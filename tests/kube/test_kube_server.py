"""The embedded API through plain HTTP: what the recorded exchanges do not show."""

import asyncio
import contextlib
import io
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from simulator.errors import PortTakenError
from simulator.kube.access.reviews import REVIEW_KINDS
from simulator.kube.access.serving import HOST
from simulator.kube.kinds import GPUUNIT, POD
from simulator.kube.requests import MAX_BODY_BYTES
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.kube.watching import WatchStream
from tests.kube.samples import NS, pod_spec, sample
from tests.kube.sessions import next_event, session_with

UNITS = f"apis/runtime.lokiwager.io/v1alpha1/namespaces/{NS}/gpuunits"
MERGE = {"Content-Type": "application/merge-patch+json"}
WAIT_S = 10


@pytest.fixture
async def session(server: KubeServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with session_with(server) as session:
        yield session


def unit(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": GPUUNIT.api_version,
        "kind": "GPUUnit",
        "metadata": {"name": name},
        "spec": {"specName": "s", **spec},
    }


async def test_a_body_may_have_three_mebibytes(session: aiohttp.ClientSession) -> None:
    json_type = {"Content-Type": "application/json"}
    too_big = io.BytesIO(json.dumps(unit("big", image="x" * MAX_BODY_BYTES)).encode())
    async with session.post(UNITS, data=too_big, headers=json_type) as response:
        status = await response.json()
    assert (response.status, status["reason"], status["code"]) == (413, "RequestEntityTooLarge", 413)
    assert status["message"] == "Request entity too large: limit is 3145728"
    fits = io.BytesIO(json.dumps(unit("fits")).encode().ljust(MAX_BODY_BYTES))
    async with session.post(UNITS, data=fits, headers=json_type) as response:
        assert response.status == 201


@pytest.mark.parametrize(
    ("path", "media_type", "problem"),
    [
        (f"api/v1/namespaces/{NS}/pods/p", "application/json", "415: Unsupported Media Type"),
        (f"api/v1/namespaces/{NS}/pods/p", "text/plain", "415: Unsupported Media Type"),
        (
            f"{UNITS}/u1",
            "application/strategic-merge-patch+json",
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        ),
    ],
)
async def test_a_patch_that_is_not_supported_says_what_is(
    session: aiohttp.ClientSession, path: str, media_type: str, problem: str
) -> None:
    async with session.patch(path, data=b"{}", headers={"Content-Type": media_type}) as response:
        status = await response.json()
    assert response.status == 415
    assert status["message"] == problem


async def test_a_dry_run_is_answered_and_not_done(session: aiohttp.ClientSession, store: ResourceStore) -> None:
    store.create(GPUUNIT, sample(GPUUNIT, "u1"), NS)
    version = store.version
    body = json.dumps(unit("u1", gpu=5)).encode()
    requests = [
        ("POST", UNITS, json.dumps(unit("u2")).encode(), {"Content-Type": "application/json"}, 201),
        ("PATCH", f"{UNITS}/u1", body, MERGE, 200),
        ("DELETE", f"{UNITS}/u1", None, {}, 200),
        ("DELETE", UNITS, None, {}, 200),
    ]
    for method, path, sent, headers, status in requests:
        async with session.request(method, f"{path}?dryRun=All", data=sent, headers=headers) as response:
            assert response.status == status
        async with session.request(method, f"{path}?dryRun=Some", data=sent, headers=headers) as response:
            refused = await response.json()
        assert (response.status, refused["details"]["causes"][0]["field"]) == (422, "dryRun")
    assert store.version == version
    assert [obj["metadata"]["name"] for obj in store.list(GPUUNIT)] == ["u1"]


async def test_a_null_in_an_object_means_not_set(session: aiohttp.ClientSession) -> None:
    sent = unit("u1", gpu=None, access={"scheme": None, "primaryPort": None}, template={"command": [None, "a"]})
    sent["metadata"] |= {"labels": {"a": None}, "finalizers": None}
    async with session.post(UNITS, json=sent) as response:
        refused = await response.json()
    assert (response.status, refused["details"]["causes"][0]["field"]) == (422, "spec.template.command[0]")
    del sent["spec"]["template"]
    async with session.post(UNITS, json=sent) as response:
        created = await response.json()
    assert created["spec"] == {"specName": "s", "access": {"scheme": "http"}}
    assert created["metadata"]["labels"] == {"a": ""}
    assert "finalizers" not in created["metadata"]


async def test_a_pod_is_deleted_gracefully(session: aiohttp.ClientSession, store: ResourceStore) -> None:
    pods = f"api/v1/namespaces/{NS}/pods"
    store.create(POD, {**sample(POD, "p"), "spec": pod_spec(nodeName="local", terminationGracePeriodSeconds=7)}, NS)
    async with session.delete(f"{pods}/p") as response:
        marked = await response.json()
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 7
    async with session.delete(f"{pods}/p", json={"kind": "DeleteOptions", "gracePeriodSeconds": 0}) as response:
        assert (await response.json())["metadata"]["deletionGracePeriodSeconds"] == 0
    async with session.get(f"{pods}/p") as response:
        assert response.status == 404


async def test_a_watch_from_a_version_misses_nothing_and_repeats_nothing(
    session: aiohttp.ClientSession, store: ResourceStore
) -> None:
    async with session.get(UNITS) as response:
        version = int((await response.json())["metadata"]["resourceVersion"])
    for number in range(5):
        store.create(GPUUNIT, sample(GPUUNIT, f"u{number}"), NS)
    async with session.get(f"{UNITS}?watch=1&resourceVersion={version + 2}") as watch:
        store.create(GPUUNIT, sample(GPUUNIT, "u5"), NS)
        assert [await next_event(watch) for _ in range(4)] == [("ADDED", f"u{number}") for number in range(2, 6)]


async def test_a_watch_ends_when_its_time_is_up(session: aiohttp.ClientSession, store: ResourceStore) -> None:
    store.create(GPUUNIT, sample(GPUUNIT, "u1"), NS)
    async with asyncio.timeout(WAIT_S), session.get(f"{UNITS}?watch=1&timeoutSeconds=1") as watch:
        lines = (await watch.content.read()).splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["ADDED"]


async def test_many_watchers_see_the_same(session: aiohttp.ClientSession, store: ResourceStore) -> None:
    async with contextlib.AsyncExitStack() as stack:
        watches = [await stack.enter_async_context(session.get(f"{UNITS}?watch=1")) for _ in range(50)]
        for number in range(20):
            store.create(GPUUNIT, sample(GPUUNIT, f"u{number:02}"), NS)
        expected = [("ADDED", f"u{number:02}") for number in range(20)]
        for watch in watches:
            assert [await next_event(watch) for _ in expected] == expected


async def test_stop_ends_open_watches_and_leaves_nothing_behind(store: ResourceStore) -> None:
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(KubeServer(store))
        session = await stack.enter_async_context(session_with(server))
        watches = [await session.get(f"{UNITS}?watch=1") for _ in range(20)]
        store.create(GPUUNIT, sample(GPUUNIT, "u1"), NS)
        async with asyncio.timeout(WAIT_S):
            await server.__aexit__(None, None, None)
            for watch in watches:
                assert await next_event(watch) == ("ADDED", "u1")
                assert await watch.content.read() == b""  # a clean end, not a broken connection
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(UNITS)


async def test_a_watch_whose_client_has_gone_is_forgotten(
    session: aiohttp.ClientSession, store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    send = WatchStream.send

    async def send_and_tell(stream: WatchStream, request: web.Request) -> web.StreamResponse:
        try:
            return await send(stream, request)
        finally:
            ended.set()

    monkeypatch.setattr(WatchStream, "send", send_and_tell)
    watch = await session.get(f"{UNITS}?watch=1")
    assert len(store.history(GPUUNIT)._listeners) == 1
    watch.close()
    async with asyncio.timeout(WAIT_S):
        await ended.wait()
    assert not store.history(GPUUNIT)._listeners


async def test_a_port_that_is_taken_is_named(store: ResourceStore) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port}"):
            async with KubeServer(store, port):
                pass


async def test_only_its_owner_may_read_the_kubeconfig(server: KubeServer, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    server.write_kubeconfig(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["clusters"][0]["cluster"]["server"] == server.url


async def test_discovery_names_every_kind(session: aiohttp.ClientSession, store: ResourceStore) -> None:
    found = set()
    async with session.get("api") as response:
        versions = [f"api/{version}" for version in (await response.json())["versions"]]
    async with session.get("apis") as response:
        groups = (await response.json())["groups"]
    for path in versions + [f"apis/{version['groupVersion']}" for group in groups for version in group["versions"]]:
        async with session.get(path) as response:
            found |= {resource["name"] for resource in (await response.json())["resources"]}
    assert {name for name in found if "/" not in name} == {kind.plural for kind in (*store.kinds, *REVIEW_KINDS)}
    assert {name for name in found if name.endswith("/status")} == {
        f"{kind.plural}/status" for kind in store.kinds if kind.has_status
    }
