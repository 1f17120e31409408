"""The short cuts through nats-py against a real nats-server: what is written and heard is what another client sees."""

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from sidecar.nats_client import LeanClient, parse_headers
from sidecar.queue_errors import MessageTooLargeError, QueueUnavailableError
from simulator.nats_server import NatsServer

pytestmark = pytest.mark.e2e


@pytest.fixture
async def lean(nats_server: NatsServer) -> AsyncIterator[LeanClient]:
    client = LeanClient()
    await client.connect(nats_server.url, reconnect_time_wait=0, max_reconnect_attempts=-1)
    yield client
    await client.close()


@pytest.fixture
async def plain(nats_server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server.url)
    yield client
    await client.close()


async def subscribed(client: Client, subject: str) -> Subscription:
    """Subscribe, and return when the server knows: nats-py's first PING may go ahead of the SUB."""
    subscription = await client.subscribe(subject)
    await client.flush()
    await client.flush()
    return subscription


@pytest.mark.parametrize("body", [b"", b"x", b"\x00\xff\r\n", b"y" * 300_000])
@pytest.mark.parametrize("headers", [None, {"Nats-Msg-Id": "result-é", "traceparent": "00-1"}])
@pytest.mark.parametrize("reply", ["", "_INBOX.a"])
async def test_what_is_written_arrives(
    lean: LeanClient, plain: Client, body: bytes, headers: dict[str, str] | None, reply: str
) -> None:
    subscription = await subscribed(plain, "a.*")
    lean.write("a.b", body, reply, headers)
    message = await subscription.next_msg(timeout=10)
    assert (message.subject, message.data, message.reply) == ("a.b", body, reply)
    assert dict(message.headers or {}) == (headers or {})


async def test_what_is_published_is_heard_in_order(lean: LeanClient, plain: Client) -> None:
    heard: list[tuple[bytes, bytes, bytes, dict[str, str]]] = []
    last = asyncio.Event()

    def receive(subject: bytes, reply: bytes, body: bytes, headers: bytes) -> None:
        heard.append((subject, reply, body, parse_headers(headers)))
        if body == b"last":
            last.set()

    number = await lean.hear("a.*", receive)
    await lean.settle()
    await plain.publish("a.1", b"one", headers={"k": "v: w"})
    await plain.publish("a.2", b"two", reply="r")
    await plain.publish("a.3", b"last")
    async with asyncio.timeout(10):
        await last.wait()
    assert heard == [
        (b"a.1", b"", b"one", {"k": "v: w"}),
        (b"a.2", b"r", b"two", {}),
        (b"a.3", b"", b"last", {}),
    ]
    await lean.unhear(number)
    await plain.publish("a.4", b"late")
    await plain.flush()
    await lean.settle()
    assert len(heard) == 3


async def test_a_subscription_is_known_to_the_server_once_settled(lean: LeanClient, plain: Client) -> None:
    for n in range(200):
        heard = asyncio.Event()
        await lean.hear(f"s.{n}", lambda *_message, heard=heard: heard.set())
        await lean.settle()
        await plain.publish(f"s.{n}", b"")
        async with asyncio.timeout(10):
            await heard.wait()


async def test_what_cannot_be_sent_is_an_error_and_sends_nothing(lean: LeanClient, plain: Client) -> None:
    subscription = await subscribed(plain, "a")
    with pytest.raises(MessageTooLargeError, match="bytes"):
        lean.write("a", b"x" * (lean.max_payload + 1))
    with pytest.raises(ValueError, match="line break"):
        lean.write("a", b"", headers={"k": "v\r\nInjected: yes"})
    lean.write("a", b"end")
    assert (await subscription.next_msg(timeout=10)).data == b"end"
    await lean.close()
    with pytest.raises(QueueUnavailableError, match="closed"):
        lean.write("a", b"x")


async def test_what_is_written_without_a_server_arrives_when_it_is_back(
    lean: LeanClient, nats_server: NatsServer
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await lean.hear("a", lambda _subject, _reply, body, _headers: heard.put_nowait(body))
    await lean.settle()
    port = nats_server.url.rpartition(":")[2]
    await nats_server.process.kill()
    async with asyncio.timeout(20):
        while lean.is_connected:  # noqa: ASYNC110 - nats-py tells it to callbacks only, which are not under test
            await asyncio.sleep(0.01)
    lean.write("a", b"meanwhile")
    for _ in range(4):
        lean.write("b", b"x" * 500_000)
    with pytest.raises(QueueUnavailableError, match="buffer is full"):
        lean.write("b", b"x" * 500_000)
    restarted = NatsServer(nats_server._processes, nats_server._directory, port=int(port))
    async with restarted, asyncio.timeout(20):
        assert await heard.get() == b"meanwhile"


async def test_a_flush_that_is_given_up_does_not_make_the_client_deaf(lean: LeanClient, plain: Client) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await lean.hear("a", lambda _subject, _reply, body, _headers: heard.put_nowait(body))
    given_up = asyncio.create_task(lean.flush())
    await asyncio.sleep(0)  # the PING is written, and its PONG cannot have come yet
    given_up.cancel()
    await asyncio.wait([given_up])
    await lean.settle()
    await plain.publish("a", b"after")
    async with asyncio.timeout(20):
        assert await heard.get() == b"after"


async def test_reconnects_that_overlap_end_without_an_error(lean: LeanClient, nats_server: NatsServer) -> None:
    await nats_server.process.kill()
    async with asyncio.timeout(20):
        while lean._reconnection_task_future is None:  # noqa: ASYNC110 - nats-py tells nobody
            await asyncio.sleep(0.01)
    lean._reconnection_task_future.set_result(True)  # as a former attempt does that is cancelled late
    reconnecting = lean._reconnection_task
    await lean.close()
    assert reconnecting is not None
    assert reconnecting.done()
    assert reconnecting.cancelled() or reconnecting.exception() is None


@pytest.mark.parametrize(
    "complaint", ["'authorization violation'", "'maximum connections exceeded'", "stale connection"]
)
async def test_s26_a_complaint_of_the_server_does_not_end_the_client(
    lean: LeanClient, plain: Client, complaint: str
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await lean.hear("a", lambda _subject, _reply, body, _headers: heard.put_nowait(body))
    before = lean.stats["reconnects"]
    await lean._process_err(complaint)
    async with asyncio.timeout(20):
        while lean.stats["reconnects"] == before:  # noqa: ASYNC110 - nats-py tells it to callbacks only
            await asyncio.sleep(0.01)
        await lean.settle()
        await plain.publish("a", b"after")
        assert await heard.get() == b"after"


@pytest.mark.parametrize(
    ("raw", "headers"),
    [
        (b"", {}),
        (b"NATS/1.0\r\n\r\n", {}),
        (b"NATS/1.0\r\na: b\r\nC:d:e \r\n\r\n", {"a": "b", "C": "d:e"}),
        (b"NATS/1.0 404 No Messages\r\n\r\n", {"Status": "404", "Description": "No Messages"}),
        (b"NATS/1.0 503\r\n\r\n", {"Status": "503", "Description": ""}),
        (
            b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 7\r\n\r\n",
            {"Status": "408", "Description": "Request Timeout", "Nats-Pending-Messages": "7"},
        ),
        (b"\xff\xfe\r\nno separator\r\n\r\n", {}),
    ],
)
def test_headers_are_read(raw: bytes, headers: dict[str, str]) -> None:
    assert parse_headers(raw) == headers
