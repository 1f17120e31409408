"""The health endpoints: any method, exact paths, bounded requests (S1, S3, S30)."""

import asyncio
import socket
import threading
from dataclasses import dataclass, field

import pytest

from sidecar import health
from sidecar.health import HealthServerError, Readiness, health_response, serving_health

NOT_READY = b'{"nats":true,"consumer":true,"framework":false,"registered":true}'


@dataclass
class Source:
    """Answers as it is told; `scrape` lets a scrape go on."""

    living: bool = True
    state: Readiness = field(default_factory=Readiness)
    scrape: threading.Event = field(default_factory=threading.Event)
    scraped: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None
    asked_to_drain: asyncio.Event = field(default_factory=asyncio.Event)
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    in_time: bool = True

    def alive(self) -> bool:
        return self.living

    def readiness(self) -> Readiness:
        return self.state

    async def drained(self) -> bool:
        self.asked_to_drain.set()
        await self.idle.wait()
        return self.in_time

    def metrics(self) -> tuple[str, bytes]:
        self.scraped.set()
        assert self.scrape.wait(10)
        if self.error is not None:
            raise self.error
        return "text/plain; version=1", b"a_total 1\n"


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
    assert health_response("/readyz", Source(state=Readiness(**everything)))[0] == 200
    status, _, body = health_response("/readyz", Source(state=Readiness(**everything | {missing: False})))
    assert status == 503
    assert f'"{missing}":false'.encode() in body


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/", 404), ("/healthz/", 404), ("/METRICS", 404)])
def test_paths_are_exact(path: str, status: int) -> None:
    assert health_response(path, Source())[0] == status


def test_a_loop_that_does_not_move_is_not_alive() -> None:
    """S3: liveness is the sidecar's own, whatever its surroundings are."""
    status, _, body = health_response("/healthz", Source(living=False))
    assert status == 503
    assert b"does not move" in body
    assert health_response("/healthz", Source(state=Readiness()))[0] == 200


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS"])
async def test_alive_whatever_the_method(method: bytes) -> None:
    async with serving_health("127.0.0.1", 0, Source()) as port:
        answer = await exchange(port, method + b" /healthz?verbose=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"ok"


async def test_head_has_no_body() -> None:
    async with serving_health("127.0.0.1", 0, Source()) as port:
        answer = await exchange(port, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"Content-Length: 2\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_readiness_is_asked_anew_each_time() -> None:
    readiness = Readiness(nats=True, consumer=True, registered=True)
    async with serving_health("127.0.0.1", 0, Source(state=readiness)) as port:
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
    async with serving_health("127.0.0.1", 0, Source()) as port:
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
            async with serving_health("127.0.0.1", port, Source()):
                pass


async def test_a_scrape_is_made_in_a_thread_and_the_loop_answers_meanwhile() -> None:
    """S30: the first scrape imports what is dear to import."""
    source = Source()
    async with serving_health("127.0.0.1", 0, source) as port:
        scrape = asyncio.create_task(exchange(port, b"GET /metrics?x HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert await asyncio.to_thread(source.scraped.wait, 10)
        alive = await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert alive.endswith(b"ok")
        source.scrape.set()
        head, _, body = (await scrape).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=1\r\n")
    assert body == b"a_total 1\n"


async def test_a_scrape_that_fails_says_so_and_ends_nothing() -> None:
    source = Source(error=RuntimeError("nats://user:hunter2@h"))
    source.scrape.set()
    async with serving_health("127.0.0.1", 0, source) as port:
        answer = await exchange(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"RuntimeError" in answer
        assert b"hunter2" not in answer
        assert (await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"ok")


async def test_a_second_request_on_a_connection_is_not_answered() -> None:
    async with serving_health("127.0.0.1", 0, Source()) as port:
        answer = await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_the_end_cuts_a_scrape() -> None:
    source = Source()
    async with serving_health("127.0.0.1", 0, source) as port:
        scrape = asyncio.create_task(exchange(port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert await asyncio.to_thread(source.scraped.wait, 10)
    try:
        assert await scrape == b""
    except ConnectionResetError:
        pass
    finally:
        source.scrape.set()


async def test_too_many_connections_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MAX_CONNECTIONS", 1)
    async with serving_health("127.0.0.1", 0, Source()) as port:
        _, held = await asyncio.open_connection("127.0.0.1", port)
        try:
            answer = await exchange(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        except ConnectionResetError:
            answer = b""
        finally:
            held.close()
            await held.wait_closed()
    assert answer == b""


@pytest.mark.parametrize(("in_time", "status", "body"), [(True, 200, b"drained"), (False, 503, b"calls still run")])
async def test_s14_a_drain_is_answered_when_it_has_ended(
    in_time: bool, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes: the limit for requests is not one for the calls that run."""
    monkeypatch.setattr(health, "REQUEST_TIMEOUT_S", 0.05)
    source = Source(in_time=in_time)
    async with serving_health("127.0.0.1", 0, source) as port:
        asking = asyncio.create_task(exchange(port, b"GET /drain HTTP/1.1\r\nHost: x\r\n\r\n"))
        await source.asked_to_drain.wait()
        await asyncio.sleep(0.2)
        assert not asking.done()
        source.idle.set()
        answer = await asking
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert body in answer
