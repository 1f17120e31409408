"""The activator as one writes it first: `python -m tests.bench.plain_activator`, settings as the plain sidecar's.

nats-py as its documentation shows it, the standard library's JSON and event loop; each of SERVERLESS_ACTIVATOR_TASKS
tasks fetches one invocation, gives it to the next of SERVERLESS_WORKERS, and acknowledges it. With one task that is
what one writes at the very first, and what the contract describes (A2). It knows of no worker's readiness, room or
loss, and makes none.
"""

import asyncio
import itertools
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import nats
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NoMessage
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from tests.bench.plain_sidecar import ACK_WAIT_S, FETCH_WAIT_S, now
from tests.bench.plain_tasks import raise_first, work_until

CONSUMER = "runtime-activator"


@dataclass(frozen=True)
class Activator:
    """The connection, and whose turn it is."""

    jetstream: JetStreamContext
    stream: str
    prefix: str
    namespace: str
    turns: Iterator[str]

    async def handle(self, message: Msg) -> None:
        invocation = json.loads(message.data)
        invocation_id, pool, worker = invocation["invocationID"], invocation["serverlessRequestID"], next(self.turns)
        dispatch = {name: value for name, value in invocation.items() if name != "enqueuedAt"}
        dispatch |= {"workerName": worker, "workerNamespace": self.namespace, "state": "dispatching"}
        dispatch |= {"dispatchedAt": now()}
        headers = {"Nats-Msg-Id": f"dispatch-{invocation_id}-{worker}"}
        subject = f"{self.prefix}.dispatch.{pool}.{worker}"
        await self.jetstream.publish(subject, json.dumps(dispatch).encode(), headers=headers)
        await message.ack()

    async def work(self) -> None:
        subscription = await self.jetstream.pull_subscribe_bind(CONSUMER, self.stream)
        while True:
            try:
                [message] = await subscription.fetch(1, timeout=FETCH_WAIT_S)
            except NoMessage:
                continue
            await self.handle(message)


async def main() -> None:
    """Work until SIGTERM."""
    env = {name.removeprefix("SERVERLESS_"): value for name, value in os.environ.items()}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await nats.connect(env["NATS_URL"])
    jetstream = client.jetstream()
    stream, prefix = env["STREAM_NAME"], env["SUBJECT_PREFIX"]
    config = ConsumerConfig(
        durable_name=CONSUMER, filter_subject=f"{prefix}.invoke.*", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S
    )
    await jetstream.add_consumer(stream, config)
    turns = itertools.cycle(env["WORKERS"].split(","))
    activator = Activator(jetstream, stream, prefix, env["WORKER_NAMESPACE"], turns)
    outcomes = await work_until(stop, [activator.work() for _ in range(int(env["ACTIVATOR_TASKS"]))])
    await client.close()
    raise_first(outcomes)


if __name__ == "__main__":
    asyncio.run(main())
