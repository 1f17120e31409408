"""A worker's durable consumer as the platform makes it (contract 2.5), for the issuer and the activators' leader."""

from typing import Final

from sidecar.concurrency import max_ack_pending
from sidecar.deliveries import ConsumerSettings
from sidecar.queue import Queue
from sidecar.subjects import sidecar_consumer
from simulator.jetstream.consumers import consumer_state
from simulator.jetstream.stored import last_sequence

DISPATCH_ACK_WAIT_S: Final = 300.0
"""Silence after which a dispatch is delivered again (contract 2.5); a sidecar sends in-progress acks meanwhile."""

DEFAULT_CONCURRENCY: Final = 1
"""Calls that a worker runs at once unless it is told otherwise."""


async def make_worker_consumer(queue: Queue, pool: str, worker: str, concurrency: int) -> int:
    """Make a worker's consumer if there is none, and return the sequence from which on it delivers.

    What was dispatched before, to another worker of this name, is not for this one (S13): the activators' leader moves
    it.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    durable, start = sidecar_consumer(worker), await last_sequence(queue) + 1
    settings = ConsumerSettings(
        durable=durable,
        filter_subject=queue.subjects.dispatch(pool, worker),
        ack_wait_s=DISPATCH_ACK_WAIT_S,
        max_ack_pending=max_ack_pending(concurrency),
        start_sequence=start,
    )
    consumer = await queue.consumer(settings)
    await consumer.close()  # it is the sidecar's; here it only had to be made
    made = await consumer_state(queue, durable)  # somebody else may have been faster
    return made.start if made else start
