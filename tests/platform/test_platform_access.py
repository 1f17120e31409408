"""S22, S23 on a running platform: closed to strangers unless it was asked to be open."""

import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from simulator.api_client import ApiClient
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.identities.secret import secret_name
from simulator.kube.kinds import SECRET
from simulator.platform import Platform, PlatformOptions, run_platform
from simulator.units import echo_unit
from simulator.waiting import wait_until_ready

pytestmark = pytest.mark.e2e

STREAM = "RUNTIME_SERVERLESS"
CALL = {"serverlessRequestID": "pool", "mode": "sync", "payload": 1}


@asynccontextmanager
async def connected(platform: Platform, **options: object) -> AsyncIterator[Client]:
    client = Client()
    try:
        await client.connect(platform.nats_url, allow_reconnect=False, **options)  # type: ignore[arg-type]
        yield client
    finally:
        await client.close()


async def call_once(platform: Platform) -> int:
    """Create a unit, call it, and return the status code."""
    async with ApiClient(platform.api_url) as api:
        request = echo_unit("pool")
        await api.create_unit(request)
        await wait_until_ready(platform.units, request["name"])
        return int((await api.invoke(CALL))["statusCode"])


async def test_a_platform_is_closed_to_strangers_and_works() -> None:
    async with run_platform() as platform:
        assert await call_once(platform) == 200
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
            async with connected(platform):
                pass
        for path in (platform.admin_credentials, platform.reader_credentials):
            assert path is not None
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with connected(platform, user_credentials=str(platform.admin_credentials)) as client:
            assert (await client.jetstream().stream_info(STREAM)).state.messages > 0
        reader = {"user_credentials": str(platform.reader_credentials), "inbox_prefix": "_PLATFORM_INBOX.reader"}
        async with connected(platform, **reader) as client:
            assert (await client.jetstream().stream_info(STREAM)).state.messages > 0


async def test_an_open_platform_asks_nobody_and_works() -> None:
    """For a sidecar that cannot present credentials: none are made, and it creates its own consumer."""
    async with run_platform(PlatformOptions(open=True)) as platform:
        assert await call_once(platform) == 200
        assert (platform.admin_credentials, platform.reader_credentials) == (None, None)
        secrets = await platform.cluster.list(SECRET, ACTIVE_NAMESPACE)
        assert [secret["metadata"]["name"] for secret in secrets] == []
        async with connected(platform) as client:
            consumers = await client.jetstream().consumers_info(STREAM)
        assert "serverless-sidecar-pool-template" in {consumer.name for consumer in consumers}


async def test_a_foreign_sidecar_gets_the_same_secret() -> None:
    """`--sidecar-command` replaces the program, not the credentials that are mounted for it."""
    command = (sys.executable, "-m", "sidecar")
    async with run_platform(PlatformOptions(sidecar_command=command)) as platform:
        assert await call_once(platform) == 200
        secrets = await platform.cluster.list(SECRET, ACTIVE_NAMESPACE)
        assert [secret["metadata"]["name"] for secret in secrets] == [secret_name("pool-template")]
