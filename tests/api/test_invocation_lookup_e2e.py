"""What became of invocations, over a real nats-server: across restarts of the API, and beside its other processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sidecar.messages import InvocationResultMessage, encode, utc_now
from sidecar.queue import Queue
from sidecar.queue_errors import ended
from sidecar.subjects import dispatch_message_id, result_message_id
from simulator.jetstream.bucket import ACTIVATOR, INVOCATIONS, BucketSettings, ensure_bucket
from simulator.jetstream.stored import delete_message, last_sequence
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes
from simulator.results.store import ResultStore, stored_result
from tests.api.conftest import Api, running_api

pytestmark = pytest.mark.e2e


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    async with (
        Processes() as processes,
        NatsServer(processes, tmp_path / "nats") as nats,
        Queue.connect(nats.url, client_name="test") as queue,
        asyncio.timeout(30),
    ):
        await queue.ensure_stream()
        for bucket in (INVOCATIONS, ACTIVATOR):
            await ensure_bucket(queue, BucketSettings(bucket))
        yield queue


@asynccontextmanager
async def result_store(queue: Queue) -> AsyncIterator[None]:
    task = asyncio.create_task(ResultStore(queue).run())
    yield
    await ended(task)


async def dispatch(queue: Queue, invocation_id: str) -> None:
    message_id = dispatch_message_id(invocation_id, "unit-a")
    await queue.publish(queue.subjects.dispatch("tts", "unit-a"), b"{}", message_id=message_id)


async def answer(queue: Queue, invocation_id: str) -> None:
    """Publish an invocation's result as a worker does."""
    result = InvocationResultMessage(
        invocation_id=invocation_id,
        serverless_request_id="tts",
        state="succeeded",
        body=msgspec.Raw(b'"done"'),
        completed_at=utc_now(),
    )
    await queue.publish(queue.subjects.result("tts"), encode(result), message_id=result_message_id(invocation_id))


async def stored(queue: Queue, invocation_id: str) -> None:
    while await stored_result(queue, invocation_id) is None:  # noqa: ASYNC110 - bounded by the fixture's time-out
        await asyncio.sleep(0.01)


async def states(api: Api) -> list[tuple[str, str]]:
    listed = (await api.look("?serverlessRequestID=tts")).data
    assert all("body" not in each for each in listed)
    return [(each["invocationID"], each["state"]) for each in listed]


async def test_p5_an_invocation_is_found_at_once_and_followed_to_its_end(queue: Queue) -> None:
    async with running_api(None, queue) as api, running_api(None, queue) as other, asyncio.TaskGroup() as tasks:
        await api.invoke(invocationID="call-1")
        assert (await other.look("/call-1")).data["state"] == "queued"
        await dispatch(queue, "call-1")
        seen = (await api.look("/call-1")).data
        assert (seen["state"], seen["workerName"]) == ("dispatched", "unit-a")
        waits = [tasks.create_task(client.look("/call-1?wait=60s")) for client in (api, other)]
        await answer(queue, "call-1")
        assert [((await wait).data["state"], (await wait).data["body"]) for wait in waits] == [
            ("succeeded", "done")
        ] * 2
        assert (await api.look("/none")).code == "invocation_not_found"


async def test_p5_a_restarted_api_knows_what_is_open_and_what_ended(queue: Queue) -> None:
    async with result_store(queue):
        async with running_api(None, queue) as api:
            for number in (1, 2, 3):
                await api.invoke(invocationID=f"call-{number}")
            await answer(queue, "call-1")
            await stored(queue, "call-1")
        async with running_api(None, queue) as api:
            assert await states(api) == [("call-3", "queued"), ("call-2", "queued"), ("call-1", "succeeded")]
            assert (await api.look("/call-1")).data["body"] == "done"
            assert (await api.invoke(mode="sync", invocationID="call-1")).data["body"] == "done"


async def test_p5_what_ended_a_moment_ago_is_listed_before_it_is_in_the_store(queue: Queue) -> None:
    async with running_api(None, queue) as api:
        async with result_store(queue):
            await api.invoke(invocationID="call-1")
            await answer(queue, "call-1")
            await stored(queue, "call-1")
        for number in (2, 3):
            await api.invoke(invocationID=f"call-{number}")
            await answer(queue, f"call-{number}")
        assert await states(api) == [(f"call-{number}", "succeeded") for number in (3, 2, 1)]
        assert len((await api.look("?serverlessRequestID=tts&limit=2")).data) == 2
        assert (await api.look("?serverlessRequestID=stt")).data == []


async def test_a_deleted_last_message_keeps_nobody_waiting(queue: Queue) -> None:
    """Dead letters are dropped so: the stream's end is then a message of which no ledger is told."""
    async with running_api(None, queue) as api:
        await api.invoke(invocationID="call-1")
        await queue.publish(queue.subjects.metrics("tts"), b"{}")
        assert await delete_message(queue, await last_sequence(queue))
        assert (await api.look("/call-1")).data["state"] == "queued"
        assert (await api.look("/none")).status == 404


async def test_a_cancel_message_reaches_those_who_listen(queue: Queue) -> None:
    async with running_api(None, queue) as api, queue.listen(f"{queue.subjects.prefix}.cancel.*") as cancels:
        await api.invoke(invocationID="call-1")
        assert (await api.call("DELETE", "/serverless/invocations/call-1")).status == 202
        assert b'"call-1"' in await cancels.receive(10)
