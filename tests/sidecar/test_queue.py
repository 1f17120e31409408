"""`Queue` against a real nats-server: what is stored, delivered, refused, and survives a lost connection."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import nats
import pytest

from sidecar.queue import (
    Consumer,
    ConsumerSettings,
    Delivery,
    MessageTooLargeError,
    Queue,
    QueueRefusedError,
    QueueUnavailableError,
    StreamSettings,
    WrongSequenceError,
)
from sidecar.stored import EXPECTED_HEADER, TTL_HEADER
from simulator.nats_server import NatsServer
from tests.proof.nats_proxy import NatsProxy
from tests.proof.steps import Trap

pytestmark = pytest.mark.e2e

INVOKE = "runtime.serverless.invoke.p"


@pytest.fixture
async def queue(nats_server: NatsServer) -> AsyncIterator[Queue]:
    async with Queue.connect(nats_server.url, client_name="test") as connected:
        await connected.ensure_stream()
        yield connected


async def test_the_stream_has_the_contracts_settings(queue: Queue, nats_server: NatsServer) -> None:
    async with await nats.connect(nats_server.url) as client:
        config = (await client.jetstream().stream_info("RUNTIME_SERVERLESS")).config
    assert config.subjects == [
        "runtime.serverless.invoke.*",
        "runtime.serverless.dispatch.*.*",
        "runtime.serverless.result.*",
        "runtime.serverless.metrics.*",
        "runtime.serverless.dlq.*.*",
    ]
    assert (config.retention, config.storage, config.num_replicas) == ("limits", "file", 1)
    assert (config.max_age, config.duplicate_window) == (72 * 3600, 24 * 3600)


async def test_q8_size_age_and_window_are_settings_and_a_message_can_expire(nats_server: NatsServer) -> None:
    settings = StreamSettings(max_age_s=600, duplicate_window_s=60, max_bytes=1_000_000)
    async with Queue.connect(nats_server.url, client_name="test", stream=settings) as queue:
        await queue.ensure_stream()
        await queue.publish(INVOKE, b"{}", message_id="a", headers={TTL_HEADER: "1s"})
        await queue.publish(INVOKE, b"{}", message_id="b")
        async with await nats.connect(nats_server.url) as client, asyncio.timeout(20):
            jetstream = client.jetstream()
            info = await jetstream.stream_info("RUNTIME_SERVERLESS")
            assert (info.config.max_bytes, info.config.max_age, info.config.duplicate_window) == (1_000_000, 600, 60)
            while info.state.messages > 1:  # the server says nothing when a message expires
                await asyncio.sleep(0.1)
                info = await jetstream.stream_info("RUNTIME_SERVERLESS")
            assert info.state.first_seq == 2


async def test_the_same_message_id_is_stored_once(queue: Queue) -> None:
    first = await queue.publish(INVOKE, b"{}", message_id="a")
    again = await queue.publish(INVOKE, b"{}", message_id="a")
    other = await queue.publish(INVOKE, b"{}", message_id="b")
    assert [first.duplicate, again.duplicate, other.duplicate] == [False, True, False]
    assert (again.sequence, other.sequence) == (first.sequence, first.sequence + 1)


async def test_q1_q2_the_ack_wait_is_not_replaced_by_a_backoff(queue: Queue, nats_server: NatsServer) -> None:
    for _ in range(2):  # binding again changes nothing
        await queue.consumer(ConsumerSettings("worker", INVOKE, ack_wait_s=300, max_ack_pending=7))
    async with await nats.connect(nats_server.url) as client:
        config = (await client.jetstream().consumer_info("RUNTIME_SERVERLESS", "worker")).config
    assert (config.ack_wait, config.backoff, config.max_ack_pending) == (300, None, 7)
    assert (config.ack_policy, config.deliver_policy, config.filter_subject) == ("explicit", "all", INVOKE)


async def test_acked_is_gone_given_back_comes_again_terminated_does_not(queue: Queue) -> None:
    consumer = await queue.consumer(ConsumerSettings("worker", INVOKE, ack_wait_s=300))
    for name in ("ack", "nak", "term"):
        await queue.publish(INVOKE, name.encode(), message_id=name)
    deliveries = {delivery.data: delivery for delivery in await _fetched(consumer, 3)}
    await deliveries[b"ack"].ack()
    await deliveries[b"term"].term("of no use")
    await deliveries[b"nak"].in_progress()
    await deliveries[b"nak"].nak()
    [again] = await consumer.fetch(10, wait_s=10)
    assert (again.data, again.attempt, again.subject) == (b"nak", 2, INVOKE)
    await again.ack()
    assert await consumer.fetch(10, wait_s=0.1) == []


async def _fetched(consumer: Consumer, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await consumer.fetch(count)
    return found


async def test_a_reader_sees_everything_from_a_sequence_on_without_acks(queue: Queue) -> None:
    for number in range(5):
        await queue.publish(INVOKE, str(number).encode(), message_id=str(number))
    reader = await queue.reader("runtime.serverless.>", start_sequence=3)
    seen: list[tuple[int, int, bytes]] = []
    async with asyncio.timeout(20):
        while len(seen) < 3:
            seen += [(each.sequence, each.consumer_sequence, each.data) for each in await reader.fetch(10)]
    assert seen == [(3, 1, b"2"), (4, 2, b"3"), (5, 3, b"4")]
    await reader.close()


async def test_a_reader_of_headers_gets_no_bodies_and_every_header(queue: Queue) -> None:
    await queue.publish(INVOKE, b"{}", message_id="a", headers={"traceparent": "00-1"})
    reader = await queue.reader("runtime.serverless.>", 0, headers_only=True)
    [delivery] = await reader.fetch(10, wait_s=10)
    assert (delivery.data, delivery.message_id, delivery.extra_headers["traceparent"]) == (b"", "a", "00-1")
    await reader.close()


async def test_a_reader_looks_on_at_another_stream(queue: Queue, nats_server: NatsServer) -> None:
    async with await nats.connect(nats_server.url) as client:
        await client.jetstream().add_stream(name="OTHER", subjects=["other.>"])
    await queue.publish("other.x", b"{}")
    reader = await queue.reader("other.*", 1, stream="OTHER")
    [delivery] = await reader.fetch(10, wait_s=10)
    assert (delivery.subject, delivery.sequence) == ("other.x", 1)
    await reader.close()


async def test_without_a_message_id_nothing_is_a_duplicate(queue: Queue) -> None:
    assert [(await queue.publish(INVOKE, b"{}")).duplicate for _ in range(2)] == [False, False]


async def test_an_expectation_that_is_not_met_is_told_apart(queue: Queue) -> None:
    first = await queue.publish(INVOKE, b"{}", headers={EXPECTED_HEADER: "0"})
    for expected in ("0", str(first.sequence + 1)):
        with pytest.raises(WrongSequenceError):
            await queue.publish(INVOKE, b"{}", headers={EXPECTED_HEADER: expected})
    again = await queue.publish(INVOKE, b"{}", headers={EXPECTED_HEADER: str(first.sequence)})
    assert again.sequence == first.sequence + 1


async def test_an_unconfirmed_ack_is_an_ack(queue: Queue) -> None:
    consumer = await queue.consumer(ConsumerSettings("worker", INVOKE, ack_wait_s=300, max_ack_pending=1))
    for name in ("a", "b"):
        await queue.publish(INVOKE, name.encode(), message_id=name)
    [first] = await _fetched(consumer, 1)
    first.ack_unconfirmed()
    [second] = await _fetched(consumer, 1)
    assert (first.data, second.data) == (b"a", b"b")


async def test_a_request_is_answered_or_nobody_is_there_or_answers(queue: Queue) -> None:
    assert json.loads(await queue.request("$JS.API.STREAM.INFO.RUNTIME_SERVERLESS", b""))["state"]["messages"] == 0
    with pytest.raises(QueueUnavailableError, match=r"nobody\.there: nobody takes it"):
        await queue.request("nobody.there", b"")
    async with queue.listen("silent"):
        with pytest.raises(QueueUnavailableError, match="no answer in time"):
            await queue.request("silent", b"", timeout_s=0.05)


async def test_who_hears_a_wildcard_is_told_the_subject(queue: Queue) -> None:
    heard: list[tuple[str, bytes]] = []
    second = asyncio.Event()

    def receive(subject: str, data: bytes) -> None:
        heard.append((subject, data))
        if len(heard) == 2:
            second.set()

    await queue.hear(queue.subjects.cancel_queued("p").replace(".p", ".*"), receive)
    await queue.send(queue.subjects.cancel_queued("p"), b"1")
    await queue.send(queue.subjects.cancel("p", "w"), b"no")
    await queue.send(queue.subjects.cancel_queued("q"), b"2")
    async with asyncio.timeout(20):
        await second.wait()
    assert heard == [("runtime.serverless.cancel.p", b"1"), ("runtime.serverless.cancel.q", b"2")]


async def test_a_fresh_inbox_is_heard_by_nobody_else(queue: Queue) -> None:
    first, second = queue.new_inbox(), queue.new_inbox()
    assert first != second
    async with queue.listen(first) as inbox:
        await queue.send(second, b"no")
        await queue.send(first, b"yes")
        assert await inbox.receive(10) == b"yes"


async def test_a_consumer_counts_the_connections_it_lost(nats_server: NatsServer) -> None:
    proxy = NatsProxy(int(nats_server.url.rpartition(":")[2]), Trap())
    restored = asyncio.Event()
    async with proxy.serving(), Queue.connect(f"nats://127.0.0.1:{proxy.port}", client_name="test") as queue:
        queue.on_restored = restored.set
        await queue.ensure_stream()
        reader = await queue.reader("runtime.serverless.>", 1)
        assert reader.interruptions == 0
        await proxy.drop()
        async with asyncio.timeout(20):
            await restored.wait()
        assert reader.interruptions == 1


async def test_what_the_server_refuses_is_told_apart(queue: Queue) -> None:
    with pytest.raises(QueueUnavailableError, match=r"elsewhere\.x: nobody takes it"):
        await queue.publish("elsewhere.x", b"{}", message_id="a")
    with pytest.raises(MessageTooLargeError):
        await queue.publish(INVOKE, b"x" * (queue.max_payload + 1), message_id="a")
    with pytest.raises(QueueRefusedError, match="consumer bad"):
        await queue.consumer(ConsumerSettings("bad", "elsewhere.*", ack_wait_s=-1))


async def test_an_inbox_receives_until_it_is_closed(queue: Queue) -> None:
    async with queue.inbox() as inbox:
        await queue.send(inbox.subject, b"hello")
        assert await inbox.receive(10) == b"hello"
        with pytest.raises(TimeoutError):
            await inbox.receive(0.01)


async def test_a_server_that_is_about_to_stop_is_unavailable(nats_server: NatsServer) -> None:
    """Its JetStream is gone seconds before it closes its connections."""
    async with Queue.connect(nats_server.url, client_name="test") as queue:
        await queue.ensure_stream()
        nats_server.process.signal(signal.SIGUSR2)  # lame duck
        async with asyncio.timeout(20):
            with pytest.raises(QueueUnavailableError, match="nobody takes it"):
                await _publish_until_refused(queue)
        assert queue.connected


async def _publish_until_refused(queue: Queue) -> None:
    while True:
        await queue.publish(INVOKE, b"{}")


async def test_a_lost_server_is_an_error_not_a_hang(nats_server: NatsServer) -> None:
    async with Queue.connect(nats_server.url, client_name="test") as queue:
        await queue.ensure_stream()
        await nats_server.process.kill()
        with pytest.raises(QueueUnavailableError):
            await queue.publish(INVOKE, b"{}", message_id="a", timeout_s=0.2)
        assert not queue.connected


async def test_no_server_is_said_without_the_credentials() -> None:
    with pytest.raises(QueueUnavailableError, match=r"nats://127\.0\.0\.1:1 within 0\.2 s") as caught:
        async with Queue.connect("nats://user:secret@127.0.0.1:1", client_name="test", timeout_s=0.2):
            pass
    assert "secret" not in str(caught.value)


def test_q9_a_window_longer_than_the_age_is_refused_here() -> None:
    with pytest.raises(ValueError, match="duplicate window"):
        StreamSettings(max_age_s=10, duplicate_window_s=20)
