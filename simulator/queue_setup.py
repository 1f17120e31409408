"""What the owner of the queue makes in it, so that all other roles only have to bind to it."""

from sidecar.queue import Queue
from simulator.activator.settings import ActivatorSettings
from simulator.jetstream.bucket import ACTIVATOR, INVOCATIONS, BucketSettings, ensure_bucket
from simulator.results.store import store_consumer


async def make_queue(owner: Queue, activator: ActivatorSettings) -> None:
    """Make the stream, the buckets, and the consumers of activators and result store; what is there stays.

    Raises:
        QueueError: the server refuses or does not answer.
    """
    await owner.ensure_stream()
    await ensure_bucket(owner, BucketSettings(INVOCATIONS, max_age_s=owner.stream.max_age_s))
    await ensure_bucket(owner, BucketSettings(ACTIVATOR))
    for consumer in (activator.consumer(owner.subjects), store_consumer(owner.subjects)):
        await (await owner.consumer(consumer)).close()
