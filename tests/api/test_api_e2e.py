"""The API over the embedded Kubernetes API and a real nats-server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.messages import InvocationMessage, InvocationResultMessage, decode, encode, utc_now
from sidecar.queue import Queue
from simulator.api.app import ApiServer
from simulator.api.calls import ENVELOPE_RESERVE_BYTES
from simulator.kube.client import Cluster
from simulator.kube.kinds import GPUUNIT
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes

pytestmark = pytest.mark.e2e

UNIT = {"operationID": "op-1", "name": "tts", "specName": "s1", "image": "tts:1", "serverless": {"requestID": "tts"}}


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with (
        Processes() as processes,
        NatsServer(processes, tmp_path / "nats") as nats,
        Queue.connect(nats.url, client_name="test") as queue,
    ):
        await queue.ensure_stream()
        yield queue


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        async with Cluster(tmp_path / "kubeconfig", field_manager="test") as cluster:
            yield cluster


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(session: aiohttp.ClientSession, url: str, path: str, body: object) -> tuple[int, Any]:
    async with session.post(f"{url}/api/v1{path}", json=body) as response:
        return response.status, await response.json()


async def test_p9_two_api_processes_create_a_unit_once(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(ApiServer(cluster, None)) for _ in range(2)]
        answers = await asyncio.gather(*(post(session, server.url, "/gpu-units", UNIT) for server in servers * 5))
        assert sorted(status for status, _ in answers) == [200] * 9 + [201]
        async with session.delete(f"{servers[0].url}/api/v1/gpu-units/tts") as response:
            assert response.status == 204
        assert (await post(session, servers[1].url, "/gpu-units", UNIT))[0] == 201


@pytest.mark.parametrize(("names", "statuses"), [(("tts", "stt"), [201, 409]), (("tts", "tts"), [200, 201])])
async def test_p9_of_two_creates_that_saw_nothing_of_each_other_one_stays(
    cluster: Cluster,
    session: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, str],
    statuses: list[int],
) -> None:
    """Two API processes look for the operation ID at the same time, and only then create."""
    both_looked = asyncio.Barrier(2)
    listed = cluster.list_with_version

    async def list_together(*args: Any) -> Any:
        found = await listed(*args)
        if not found[0]:
            await both_looked.wait()
        return found

    monkeypatch.setattr(cluster, "list_with_version", list_together)
    async with AsyncExitStack() as stack, asyncio.timeout(30):
        servers = [await stack.enter_async_context(ApiServer(cluster, None)) for _ in names]
        creates = [
            post(session, server.url, "/gpu-units", {**UNIT, "name": name})
            for server, name in zip(servers, names, strict=True)
        ]
        answers = await asyncio.gather(*creates)
        left = [unit["metadata"]["name"] for unit in (await listed(GPUUNIT))[0]]
    assert sorted(status for status, _ in answers) == statuses
    assert [left] == [[answer["data"]["name"]] for status, answer in answers if status == 201]


async def test_put_changes_only_the_spec(cluster: Cluster, session: aiohttp.ClientSession) -> None:
    async with ApiServer(cluster, None) as server:
        await post(session, server.url, "/gpu-units", UNIT)
        async with session.put(f"{server.url}/api/v1/gpu-units/tts", json={"image": "tts:2"}) as response:
            assert (await response.json())["data"]["image"] == "tts:2"
        assert (await post(session, server.url, "/gpu-units", UNIT))[1]["data"]["image"] == "tts:2"


async def test_a_sync_call_gets_the_reply_to_its_own_message(queue: Queue, session: aiohttp.ClientSession) -> None:
    async def echo() -> None:
        async with queue.listen(queue.subjects.invoke("tts")) as inbox:
            listening.set()
            for _ in range(2):
                call = decode(await inbox.receive(10), InvocationMessage)
                result = InvocationResultMessage(
                    invocation_id=call.invocation_id,
                    serverless_request_id=call.serverless_request_id,
                    mode=call.mode,
                    body=call.payload,
                    completed_at=utc_now(),
                )
                await queue.send(call.reply_subject, encode(result))

    listening = asyncio.Event()
    async with ApiServer(None, queue) as server, asyncio.TaskGroup() as tasks:
        tasks.create_task(echo())
        await listening.wait()
        bodies = [{"serverlessRequestID": "tts", "mode": "sync", "invocationID": i, "payload": i} for i in ("a", "b")]
        answers = await asyncio.gather(*(post(session, server.url, "/serverless/invocations", body) for body in bodies))
    assert [(status, answer["data"]["body"]) for status, answer in answers] == [(200, "a"), (200, "b")]


async def test_p2_p3_the_stream_recognises_a_duplicate(queue: Queue, session: aiohttp.ClientSession) -> None:
    body = {"serverlessRequestID": "tts", "invocationID": "call-1"}
    async with ApiServer(None, queue) as server:
        answers = [
            await post(session, server.url, "/serverless/invocations", {**body, **changes})
            for changes in ({}, {}, {"mode": "sync"}, {"serverlessRequestID": "stt"})
        ]
    assert [status for status, _ in answers] == [202, 200, 409, 409]
    assert answers[1][1]["data"]["sequence"] == answers[0][1]["data"]["sequence"]
    assert "another pool" in answers[3][1]["error"]["message"]


async def test_p7_the_server_takes_the_largest_message_that_the_api_accepts(
    queue: Queue, session: aiohttp.ClientSession
) -> None:
    body = {"serverlessRequestID": "tts", "invocationID": "x" * 64}
    # The envelope takes some 330 bytes: with 100 to spare it fits, with 100 less than nothing it does not.
    room = queue.max_payload - ENVELOPE_RESERVE_BYTES
    async with ApiServer(None, queue) as server:
        url = f"{server.url}/api/v1/serverless/invocations"
        statuses = []
        for size in (room - 430, room):
            async with session.post(url, json={**body, "payload": "x" * size}) as response:
                statuses.append(response.status)
    assert statuses == [202, 413]
