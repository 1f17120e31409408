"""S23 against a real nats-server: what a worker's identity can do, and all that it cannot.

The attempts are made with a plain client, as somebody would make them who took the credentials out of a sidecar.
`w1` of the pool `pool` is the one who tries; `w2` of the pool `other` is its neighbour.
"""

import asyncio
from typing import TYPE_CHECKING

import nats.errors
import pytest

from sidecar.queue import Access, ConsumerSettings, Credentials, Queue, StreamSettings
from simulator.identities.authority import Authority
from simulator.identities.roles import Roles

if TYPE_CHECKING:
    from pathlib import Path

    from tests.identities.conftest import Guarded, Peer

pytestmark = pytest.mark.e2e

TIMEOUT_S = 10.0
SUBJECTS = StreamSettings().subjects
OWN, OTHERS = "serverless-sidecar-w1", "serverless-sidecar-w2"
API = "$JS.API"
STREAM = "RUNTIME_SERVERLESS"
OWN_CONSUMER = ConsumerSettings(OWN, SUBJECTS.dispatch("pool", "w1"), ack_wait_s=30)
NO_WAIT = b'{"batch":1,"no_wait":true}'
PULL = f"{API}.CONSUMER.MSG.NEXT.{STREAM}.{OWN}"

REFUSED_PUBLISHES = [
    SUBJECTS.result("other"),
    SUBJECTS.metrics("other"),
    SUBJECTS.dead_letter("dispatch", "other"),
    SUBJECTS.dead_letter("invocation", "pool"),
    SUBJECTS.dead_letter("result", "pool"),
    SUBJECTS.invoke("pool"),
    SUBJECTS.invoke("other"),
    SUBJECTS.dispatch("pool", "w1"),
    SUBJECTS.dispatch("other", "w2"),
    SUBJECTS.cancel("pool", "w1"),
    SUBJECTS.cancel("other", "w2"),
    "_WORKER_INBOX.other.w2.x",
    "_PLATFORM_INBOX.owner.x",
    "_PLATFORM_INBOX.activator.x",
    f"{API}.INFO",
    f"{API}.STREAM.NAMES",
    f"{API}.STREAM.LIST",
    f"{API}.STREAM.INFO.{STREAM}",
    f"{API}.STREAM.CREATE.{STREAM}",
    f"{API}.STREAM.CREATE.MINE",
    f"{API}.STREAM.UPDATE.{STREAM}",
    f"{API}.STREAM.DELETE.{STREAM}",
    f"{API}.STREAM.PURGE.{STREAM}",
    f"{API}.STREAM.MSG.GET.{STREAM}",
    f"{API}.STREAM.MSG.DELETE.{STREAM}",
    f"{API}.STREAM.SNAPSHOT.{STREAM}",
    f"{API}.STREAM.RESTORE.{STREAM}",
    f"{API}.DIRECT.GET.{STREAM}",
    f"{API}.DIRECT.GET.{STREAM}.{SUBJECTS.dispatch('other', 'w2')}",
    f"{API}.CONSUMER.NAMES.{STREAM}",
    f"{API}.CONSUMER.LIST.{STREAM}",
    f"{API}.CONSUMER.CREATE.{STREAM}",
    f"{API}.CONSUMER.CREATE.{STREAM}.{OWN}",
    f"{API}.CONSUMER.CREATE.{STREAM}.{OWN}.{SUBJECTS.dispatch('pool', 'w1')}",
    f"{API}.CONSUMER.DURABLE.CREATE.{STREAM}.{OWN}",
    f"{API}.CONSUMER.DELETE.{STREAM}.{OWN}",
    f"{API}.CONSUMER.PAUSE.{STREAM}.{OWN}",
    f"{API}.CONSUMER.RESET.{STREAM}.{OWN}",
    f"{API}.CONSUMER.UNPIN.{STREAM}.{OWN}",
    f"{API}.CONSUMER.INFO.{STREAM}.{OTHERS}",
    f"{API}.CONSUMER.INFO.{STREAM}.runtime-activator",
    f"{API}.CONSUMER.MSG.NEXT.{STREAM}.{OTHERS}",
    f"{API}.CONSUMER.MSG.NEXT.{STREAM}.runtime-activator",
    f"{API}.ACCOUNT.PURGE.A",
    f"$JS.ACK.{STREAM}.{OTHERS}.1.1.1.1.0",
    f"$JS.ACK.{STREAM}.runtime-activator.1.1.1.1.0",
    "$JS.FC.x",
    "$SYS.REQ.USER.INFO",
    "$SYS.REQ.CLAIMS.UPDATE",
    "$SYS.REQ.SERVER.PING",
    "$SRV.PING",
    "_R_.x",
    "anything",
]

REFUSED_SUBSCRIPTIONS = [
    ">",
    "*",
    "_INBOX.>",
    "_INBOX.api.>",
    "_WORKER_INBOX.>",
    "_WORKER_INBOX.*.*.>",
    "_WORKER_INBOX.other.w2.>",
    "_PLATFORM_INBOX.>",
    f"{SUBJECTS.prefix}.>",
    SUBJECTS.invoke("*"),
    SUBJECTS.invoke("pool"),
    SUBJECTS.dispatch("*", "*"),
    SUBJECTS.dispatch("pool", "w1"),
    SUBJECTS.dispatch("other", "w2"),
    SUBJECTS.result("*"),
    SUBJECTS.result("pool"),
    SUBJECTS.metrics("pool"),
    f"{SUBJECTS.prefix}.cancel.*.*",
    SUBJECTS.cancel("other", "w2"),
    "$JS.>",
    f"{API}.>",
    "$JS.EVENT.ADVISORY.>",
    "$SYS.>",
    "$SRV.>",
]

DEPUTIES = [
    SUBJECTS.invoke("other"),
    SUBJECTS.dispatch("other", "w2"),
    SUBJECTS.result("other"),
    SUBJECTS.metrics("other"),
    f"{API}.STREAM.DELETE.{STREAM}",
    f"{API}.STREAM.PURGE.{STREAM}",
    f"{API}.STREAM.UPDATE.{STREAM}",
    f"{API}.CONSUMER.DELETE.{STREAM}.{OTHERS}",
    f"{API}.CONSUMER.DURABLE.CREATE.{STREAM}.mine",
    f"{API}.CONSUMER.CREATE.{STREAM}",
    f"{API}.CONSUMER.MSG.NEXT.{STREAM}.{OTHERS}",
]
"""Subjects to which the server might be made to publish in the worker's stead, as the reply of an allowed request."""


async def test_a_sidecars_whole_work_is_allowed(guarded: "Guarded", admin: Queue) -> None:
    """S23, S22: with its own credentials a sidecar consumes, publishes, answers and hears that it should stop."""
    queue = await guarded.queue(await guarded.worker_access("w1"))
    api = await guarded.queue(guarded.roles.access("api"))
    activator = await guarded.queue(guarded.roles.access("activator"))
    await admin.publish(SUBJECTS.dispatch("pool", "w1"), b"order", message_id="d1")
    consumer = await queue.consumer(OWN_CONSUMER)
    [delivery] = await consumer.fetch(wait_s=TIMEOUT_S)
    assert delivery.data == b"order"
    await delivery.in_progress()
    await delivery.ack()
    await consumer.close()
    for subject in (SUBJECTS.result("pool"), SUBJECTS.metrics("pool"), SUBJECTS.dead_letter("dispatch", "pool")):
        first = await queue.publish(subject, b"x", message_id=f"id of {subject}")
        again = await queue.publish(subject, b"x", message_id=f"id of {subject}")
        assert (first.duplicate, again.duplicate, again.sequence) == (False, True, first.sequence)
    async with api.inbox() as inbox, queue.listen(SUBJECTS.cancel("pool", "w1")) as cancels:
        await guarded.settle(api)
        await guarded.settle(queue)
        await queue.send(inbox.subject, b"answer")
        assert await inbox.receive(TIMEOUT_S) == b"answer"
        await activator.send(SUBJECTS.cancel("pool", "w1"), b"stop")
        assert await cancels.receive(TIMEOUT_S) == b"stop"


async def test_what_is_given_back_comes_again(guarded: "Guarded", admin: Queue) -> None:
    queue = await guarded.queue(await guarded.worker_access("w1"))
    await admin.publish(SUBJECTS.dispatch("pool", "w1"), b"order", message_id="d1")
    consumer = await queue.consumer(OWN_CONSUMER)
    [first] = await consumer.fetch(wait_s=TIMEOUT_S)
    await first.nak()
    [second] = await consumer.fetch(wait_s=TIMEOUT_S)
    assert (second.data, second.attempt) == (b"order", 2)
    await second.term("unusable")
    await consumer.close()


async def test_every_other_publish_is_refused(worker: "Peer") -> None:
    refusals = {subject: await worker.refusal_of_publish(subject) for subject in REFUSED_PUBLISHES}
    assert refusals == {
        subject: f'nats: permissions violation for publish to "{subject.lower()}"' for subject in REFUSED_PUBLISHES
    }


async def test_every_other_subscription_is_refused(worker: "Peer") -> None:
    refusals = {subject: await worker.refusal_of_subscribe(subject) for subject in REFUSED_SUBSCRIPTIONS}
    assert refusals == {
        subject: f'nats: permissions violation for subscription to "{subject.lower()}"'
        for subject in REFUSED_SUBSCRIPTIONS
    }


async def test_queue_groups_are_no_way_around(worker: "Peer") -> None:
    for subject in REFUSED_SUBSCRIPTIONS:
        assert "permissions violation" in await worker.refusal_of_subscribe(subject, group="g")


async def _answered(worker: "Peer", subject: str, data: bytes) -> None:
    """The server answers the request where the worker may listen: it is one that the server takes."""
    async with asyncio.timeout(TIMEOUT_S):
        await worker.client.request(subject, data, timeout=TIMEOUT_S)


async def _snapshot(admin: Queue, guarded: "Guarded") -> dict[str, object]:
    """The stream but for what the worker may publish, and all consumers."""
    peer = await guarded.peer(guarded.roles.access("admin"))
    jetstream = peer.client.jetstream()
    info = await jetstream.stream_info(STREAM, subjects_filter=">")
    counts = dict(info.state.subjects or {})
    own = counts.pop(SUBJECTS.result("pool"), 0)
    consumers = await jetstream.consumers_info(STREAM)
    states = {each.name: (each.num_pending, each.num_ack_pending, each.num_waiting) for each in consumers}
    states.pop(OWN)
    return {"config": info.config, "messages": counts, "kept": info.state.messages - own, "consumers": states}


@pytest.mark.parametrize("reply", DEPUTIES)
async def test_the_server_is_no_deputy(guarded: "Guarded", admin: Queue, worker: "Peer", reply: str) -> None:
    """S23: permissions are not checked for a reply subject, so a request could make the server publish there.

    Requests whose answers are empty (no message), a publish acknowledgement and a description are sent with replies to
    what the worker may not touch. A worker of the queue's own account purges and deletes the stream in this way.
    """
    await admin.publish(SUBJECTS.dispatch("other", "w2"), b"order", message_id="d1")
    before = await _snapshot(admin, guarded)
    requests = [
        (PULL, NO_WAIT),
        (SUBJECTS.result("pool"), b"{}"),
        (f"{API}.CONSUMER.INFO.{STREAM}.{OWN}", b""),
    ]
    for subject, data in requests:
        await worker.refusal_of_publish(subject, data, reply)
        await _answered(worker, subject, data)
    assert await _snapshot(admin, guarded) == before


@pytest.mark.parametrize("durable", [OWN, OTHERS])
async def test_an_ack_subject_is_no_reply_subject(worker: "Peer", durable: str) -> None:
    reply = f"$JS.ACK.{STREAM}.{durable}.1.1.1.1.0"
    assert "permissions violation" in await worker.refusal_of_publish(PULL, NO_WAIT, reply)


async def test_deliveries_cannot_be_sent_to_somebody_else(guarded: "Guarded", admin: Queue, worker: "Peer") -> None:
    """A pull request with the neighbour's inbox as its reply delivers nothing: the message stays the worker's."""
    neighbour = await guarded.peer(await guarded.worker_access("w2"))
    inbox = await neighbour.client.subscribe("_WORKER_INBOX.other.w2.x")
    await neighbour.settle()
    await admin.publish(SUBJECTS.dispatch("pool", "w1"), b"order", message_id="d1")
    await worker.refusal_of_publish(PULL, b'{"batch":1}', "_WORKER_INBOX.other.w2.x")
    await _answered(worker, f"{API}.CONSUMER.INFO.{STREAM}.{OWN}", b"")
    info = await worker.client.jetstream().consumer_info(STREAM, OWN)
    assert (info.num_pending, info.num_ack_pending) == (1, 0)
    await neighbour.settle()
    assert inbox.pending_msgs == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Nats-Rollup": "all"},
        {"Nats-Rollup": "sub"},
        {"Nats-Expected-Stream": "OTHER"},
        {"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": SUBJECTS.result("other")},
        {"Nats-Trace-Dest": SUBJECTS.result("other")},
        {"Nats-Trace-Dest": f"{API}.STREAM.PURGE.{STREAM}"},
    ],
    ids=lambda headers: " ".join(headers),
)
async def test_headers_are_no_way_around(
    guarded: "Guarded", admin: Queue, worker: "Peer", headers: dict[str, str]
) -> None:
    """Headers that ask JetStream or the server for more than to store: purge, schedule, trace."""
    await admin.publish(SUBJECTS.result("other"), b"kept", message_id="r1")
    before = await _snapshot(admin, guarded)
    await worker.client.publish(SUBJECTS.result("pool"), b"{}", headers=headers)
    await _answered(worker, SUBJECTS.result("pool"), b"{}")
    assert await _snapshot(admin, guarded) == before


async def test_workers_do_not_meet(guarded: "Guarded", worker: "Peer") -> None:
    """Each is alone in its account: even the same subjects are not the same."""
    second = await guarded.peer(await guarded.worker_access("w1"))
    heard = await second.client.subscribe("_WORKER_INBOX.pool.w1.x")
    await second.settle()
    await worker.client.publish("_INBOX.x", b"")
    assert "permissions violation" in await worker.refusal_of_publish("_WORKER_INBOX.pool.w1.x")
    await second.settle()
    assert heard.pending_msgs == 0


async def test_who_has_no_identity_of_this_authority_stays_out(guarded: "Guarded", tmp_path: "Path") -> None:
    """Anonymous, of another platform's authority, or with a token that somebody else signed or changed."""
    foreign = Authority(tmp_path / "foreign", StreamSettings())
    known = (await guarded.worker_access("w1")).credentials
    assert known is not None
    neighbours = (await guarded.worker_access("w2")).credentials
    assert neighbours is not None
    token, seed = known.text.split("\n")[1], neighbours.text.split("-----BEGIN USER NKEY SEED-----\n")[1]
    _head, body, signature = token.split(".")
    swapped = known.text.split("-----BEGIN USER NKEY SEED-----\n")[0] + "-----BEGIN USER NKEY SEED-----\n" + seed
    strangers = {
        "nobody": Access(),
        "another authority": Roles(foreign, StreamSettings(), "a").access("admin"),
        "a token without its key": Access(Credentials(swapped)),
        "a broken signature": Access(Credentials(known.text.replace(signature, signature[::-1]))),
        "a changed claim": Access(Credentials(known.text.replace(body, body[:-4] + "AAAA"))),
    }
    for access in strangers.values():
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization violation"):
            await guarded.peer(access)
    await guarded.peer(Access(known, inbox_prefix="_WORKER_INBOX.pool.w1"))  # the one they were made from is let in
