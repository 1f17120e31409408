"""The client of the API, where it looks for invocations and takes them back."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from simulator.api_client import ApiClient, ApiRefusedError
from simulator.ledger.events import Queued

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubFollower, StubQueue

RESULT = b'{"invocationID":"call-1","serverlessRequestID":"tts","state":"succeeded","body":1}'


@pytest.fixture
async def client(api: "Api") -> AsyncIterator[ApiClient]:
    async with ApiClient(api.url) as client:
        yield client


async def test_an_invocation_is_read_at_once_or_at_its_end(client: ApiClient, follower: "StubFollower") -> None:
    follower.take(Queued("call-1", "tts", 1))
    assert (await client.invocation("call-1"))["state"] == "queued"
    assert (await client.invocation("call-1", wait="10ms"))["state"] == "queued"
    follower.end("call-1", "tts", RESULT)
    assert (await client.invocation("call-1", wait="1m"))["body"] == 1


async def test_the_invocations_of_a_pool_are_listed(client: ApiClient, follower: "StubFollower") -> None:
    for number in (1, 2):
        follower.take(Queued(f"call-{number}", "tts", number))
    assert [each["invocationID"] for each in await client.invocations("tts", limit=1)] == ["call-2"]


async def test_an_invocation_is_taken_back(client: ApiClient, queue: "StubQueue", follower: "StubFollower") -> None:
    follower.take(Queued("call-1", "tts", 1))
    assert (await client.cancel("call-1"))["state"] == "queued"
    assert len(queue.sent) == 1
    follower.end("call-1", "tts", RESULT)
    with pytest.raises(ApiRefusedError) as refused:
        await client.cancel("call-1")
    assert refused.value.status == 409


@pytest.mark.parametrize("invocation_id", ["none", "a/b", "a?wait=1", "ä %2F"])
async def test_any_id_may_be_looked_for(client: ApiClient, invocation_id: str) -> None:
    for method in (client.invocation, client.cancel):
        with pytest.raises(ApiRefusedError, match="is known") as refused:
            await method(invocation_id)
        assert (refused.value.status, refused.value.code) == (404, "invocation_not_found")
        assert repr(invocation_id) in str(refused.value)
