"""The least that can stand in a sidecar's place: `python -m tests.bench.floor_sidecar`, settings as the real one's.

It takes a dispatch, posts it to the framework, sends the answer to the reply subject and acknowledges: no result, no
event, no check. Only its time is a measure, and that of its POSTs, which it tells whoever asks `bench.posts`. It also
echoes `bench.echo`, for the round trip on core NATS.
"""

import asyncio
import os
import signal
import time

import msgspec
import uvloop

from tests.bench.lean_http import LeanPost
from tests.bench.lean_jetstream import Puller, make_consumer
from tests.bench.lean_nats import LeanNats

ECHO = b"bench.echo"
POSTS = b"bench.posts"


class Dispatch(msgspec.Struct):
    """The part of a dispatch that is read."""

    reply: str = msgspec.field(name="replySubject")


class Relay:
    """Passes one dispatch at a time from the queue to the framework, and its answer back."""

    def __init__(self, nats: LeanNats, framework: LeanPost) -> None:
        self._nats = nats
        self._framework = framework
        self._decoder = msgspec.json.Decoder(Dispatch)
        self.post_s: list[float] = []

    def on_dispatch(self, _subject: bytes, ack: bytes, body: bytes) -> None:
        reply = self._decoder.decode(body).reply.encode()

        def answered(answer: bytes) -> None:
            self.post_s.append(time.perf_counter() - began)
            self._nats.publish(reply, answer)
            self._nats.publish(ack, b"")

        began = time.perf_counter()
        self._framework.post(body, answered)


async def main() -> None:
    """Relay until SIGTERM."""
    env = {name.removeprefix("SERVERLESS_"): value for name, value in os.environ.items()}
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    nats = await LeanNats.connect(env["NATS_URL"])
    nats.subscribe(ECHO, lambda _subject, reply, body: nats.publish(reply, body))
    framework = await LeanPost.connect(env["FRAMEWORK_SOCKET_PATH"])
    relay = Relay(nats, framework)
    nats.subscribe(POSTS, lambda _subject, reply, _body: nats.publish(reply, msgspec.json.encode(relay.post_s)))
    stream, consumer = env["STREAM_NAME"], env["WORKER_CONSUMER_NAME"]
    subject = f"{env['SUBJECT_PREFIX']}.dispatch.{env['REQUEST_ID']}.{env['WORKER_NAME']}"
    await make_consumer(nats, stream, consumer, filter_subject=subject)
    Puller(nats, stream, consumer, relay.on_dispatch, batch=1)
    await stop.wait()
    framework.close()
    nats.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
