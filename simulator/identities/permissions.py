"""Who may touch which subject (contract 1, S23; 2.1 to 2.6): one pure function for each role.

Inboxes are part of it. Answers to the platform's callers go to `_INBOX.`; every other role hears its own answers under
a prefix of its own, where no worker may publish and nobody else may listen.
"""

from dataclasses import dataclass
from typing import Final

from sidecar.messages import Source
from sidecar.stream import StreamSettings
from sidecar.subjects import RESULT_STORE_CONSUMER, sidecar_consumer, worker_inboxes
from simulator.identities.jwt import Export, Permissions
from simulator.jetstream import bucket

CALLER_INBOXES: Final = "_INBOX.>"
"""Where callers wait for the answer to a sync invocation: the names are random, chosen by the NATS client."""

API_INBOX: Final = "_INBOX.api"
PLATFORM_INBOX: Final = "_PLATFORM_INBOX"

ACCOUNT_INFO: Final = "$JS.API.INFO"


@dataclass(frozen=True, slots=True)
class Grants:
    """What one identity may do: `publish` to subjects, `listen` to others' subjects, and hear its own inboxes."""

    publish: tuple[str, ...]
    listen: tuple[str, ...]
    inbox_prefix: str

    @property
    def permissions(self) -> Permissions:
        """The same as the server is told."""
        return Permissions(self.publish, (*self.listen, f"{self.inbox_prefix}.>"))


def worker(stream: StreamSettings, pool: str, name: str) -> Grants:
    """The sidecar of one worker: takes its own dispatches, publishes its pool's results, events and dead letters."""
    subjects = stream.subjects
    return Grants(
        publish=(
            subjects.result(pool),
            subjects.metrics(pool),
            subjects.dead_letter(Source.DISPATCH, pool),
            CALLER_INBOXES,
            *_consume(stream.name, sidecar_consumer(name)),
        ),
        listen=(subjects.cancel(pool, name),),
        inbox_prefix=worker_inboxes(pool, name),
    )


def worker_exports(stream: StreamSettings) -> tuple[Export, ...]:
    """What the queue's account offers to the workers' accounts: for each of their grants, the pattern of all workers'.

    `ACCOUNT_INFO` is offered because an account that imports it is not given the rest of the JetStream API.
    """
    subjects, any_pool, any_consumer = stream.subjects, "*", "*"
    info, pull, acks = _consume(stream.name, any_consumer)
    return (
        Export(subjects.result(any_pool)),
        Export(subjects.metrics(any_pool)),
        Export(f"{subjects.prefix}.dlq.{Source.DISPATCH}.*"),
        Export(CALLER_INBOXES),
        Export(ACCOUNT_INFO),
        Export(info),
        Export(pull, many_answers=True),
        Export(acks),
        Export(f"{subjects.prefix}.cancel.*.*", service=False),
    )


def api(stream: StreamSettings) -> Grants:
    """The runtime API: queues invocations, takes them back, waits for answers, looks into stream and results.

    It may also delete a message of the stream: that is how dead letters are dropped. Of what activators share it reads
    one key: where its ledger starts.
    """
    prefix = stream.subjects.prefix
    return Grants(
        publish=(
            f"{prefix}.invoke.*",
            f"{prefix}.cancel.*",
            *_read(stream.name),
            *_read(bucket.stream_name(bucket.INVOCATIONS)),
            f"$JS.API.STREAM.MSG.GET.{bucket.stream_name(bucket.ACTIVATOR)}",
            f"$JS.API.STREAM.MSG.DELETE.{stream.name}",
        ),
        listen=(),
        inbox_prefix=API_INBOX,
    )


def activator(stream: StreamSettings, consumer: str) -> Grants:
    """The activator: takes from its own `consumer`, dispatches to all workers, answers what it cannot dispatch.

    It also empties and deletes the consumers of lost workers, and shares what it knows in a bucket.
    """
    prefix, shared = stream.subjects.prefix, bucket.stream_name(bucket.ACTIVATOR)
    return Grants(
        publish=(
            f"{prefix}.dispatch.*.*",
            f"{prefix}.result.*",
            f"{prefix}.dlq.{Source.INVOCATION}.*",
            f"{prefix}.cancel.*.*",
            CALLER_INBOXES,
            *_consume(stream.name, consumer),
            *_read(stream.name),
            *_manage_consumers(stream.name),
            f"$JS.API.CONSUMER.PAUSE.{stream.name}.*",
            *_read(shared),
            bucket.subject(bucket.ACTIVATOR, ">"),
        ),
        listen=(f"{prefix}.cancel.*",),
        inbox_prefix=f"{PLATFORM_INBOX}.activator",
    )


def result_store(stream: StreamSettings) -> Grants:
    """The result store: takes results, and keeps them in their bucket."""
    return Grants(
        publish=(
            *_consume(stream.name, RESULT_STORE_CONSUMER),
            *_read(bucket.stream_name(bucket.INVOCATIONS)),
            bucket.subject(bucket.INVOCATIONS, ">"),
        ),
        listen=(),
        inbox_prefix=f"{PLATFORM_INBOX}.results",
    )


def owner(stream: StreamSettings) -> Grants:
    """The owner of stream and buckets: creates them, and the durable consumers of the others."""
    streams = (stream.name, bucket.stream_name(bucket.INVOCATIONS), bucket.stream_name(bucket.ACTIVATOR))
    made = (f"$JS.API.STREAM.{verb}.{name}" for name in streams for verb in ("INFO", "CREATE"))
    look = f"$JS.API.STREAM.MSG.GET.{stream.name}"
    return Grants((*made, look, *_manage_consumers(stream.name)), (), f"{PLATFORM_INBOX}.owner")


def reader(stream: StreamSettings) -> Grants:
    """A person or a program that looks on: all messages, live and stored; publishes none.

    For trusted people: who may create a consumer may also have the server deliver to a subject of its choice, and who
    may fetch from any consumer may keep its message waiting.
    """
    api, name = "$JS.API", stream.name
    return Grants(
        publish=(
            ACCOUNT_INFO,
            f"{api}.STREAM.NAMES",
            f"{api}.STREAM.LIST",
            f"{api}.STREAM.INFO.{name}",
            f"{api}.STREAM.MSG.GET.{name}",
            f"{api}.CONSUMER.NAMES.{name}",
            f"{api}.CONSUMER.LIST.{name}",
            f"{api}.CONSUMER.INFO.{name}.*",
            f"{api}.CONSUMER.CREATE.{name}",
            f"{api}.CONSUMER.MSG.NEXT.{name}.*",
        ),
        listen=(f"{stream.subjects.prefix}.>",),
        inbox_prefix=f"{PLATFORM_INBOX}.reader",
    )


def admin() -> Grants:
    """Everything in the queue's account: for the person who runs the platform, and for scenarios."""
    return Grants((">",), (">",), "_INBOX")


def _consume(stream: str, durable: str) -> tuple[str, str, str]:
    """What it takes to consume from a durable consumer that exists: its state, pull requests, acks."""
    return (
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
    )


def _read(stream: str) -> tuple[str, ...]:
    """What it takes to read a stream: single messages, and following it by a consumer for the time."""
    return (
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
    )


def _manage_consumers(stream: str) -> tuple[str, ...]:
    """What it takes to list, make and delete the durable consumers of a stream."""
    return (
        f"$JS.API.CONSUMER.NAMES.{stream}",
        f"$JS.API.CONSUMER.INFO.{stream}.*",
        f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*",
        f"$JS.API.CONSUMER.CREATE.{stream}.>",
        f"$JS.API.CONSUMER.DELETE.{stream}.*",
    )
