"""The platform's one stream and its durable consumers, as JetStream is told of them (contract 2.3 and 2.5)."""

from dataclasses import dataclass, field

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig

from sidecar.deliveries import ConsumerSettings
from sidecar.subjects import DEFAULT_STREAM, Subjects


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The one stream of the platform (contract 2.3). Times are seconds."""

    name: str = DEFAULT_STREAM
    subjects: Subjects = field(default_factory=Subjects)
    replicas: int = 1
    max_age_s: float = 72 * 3600
    duplicate_window_s: float = 24 * 3600
    max_bytes: int = -1
    """How much is kept; the oldest goes first. -1: no limit (Q8)."""

    def __post_init__(self) -> None:
        if self.duplicate_window_s > self.max_age_s:
            raise ValueError("the stream's duplicate window must not be longer than its max age")


def consumer_config(settings: ConsumerSettings) -> ConsumerConfig:
    """The consumer as it is made."""
    return ConsumerConfig(
        durable_name=settings.durable,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE if settings.start_sequence else DeliverPolicy.ALL,
        opt_start_seq=settings.start_sequence or None,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=settings.ack_wait_s,
        filter_subject=settings.filter_subject,
        max_ack_pending=settings.max_ack_pending,
    )


def stream_config(settings: StreamSettings) -> StreamConfig:
    """The stream as it is made."""
    return StreamConfig(
        name=settings.name,
        subjects=settings.subjects.families(),
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=max(settings.replicas, 1),
        max_age=settings.max_age_s,
        duplicate_window=settings.duplicate_window_s,
        max_bytes=settings.max_bytes,
        allow_msg_ttl=True,
    )


def differs(found: ConsumerConfig, wanted: ConsumerConfig) -> bool:
    """Whether a consumer that is there behaves otherwise than the wanted one."""
    return (found.filter_subject, found.ack_wait, found.max_ack_pending) != (
        wanted.filter_subject,
        wanted.ack_wait,
        wanted.max_ack_pending,
    )
