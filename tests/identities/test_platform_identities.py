"""S23 for the platform's own parts: each role does its work, and is refused what is another's."""

from typing import TYPE_CHECKING

import nats
import pytest

from sidecar.queue import ConsumerSettings, Queue, StreamSettings
from sidecar.subjects import ACTIVATOR_CONSUMER, sidecar_consumer
from simulator.nats_server import NatsServer
from simulator.processes.spawn import Processes

if TYPE_CHECKING:
    from pathlib import Path

    from tests.identities.conftest import Guarded

pytestmark = pytest.mark.e2e

TIMEOUT_S = 10.0
SUBJECTS = StreamSettings().subjects
STREAM = "RUNTIME_SERVERLESS"
API = "$JS.API"
INVOCATIONS = ConsumerSettings(ACTIVATOR_CONSUMER, SUBJECTS.invoke("*"), ack_wait_s=30)

STREAM_CONTROL = [f"{API}.STREAM.{verb}.{STREAM}" for verb in ("UPDATE", "DELETE", "PURGE")]
MESSAGE_DELETION = f"{API}.STREAM.MSG.DELETE.{STREAM}"
BUCKETS = [
    f"{API}.STREAM.{verb}.KV_RUNTIME_{name}"
    for verb in ("UPDATE", "DELETE", "PURGE")
    for name in ("ACTIVATOR", "INVOCATIONS")
]
CONSUMER_CONTROL = [
    f"{API}.CONSUMER.CREATE.{STREAM}.x",
    f"{API}.CONSUMER.DURABLE.CREATE.{STREAM}.x",
    f"{API}.CONSUMER.DELETE.{STREAM}.{ACTIVATOR_CONSUMER}",
]
OTHERS_ACKS = f"$JS.ACK.{STREAM}.x.1.1.1.1.0"
OTHERS_WORK = [f"{API}.CONSUMER.MSG.NEXT.{STREAM}.{sidecar_consumer('w1')}", OTHERS_ACKS]

REFUSED_PUBLISHES = {
    "api": [
        *STREAM_CONTROL,
        *BUCKETS,
        *CONSUMER_CONTROL,
        OTHERS_ACKS,
        "$KV.RUNTIME_INVOCATIONS.pool.x",
        "$KV.RUNTIME_ACTIVATOR.leader",
        SUBJECTS.cancel("pool", "w1"),
        SUBJECTS.dispatch("pool", "w1"),
        SUBJECTS.result("pool"),
        SUBJECTS.metrics("pool"),
        SUBJECTS.dead_letter("invocation", "pool"),
        "_INBOX.x",
    ],
    "activator": [
        *STREAM_CONTROL,
        *BUCKETS,
        MESSAGE_DELETION,
        OTHERS_ACKS,
        "$KV.RUNTIME_INVOCATIONS.pool.x",
        SUBJECTS.invoke("pool"),
        SUBJECTS.metrics("pool"),
        SUBJECTS.dead_letter("dispatch", "pool"),
        "_PLATFORM_INBOX.owner.x",
    ],
    "results": [
        *STREAM_CONTROL,
        *BUCKETS,
        MESSAGE_DELETION,
        *CONSUMER_CONTROL,
        *OTHERS_WORK,
        f"{API}.STREAM.MSG.GET.{STREAM}",
        "$KV.RUNTIME_ACTIVATOR.leader",
        *(subject.replace("*", "x") for subject in SUBJECTS.families()),
        "_INBOX.x",
    ],
    "owner": [
        *STREAM_CONTROL,
        *BUCKETS,
        MESSAGE_DELETION,
        *OTHERS_WORK,
        f"{API}.STREAM.CREATE.MINE",
        "$KV.RUNTIME_INVOCATIONS.pool.x",
        "$KV.RUNTIME_ACTIVATOR.leader",
        *(subject.replace("*", "x") for subject in SUBJECTS.families()),
        "_INBOX.x",
    ],
    "reader": [
        *STREAM_CONTROL,
        *CONSUMER_CONTROL,
        f"$JS.ACK.{STREAM}.{ACTIVATOR_CONSUMER}.1.1.1.1.0",
        *(subject.replace("*", "x") for subject in SUBJECTS.families()),
        SUBJECTS.cancel("pool", "w1"),
        "_INBOX.x",
    ],
}
REFUSED_SUBSCRIPTIONS = {
    "api": [">", "_INBOX.>", "_PLATFORM_INBOX.>", f"{SUBJECTS.prefix}.>", "$JS.>"],
    "activator": [">", "_INBOX.>", "_PLATFORM_INBOX.>", f"{SUBJECTS.prefix}.>", "$JS.>"],
    "results": [">", "_INBOX.>", "_PLATFORM_INBOX.>", f"{SUBJECTS.prefix}.>", "$JS.>"],
    "owner": [">", "_INBOX.>", "_PLATFORM_INBOX.>", f"{SUBJECTS.prefix}.>", "$JS.>"],
    "reader": [">", "_INBOX.>", "_PLATFORM_INBOX.>", "$JS.>"],
}


@pytest.mark.parametrize("role", REFUSED_PUBLISHES)
async def test_what_each_role_is_refused(guarded: "Guarded", role: str) -> None:
    peer = await guarded.peer(guarded.roles.access(role))
    for subject in REFUSED_PUBLISHES[role]:
        refusal = await peer.refusal_of_publish(subject)
        assert refusal == f'nats: permissions violation for publish to "{subject.lower()}"'
    for subject in REFUSED_SUBSCRIPTIONS[role]:
        refusal = await peer.refusal_of_subscribe(subject)
        assert refusal == f'nats: permissions violation for subscription to "{subject.lower()}"'


async def test_an_invocations_way_through_api_and_activator(guarded: "Guarded") -> None:
    api = await guarded.queue(guarded.roles.access("api"))
    activator = await guarded.queue(guarded.roles.access("activator"))
    assert not (await api.publish(SUBJECTS.invoke("pool"), b"call", message_id="i1")).duplicate
    consumer = await activator.consumer(INVOCATIONS)
    [delivery] = await consumer.fetch(wait_s=TIMEOUT_S)
    await activator.publish(SUBJECTS.dispatch("pool", "w1"), delivery.data, message_id="d1")
    await activator.publish(SUBJECTS.result("pool"), b"failed", message_id="r1")
    await activator.publish(SUBJECTS.dead_letter("invocation", "pool"), b"dead", message_id="l1")
    await delivery.ack()
    await consumer.close()
    async with api.inbox() as inbox:
        await guarded.settle(api)
        await activator.send(inbox.subject, b"failed")
        assert await inbox.receive(TIMEOUT_S) == b"failed"


async def test_the_owner_makes_and_deletes_consumers_that_others_use(guarded: "Guarded", admin: Queue) -> None:
    owner = await guarded.queue(guarded.roles.access("owner"))
    settings = ConsumerSettings(sidecar_consumer("w3"), SUBJECTS.dispatch("pool", "w3"), ack_wait_s=30)
    await owner.ensure_stream()
    for _ in range(2):
        await (await owner.consumer(settings)).close()
    gone = f"$JS.EVENT.ADVISORY.CONSUMER.DELETED.{STREAM}.{settings.durable}"
    async with admin.listen(gone) as advisories:
        await guarded.settle(admin)
        await owner.delete_consumer(settings.durable)
        assert settings.durable.encode() in await advisories.receive(TIMEOUT_S)
    await owner.delete_consumer(settings.durable)


async def test_a_reader_sees_all_live_and_stored(guarded: "Guarded", admin: Queue) -> None:
    reader = await guarded.queue(guarded.roles.access("reader"))
    async with reader.listen(f"{SUBJECTS.prefix}.>") as live:
        await guarded.settle(reader)
        for subject in (SUBJECTS.invoke("pool"), SUBJECTS.dispatch("pool", "w1"), SUBJECTS.result("pool")):
            await admin.publish(subject, subject.encode(), message_id=subject)
            assert await live.receive(TIMEOUT_S) == subject.encode()
    stored = await reader.reader(f"{SUBJECTS.prefix}.>", 1)
    deliveries = await stored.fetch(batch=3, wait_s=TIMEOUT_S)
    while len(deliveries) < 3:
        deliveries += await stored.fetch(batch=3, wait_s=TIMEOUT_S)
    assert [delivery.sequence for delivery in deliveries] == [1, 2, 3]
    await stored.close()


async def test_credentials_files_are_private_and_work(guarded: "Guarded", tmp_path: "Path") -> None:
    for role in ("admin", "reader"):
        path = guarded.roles.write_credentials(role, tmp_path)
        assert path is not None
        assert (path.name, path.stat().st_mode & 0o777) == (f"{role}.creds", 0o600)
        prefix = guarded.roles.access(role).inbox_prefix
        client = await nats.connect(guarded.url, user_credentials=str(path), inbox_prefix=prefix, allow_reconnect=False)
        assert (await client.jetstream().stream_info(STREAM)).config.name == STREAM
        await client.close()


async def test_an_open_server_asks_nobody(processes: Processes, tmp_path: "Path") -> None:
    async with (
        NatsServer(processes, tmp_path / "nats") as server,
        Queue.connect(server.url, client_name="sidecar of another kind") as queue,
    ):
        await queue.ensure_stream()
        consumer = await queue.consumer(ConsumerSettings("own", SUBJECTS.dispatch("pool", "w1"), ack_wait_s=30))
        await queue.publish(SUBJECTS.dispatch("pool", "w1"), b"order", message_id="d1")
        assert [delivery.data for delivery in await consumer.fetch(wait_s=TIMEOUT_S)] == [b"order"]
        await consumer.close()
