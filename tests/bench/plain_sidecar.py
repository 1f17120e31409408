"""The sidecar as one writes it first: `python -m tests.bench.plain_sidecar`, settings as the real one's.

nats-py and aiohttp as their documentation shows them, the standard library's JSON and event loop; each of
SERVERLESS_MAX_CONCURRENCY tasks fetches one dispatch, and awaits one step after the other. It says on the wire what the
real one says, and does without what makes a sidecar sound: checks, limits, retries, memory, drain.
"""

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import nats
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NoMessage
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from tests.bench.plain_tasks import raise_first, work_until

HEALTH_RETRY_S = 0.02
FETCH_WAIT_S = 2.0
ACK_WAIT_S = 300.0


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True)
class Sidecar:
    """One worker's connections."""

    jetstream: JetStreamContext
    client: Any
    session: aiohttp.ClientSession
    prefix: str
    pool: str
    worker: str
    namespace: str

    async def store(self, family: str, message: dict[str, Any], message_id: str) -> None:
        subject = f"{self.prefix}.{family}.{self.pool}"
        await self.jetstream.publish(subject, json.dumps(message).encode(), headers={"Nats-Msg-Id": message_id})

    async def report(self, event: str, invocation_id: str, reported_at: str, **more: Any) -> None:
        message = {
            "version": "v1",
            "serverlessRequestID": self.pool,
            "workerName": self.worker,
            "workerNamespace": self.namespace,
            "invocationID": invocation_id,
            "eventType": event,
            "reportedAt": reported_at,
        }
        await self.store("metrics", message | more, f"metric-{invocation_id}-{event}")

    async def handle(self, message: Msg) -> None:
        dispatch = json.loads(message.data)
        invocation_id, started_at = dispatch["invocationID"], now()
        await self.report("invocation_started", invocation_id, started_at, inflight=1)
        hidden = ("replySubject", "resultSubject", "metricsSubject")
        request = {name: value for name, value in dispatch.items() if name not in hidden} | {"state": "running"}
        async with self.session.post("http://serverless-framework/invoke", json=request) as response:
            envelope = await response.json()
        completed_at = now()
        copied = ("invocationID", "serverlessRequestID", "mode", "replySubject", "workerName", "workerNamespace")
        result = {name: dispatch[name] for name in copied if name in dispatch} | envelope
        result |= {"version": "v1", "state": "succeeded", "startedAt": started_at, "completedAt": completed_at}
        await self.store("result", result, f"result-{invocation_id}")
        if dispatch.get("replySubject"):
            await self.client.publish(dispatch["replySubject"], json.dumps(result).encode())
        await self.report("invocation_finished", invocation_id, completed_at, statusCode=envelope["statusCode"])
        await message.ack()

    async def work(self, consumer: str, stream: str) -> None:
        subscription = await self.jetstream.pull_subscribe_bind(consumer, stream)
        while True:
            try:
                [message] = await subscription.fetch(1, timeout=FETCH_WAIT_S)
            except NoMessage:
                continue
            await self.handle(message)


async def healthy(session: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with session.get("http://serverless-framework/healthz") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            await asyncio.sleep(HEALTH_RETRY_S)


async def main() -> None:
    """Work until SIGTERM."""
    env = {name.removeprefix("SERVERLESS_"): value for name, value in os.environ.items()}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    concurrency = int(env["MAX_CONCURRENCY"])
    prefix, pool, worker = env["SUBJECT_PREFIX"], env["REQUEST_ID"], env["WORKER_NAME"]
    stream, consumer = env["STREAM_NAME"], env["WORKER_CONSUMER_NAME"]
    client = await nats.connect(env["NATS_URL"])
    jetstream = client.jetstream()
    connector = aiohttp.UnixConnector(env["FRAMEWORK_SOCKET_PATH"], limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        await healthy(session)
        subject = f"{prefix}.dispatch.{pool}.{worker}"
        config = ConsumerConfig(
            durable_name=consumer, filter_subject=subject, ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT_S
        )
        await jetstream.add_consumer(stream, config)
        sidecar = Sidecar(jetstream, client, session, prefix, pool, worker, env["WORKER_NAMESPACE"])
        outcomes = await work_until(stop, [sidecar.work(consumer, stream) for _ in range(concurrency)])
    await client.close()
    raise_first(outcomes)


if __name__ == "__main__":
    asyncio.run(main())
