"""What a part tells the kubelet."""

import re
import socket
from collections.abc import Iterator

import pytest
from aiohttp import ClientSession

from simulator.errors import EnvironmentMissing, PortTakenError
from simulator.part_health import PartHealth, serving_health


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen(1)
        yield holder.getsockname()[1]


async def test_ready_from_the_start_of_the_work_on() -> None:
    health = PartHealth()
    async with serving_health(health, "127.0.0.1", 0) as url, ClientSession(url) as kubelet:

        async def status(path: str) -> int:
            async with kubelet.get(path) as response:
                return response.status

        assert (await status("/healthz"), await status("/readyz")) == (200, 503)
        health.started()
        assert (await status("/healthz"), await status("/readyz")) == (200, 200)
        assert await status("/else") == 404


async def test_a_taken_port_is_named(taken_port: int) -> None:
    with pytest.raises(PortTakenError, match=rf"127\.0\.0\.1:{taken_port} is in use; choose --health-port"):
        async with serving_health(PartHealth(), "127.0.0.1", taken_port):
            pass


async def test_an_address_of_another_machine() -> None:
    with pytest.raises(EnvironmentMissing, match=re.escape("192.0.2.1")):
        async with serving_health(PartHealth(), "192.0.2.1", 0):
            pass
