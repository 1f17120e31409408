"""The health endpoints: any method, exact paths, bounded requests."""

import asyncio
import socket

import pytest

from sidecar import health
from sidecar.health import HealthServerError, Readiness, health_response, serving_health

NOT_READY = b'{"nats":true,"consumer":true,"framework":false,"registered":true}'


async def exchange(port: int, request: bytes) -> bytes:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.mark.parametrize("missing", ["nats", "consumer", "framework", "registered"])
def test_ready_needs_everything(missing: str) -> None:
    everything = dict.fromkeys(["nats", "consumer", "framework", "registered"], True)
    assert health_response("/readyz", Readiness(**everything))[0] == 200
    status, _, body = health_response("/readyz", Readiness(**everything | {missing: False}))
    assert status == 503
    assert f'"{missing}":false'.encode() in body


@pytest.mark.parametrize(
    ("target", "status"), [("/healthz", 200), ("/healthz?x=1", 200), ("/", 404), ("/healthz/", 404), ("/metrics", 404)]
)
def test_paths_are_exact(target: str, status: int) -> None:
    assert health_response(target, Readiness())[0] == status


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"])
async def test_alive_whatever_the_method(method: bytes) -> None:
    async with serving_health("127.0.0.1", 0, Readiness) as port:
        answer = await exchange(port, method + b" /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"ok"


async def test_head_has_no_body() -> None:
    async with serving_health("127.0.0.1", 0, Readiness) as port:
        answer = await exchange(port, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"Content-Length: 2\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_readiness_is_asked_anew_each_time() -> None:
    readiness = Readiness(nats=True, consumer=True, registered=True)
    async with serving_health("127.0.0.1", 0, lambda: readiness) as port:
        answer = await exchange(port, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(NOT_READY)
        readiness.framework = True
        assert (await exchange(port, b"GET /readyz HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"garbage\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /healthz HTTP/1.1\r\nX-A: " + b"a" * 20_000, b""),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b""),
    ],
)
async def test_bad_endless_and_silent_requests_end(
    monkeypatch: pytest.MonkeyPatch, request_bytes: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(health, "REQUEST_TIMEOUT_S", 0.05)
    async with serving_health("127.0.0.1", 0, Readiness) as port:
        try:
            found = await exchange(port, request_bytes)
        except ConnectionResetError:
            found = b""
        assert found[: len(answer)] == answer
        assert bool(found) == bool(answer)


async def test_a_taken_port_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(HealthServerError, match=str(port)):
            async with serving_health("127.0.0.1", port, Readiness):
                pass
