"""Connecting to the queue and closing it, cancelled in every turn: no socket stays open."""

from collections.abc import Callable

from sidecar.queue_connection import Access, close, connected_client
from tests.left_open import left_open_by_turn
from tests.nats_stub import NatsStub


def test_queue_whose_connecting_is_cancelled() -> None:
    async def scenario(begin: Callable[[], None]) -> None:
        stub = NatsStub()
        async with stub.serving():
            begin()
            client = await connected_client(stub.url, "test", None, Access(), lambda: None)
            await close(client)

    assert left_open_by_turn(scenario) == {}


def test_queue_whose_last_flush_is_cancelled() -> None:
    async def scenario(begin: Callable[[], None]) -> None:
        stub = NatsStub()
        async with stub.serving():
            client = await connected_client(stub.url, "test", None, Access(), lambda: None)
            begin()
            await close(client)

    assert left_open_by_turn(scenario) == {}
