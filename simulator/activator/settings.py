"""What can be chosen about an activator (contract 9.1); times are seconds."""

from dataclasses import dataclass
from typing import Final

from sidecar.deliveries import ConsumerSettings
from sidecar.subjects import ACTIVATOR_CONSUMER, Subjects

HEARTBEATS_MISSED: Final = 3
"""A worker that is silent for so many heartbeat intervals is lost (A13)."""


@dataclass(frozen=True, slots=True)
class ActivatorSettings:
    """`ack_wait_s` is how soon another activator takes over what one held when it died (A18).

    `max_held` and `max_held_bytes` bound what one activator holds of all pools; more stays in the stream. `capacity` is
    how many invocations a worker has at once, `gpu_budget` how many GPUs all workers may use together (None: no limit).
    `result_grace_s` is how long after its budget an invocation that a worker was given is decided without it.
    """

    consumer_name: str = ACTIVATOR_CONSUMER
    worker_ready_wait_s: float = 120.0
    ack_wait_s: float = 15.0
    max_held: int = 20_000
    max_held_bytes: int = 256 * 1024 * 1024
    heartbeat_interval_s: float = 15.0
    capacity: int = 1
    lease_s: float = 5.0
    gpu_budget: int | None = None
    result_grace_s: float = 30.0

    @property
    def silence_s(self) -> float:
        """After so long without a sign of life a worker is lost."""
        return HEARTBEATS_MISSED * self.heartbeat_interval_s

    def consumer(self, subjects: Subjects) -> ConsumerSettings:
        """The ingress consumer: all pools' invocations (contract 2.5). Activators bound what they hold themselves."""
        return ConsumerSettings(
            durable=self.consumer_name,
            filter_subject=subjects.invoke("*"),
            ack_wait_s=self.ack_wait_s,
            max_ack_pending=-1,
        )
