"""Key-value buckets on a real nats-server: who changes a key first wins, and other clients see the same."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import nats
import pytest

from sidecar.queue import Queue, QueueError
from simulator.jetstream import bucket as bucket_module
from simulator.jetstream.bucket import Bucket, BucketSettings, Entry, RevisionConflictError, ensure_bucket
from simulator.jetstream.requests import ask
from simulator.nats_server import NatsServer

pytestmark = pytest.mark.e2e


@pytest.fixture
async def queue(nats_server: NatsServer) -> AsyncIterator[Queue]:
    async with Queue.connect(nats_server.url, client_name="test") as connected:
        yield connected


@pytest.fixture
async def bucket(queue: Queue) -> Bucket:
    await ensure_bucket(queue, BucketSettings("B"))
    return Bucket(queue, "B")


async def test_a_key_lives_from_create_to_delete_and_again(bucket: Bucket) -> None:
    assert await bucket.get("k") is None
    first = await bucket.create("k", b"1")
    assert await bucket.get("k") == Entry("k", b"1", first)
    second = await bucket.update("k", b"2", first)
    assert await bucket.get("k") == Entry("k", b"2", second)
    third = await bucket.put("k", b"3")
    await bucket.delete("k", third)
    assert await bucket.get("k") is None
    again = await bucket.create("k", b"4")
    assert await bucket.get("k") == Entry("k", b"4", again)
    assert first < second < third < again


async def test_who_comes_second_changes_nothing(bucket: Bucket) -> None:
    first = await bucket.create("k", b"1")
    now = await bucket.update("k", b"2", first)
    for change in (
        bucket.create("k", b"x"),
        bucket.update("k", b"x", first),
        bucket.update("k", b"x", 0),
        bucket.delete("k", first),
        bucket.update("other", b"x", first),
    ):
        with pytest.raises(RevisionConflictError, match=r"B: .*was changed by another"):
            await change
    assert await bucket.get("k") == Entry("k", b"2", now)
    assert await bucket.get("other") is None


@pytest.mark.parametrize("deleted_before", [False, True])
async def test_a18_of_many_who_create_a_key_at_once_one_does(bucket: Bucket, deleted_before: bool) -> None:
    if deleted_before:
        await bucket.delete("k", await bucket.create("k", b"old"))
    values = [str(n).encode() for n in range(20)]
    outcomes = await asyncio.gather(*(bucket.create("k", value) for value in values), return_exceptions=True)
    [winner] = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, int)]
    assert sum(isinstance(outcome, RevisionConflictError) for outcome in outcomes) == 19
    found = await bucket.get("k")
    assert found is not None
    assert (found.value, found.revision) == (values[winner], outcomes[winner])


async def test_a_wildcard_finds_a_key_of_any_pool(bucket: Bucket) -> None:
    revision = await bucket.put("tts.i", b"1")
    await bucket.put("tts.other", b"2")
    assert await bucket.get("*.i") == Entry("tts.i", b"1", revision)
    assert await bucket.get("*.none") is None
    assert await bucket.get("*") is None


async def test_another_client_sees_the_same_bucket(bucket: Bucket, nats_server: NatsServer) -> None:
    revision = await bucket.create("k", b"\x00\xff")
    async with await nats.connect(nats_server.url) as client:
        theirs = await client.jetstream().key_value("B")
        entry = await theirs.get("k")
        assert (entry.value, entry.revision) == (b"\x00\xff", revision)
        assert await bucket.get("k") == Entry("k", b"\x00\xff", revision)
        await theirs.delete("k")
        assert await bucket.get("k") is None
        await bucket.create("k", b"2")
        await theirs.purge("k")
        assert await bucket.get("k") is None
        await theirs.create("k", b"3")
        found = await bucket.get("k")
        assert found is not None
        assert found.value == b"3"


async def test_ensuring_a_bucket_twice_or_at_once_alters_nothing(queue: Queue, nats_server: NatsServer) -> None:
    settings = BucketSettings("B", max_age_s=60, max_bytes=1_000_000)
    await asyncio.gather(*(ensure_bucket(queue, settings) for _ in range(5)))
    await Bucket(queue, "B").put("k", b"1")
    await ensure_bucket(queue, BucketSettings("B", max_age_s=7))
    async with await nats.connect(nats_server.url) as client:
        config = (await client.jetstream().stream_info("KV_B")).config
    assert (config.subjects, config.max_msgs_per_subject) == (["$KV.B.>"], 1)
    assert (config.max_age, config.max_bytes, config.discard) == (60, 1_000_000, "old")
    found = await Bucket(queue, "B").get("k")
    assert found is not None


async def test_a_bucket_with_a_limit_forgets_its_oldest(queue: Queue) -> None:
    await ensure_bucket(queue, BucketSettings("B", max_bytes=10_000))
    bucket = Bucket(queue, "B")
    for number in range(20):
        await bucket.create(f"k{number}", b"x" * 1_000)
    assert await bucket.get("k0") is None
    assert await bucket.get("k19") is not None


async def test_a_missing_bucket_is_said(queue: Queue) -> None:
    with pytest.raises(QueueError, match=r"\$KV\.none\.k"):
        await Bucket(queue, "none").put("k", b"1")
    assert await Bucket(queue, "none").get("k") is None


async def keys_left(queue: Queue) -> int:
    """How many messages are behind the bucket, markers included."""
    info = await ask(queue, "STREAM.INFO.KV_B", None, _Info)
    return info.state.messages


class _State(msgspec.Struct):
    messages: int


class _Info(msgspec.Struct):
    state: _State


async def test_of_a_key_that_never_comes_again_nothing_is_left(queue: Queue, bucket: Bucket) -> None:
    """Its marker is there for those who follow the bucket, for a while; any other one stays."""
    await bucket.delete("kept", await bucket.create("kept", b"1"))
    await bucket.delete("gone", await bucket.create("gone", b"1"), kept_s=1)
    assert await keys_left(queue) == 2
    assert await bucket.get("gone") is None
    async with asyncio.timeout(20):
        while await keys_left(queue) > 1:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)
    assert await bucket.get("gone") is None
    await bucket.update("gone", b"2", 0)
    with pytest.raises(RevisionConflictError):
        await bucket.update("kept", b"2", 0)


async def test_a_bucket_of_an_older_version_keeps_its_markers(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    config = bucket_module._config
    monkeypatch.setattr(bucket_module, "_config", lambda *given: config(*given) | {"allow_msg_ttl": False})
    await ensure_bucket(queue, BucketSettings("B"))
    bucket = Bucket(queue, "B")
    await bucket.delete("k", await bucket.create("k", b"1"), kept_s=1)
    assert await bucket.get("k") is None
    assert await keys_left(queue) == 1
