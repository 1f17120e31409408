"""Whatever is cancelled, and whenever: no socket stays open."""

import asyncio
from collections.abc import Callable

from sidecar.health import Readiness, serving_health
from sidecar.nats_client import LeanClient
from tests.left_open import left_open, left_open_by_turn
from tests.nats_stub import NatsStub

WAIT_S = 10


class Source:
    def alive(self) -> bool:
        return True

    def readiness(self) -> Readiness:
        return Readiness()

    async def drained(self) -> bool:
        return True

    def metrics(self) -> tuple[str, bytes]:
        return "text/plain", b""


def test_health_server_that_ends_while_somebody_connects() -> None:
    async def scenario(begin: Callable[[], None]) -> None:
        async with serving_health("127.0.0.1", 0, Source()) as port:
            begin()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET /drain HTTP/1.1\r\n\r\n")
                await reader.read()
            finally:
                writer.close()

    assert left_open_by_turn(scenario) == {}


def test_nats_client_whose_close_is_cancelled() -> None:
    async def scenario(begin: Callable[[], None]) -> None:
        stub, client = NatsStub(), LeanClient()
        async with stub.serving():
            await client.connect(stub.url)
            begin()
            await client.close()

    assert left_open_by_turn(scenario) == {}


def test_nats_client_whose_close_is_cancelled_while_it_reconnects() -> None:
    async def scenario(begin: Callable[[], None]) -> None:
        stub, client = NatsStub(), LeanClient()
        async with stub.serving():
            await client.connect(stub.url, reconnect_time_wait=0, error_cb=ignore)
            stub.silent = True
            stub.asked.clear()
            stub.cut()
            async with asyncio.timeout(WAIT_S):
                await stub.asked.wait()
            begin()
            await client.close()

    assert left_open_by_turn(scenario) == {}


def test_nats_client_whose_attempts_to_reconnect_fail_halfway() -> None:
    async def scenario() -> None:
        stub, client, restored = NatsStub(), LeanClient(), asyncio.Event()

        async def note_return() -> None:
            restored.set()

        async with stub.serving():
            await client.connect(
                stub.url, reconnect_time_wait=0, max_reconnect_attempts=-1, reconnected_cb=note_return, error_cb=ignore
            )
            stub.refusals = 3
            stub.cut()
            async with asyncio.timeout(WAIT_S):
                await restored.wait()
            assert stub.refusals == 0
            await client.close()

    assert left_open(scenario()) == []


async def ignore(error: Exception) -> None:
    """The default error callback logs a traceback."""
