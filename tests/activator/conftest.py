"""Fixtures of the activator's tests."""

from collections.abc import AsyncIterator

import pytest

from sidecar.queue import Queue
from simulator.jetstream.bucket import ACTIVATOR, BucketSettings, ensure_bucket
from simulator.nats_server import NatsServer
from tests.activator.reaper_rig import Rig


@pytest.fixture
async def rig(nats_server: NatsServer) -> AsyncIterator[Rig]:
    async with Queue.connect(nats_server.url, client_name="leader") as queue:
        await queue.ensure_stream()
        await ensure_bucket(queue, BucketSettings(ACTIVATOR))
        async with Rig(queue).running() as rig:
            yield rig
