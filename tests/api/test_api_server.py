"""What all routes share: envelope, bodies, health, and the server itself (contract 4.1)."""

import asyncio
import gzip
from typing import TYPE_CHECKING

import aiohttp
import pytest

from simulator.api import app as app_module
from simulator.api import health
from simulator.api.app import ApiServer
from simulator.api.units import MAX_BODY_BYTES
from simulator.errors import EnvironmentMissing, KubeError, PortTakenError

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubCluster, StubFollower, StubQueue

PATHS = ["/gpu-units", "/serverless/invocations"]


@pytest.mark.parametrize("path", ["/none", "/gpu-units/", "/gpu-units/a/b"])
async def test_an_unknown_route_is_json_without_an_envelope(api: "Api", path: str) -> None:
    answer = await api.call("GET", path)
    assert (answer.status, answer.body) == (404, {"message": "Not Found"})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/health", "GET"),
        ("PATCH", "/gpu-units/tts", "DELETE,GET,PUT"),
        ("PUT", "/serverless/invocations", "GET,POST"),
        ("POST", "/serverless/invocations/call-1", "DELETE,GET"),
    ],
)
async def test_a_wrong_method_is_json_without_an_envelope(api: "Api", method: str, path: str, allowed: str) -> None:
    answer = await api.call(method, path)
    assert (answer.status, answer.body) == (405, {"message": "Method Not Allowed"})
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nope",
        b"[]",
        b"null",
        b'"x"',
        b"{} {}",
        b'{"payload":"\xff"}',
        b"\xff",
        b'{"payload":%s}' % (b"[" * 10**5),
    ],
)
async def test_a_body_that_is_not_one_json_object_is_400(api: "Api", path: str, raw: bytes) -> None:
    answer = await api.call("POST", path, raw=raw)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith("body: ")


@pytest.mark.parametrize(("path", "field"), list(zip(PATHS, ["operationID", "serverlessRequestID"], strict=True)))
@pytest.mark.parametrize("raw", [None, b"", b" \n", b"{}"])
async def test_an_empty_body_counts_as_an_empty_object(api: "Api", path: str, field: str, raw: bytes | None) -> None:
    answer = await api.call("POST", path, raw=raw)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 202),
        ("application/cloudevents+json", 202),
        ("text/plain", 400),
        ("application/x-www-form-urlencoded", 400),
    ],
)
async def test_only_json_is_read(api: "Api", queue: "StubQueue", content_type: str, status: int) -> None:
    raw = b'{"serverlessRequestID":"tts"}'
    answer = await api.call("POST", "/serverless/invocations", raw=raw, content_type=content_type)
    assert answer.status == status
    assert len(queue.publications) == (status == 202)


async def test_a_body_without_a_media_type_is_taken_for_json(api: "Api") -> None:
    async with api.session.post(
        f"{api.url}/api/v1/serverless/invocations",
        data=b'{"serverlessRequestID":"tts"}',
        skip_auto_headers=["Content-Type"],
    ) as response:
        assert response.status == 202


async def test_p7_a_body_is_never_read_without_limit(api: "Api", queue: "StubQueue") -> None:
    sent = 0

    async def endless() -> object:  # chunked: no length is announced
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    queue.limit = 4 * 65536
    try:
        async with api.session.post(
            f"{api.url}/api/v1/serverless/invocations", data=endless(), headers={"Content-Type": "application/json"}
        ) as response:
            assert response.status == 413
    except aiohttp.ClientConnectionError:
        pass  # the server may close before the answer is read
    assert sent < 64 * 1024 * 1024


async def test_p7_a_unit_body_is_bounded_too(api: "Api", cluster: "StubCluster") -> None:
    answer = await api.create(image="x" * MAX_BODY_BYTES)
    assert (answer.status, answer.code) == (413, "payload_too_large")
    assert cluster.writes == []


async def test_p7_a_compressed_body_is_bounded_by_what_it_becomes(api: "Api", queue: "StubQueue") -> None:
    queue.limit = 65536
    async with api.session.post(
        f"{api.url}/api/v1/serverless/invocations",
        data=gzip.compress(b" " * 10**7),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ) as response:
        assert response.status == 413


async def test_a_broken_content_encoding_is_400(api: "Api") -> None:
    async with api.session.post(
        f"{api.url}/api/v1/serverless/invocations",
        data=b"this is not gzip",
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ) as response:
        assert response.status == 400


async def test_p11_health_says_how_cluster_and_queue_are(api: "Api", queue: "StubQueue") -> None:
    await api.create()
    data = (await api.call("GET", "/health")).data
    assert (data["kubernetesConnected"], data["activeUnitCount"], data["queueConnected"]) == (True, 1, True)
    assert data["uptimeSeconds"] >= 0
    assert "kubeError" not in data
    queue.up = False
    assert (await api.call("GET", "/health")).data["queueConnected"] is False


async def test_health_has_all_fields_of_the_contract(api: "Api") -> None:
    assert set((await api.call("GET", "/health")).data) == {
        "startedAt",
        "uptimeSeconds",
        "kubernetesConnected",
        "nodeCount",
        "readyNodeCount",
        "stockUnitCount",
        "activeUnitCount",
        "totalGPUCapacity",
        "totalGPUAllocatable",
        "nvidiaMetricsConnected",
        "gpuDeviceCount",
        "totalGpuMemoryMiB",
        "usedGpuMemoryMiB",
        "freeGpuMemoryMiB",
        "averageGpuUtilizationPercent",
        "queueConnected",
    }


async def test_health_is_200_when_nothing_is_there(bare_api: "Api") -> None:
    answer = await bare_api.call("GET", "/health")
    assert answer.status == 200
    assert (answer.data["kubernetesConnected"], answer.data["queueConnected"]) == (False, False)
    assert "without" in answer.data["kubeError"]


async def test_health_shows_why_the_cluster_is_not_connected(api: "Api", cluster: "StubCluster") -> None:
    cluster.failure = KubeError("connection refused")
    answer = await api.call("GET", "/health")
    assert (answer.status, answer.data["kubernetesConnected"], answer.data["kubeError"]) == (
        200,
        False,
        "connection refused",
    )


async def test_health_does_not_wait_for_a_silent_cluster(
    api: "Api", cluster: "StubCluster", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_TIMEOUT_S", 0.01)
    cluster.silent = True
    answer = await api.call("GET", "/health")
    assert (answer.status, answer.data["kubernetesConnected"]) == (200, False)
    assert "did not answer" in answer.data["kubeError"]


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"\x16\x03\x01\r\n\r\n"]
)
async def test_what_is_not_http_is_400_in_plain_text_and_not_logged(
    api: "Api", sent: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.split()[1] == b"400"
    assert b"text/plain" in answer
    assert caplog.records == []
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_fault_of_the_server_itself_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise RuntimeError("a fault")
    except RuntimeError:
        app_module._server_logger().exception("Unhandled exception")
    assert [record.message for record in caplog.records] == ["Unhandled exception"]


async def test_a_port_in_use_is_said_so(api: "Api") -> None:
    port = int(api.url.rpartition(":")[2])
    with pytest.raises(PortTakenError, match=f"127.0.0.1:{port} is in use"):
        async with ApiServer(None, None, port=port):
            pytest.fail("the server started on a taken port")


async def test_an_address_of_another_machine_is_said_so() -> None:
    with pytest.raises(EnvironmentMissing, match=r"192\.0\.2\.1"):
        async with ApiServer(None, None, host="192.0.2.1"):
            pytest.fail("the server started on another machine's address")


async def test_stopping_closes_idle_connections_and_frees_the_port() -> None:
    async with ApiServer(None, None) as server:
        port = int(server.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    async with asyncio.timeout(10):
        assert (await reader.read()).endswith(b"}}")  # the rest of the answer, and then the end
    writer.close()
    async with ApiServer(None, None, port=port) as again:
        assert again.url.endswith(f":{port}")


async def test_stopping_ends_a_waiting_sync_call(
    queue: "StubQueue", follower: "StubFollower", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "SHUTDOWN_GRACE_S", 0.01)
    async with aiohttp.ClientSession() as session:
        async with ApiServer(None, queue, follower=follower) as server:
            body = {"serverlessRequestID": "tts", "mode": "sync", "timeoutSeconds": 3600}
            call = asyncio.create_task(session.post(f"{server.url}/api/v1/serverless/invocations", json=body))
            async with asyncio.timeout(10):
                await queue.published.wait()
        assert len(queue.sent) == 1  # what nobody waits for any more is taken back before the server is gone
        with pytest.raises(aiohttp.ClientConnectionError):
            await call
