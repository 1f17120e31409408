"""What the machine and Python allow at best: each part of a sidecar's client work by itself, with the lean clients.

They run in this process, under uvloop; its CPU time is the client's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.bench.floor_sidecar import ECHO
from tests.bench.lean_http import LeanPost
from tests.bench.lean_jetstream import make_consumer, publish_all, pull_and_ack
from tests.bench.processes import READY_POLL_S, STREAM, Site, cpu_us
from tests.bench.workload import dispatches

FLOOR_TIMEOUT_S: Final = 30.0
CONNECTIONS: Final = 16
PUBLISHES: Final = 3
"""An invocation's messages to the stream: result, started, finished."""


@dataclass(frozen=True, slots=True)
class Used:
    """CPU microseconds per message or request, of this process and of the other one."""

    client_us: float
    server_us: float


@dataclass(frozen=True, slots=True)
class Floors:
    """One measurement of all floors. Times are seconds for one round trip."""

    publish: Used
    pull_ack: Used
    post: Used
    post_s: tuple[float, ...]
    request_s: tuple[float, ...]

    @property
    def sidecar_us(self) -> float:
        """CPU that a sidecar's client work costs at least, per invocation."""
        return PUBLISHES * self.publish.client_us + self.pull_ack.client_us + self.post.client_us

    @property
    def nats_us(self) -> float:
        """CPU that this costs nats-server at least."""
        return PUBLISHES * self.publish.server_us + self.pull_ack.server_us


async def floors(site: Site, count: int, paced: int) -> Floors:
    """Measure with `count` messages where they are pipelined, with `paced` round trips where they are not."""
    async with asyncio.timeout(FLOOR_TIMEOUT_S):
        messages = list(dispatches([f"floor-{number}" for number in range(count)]))
        publish = await used(site.server.pid, count, lambda: publish_all(site.nats, messages))
        await make_consumer(site.nats, STREAM, "bench-floor")
        pull = await used(site.server.pid, count, lambda: pull_and_ack(site.nats, STREAM, "bench-floor", count))
        body = messages[0][1]
        post = await used(site.framework.pid, count, lambda: post_all(site.socket_path, body, count))
        post_s = await post_round_trips(site.socket_path, body, paced)
        async with site.sidecar("floor", 1):
            request_s = await request_round_trips(site, body, paced)
    return Floors(publish, pull, post, post_s, request_s)


async def used(server_pid: int, count: int, work: Callable[[], Awaitable[None]]) -> Used:
    """CPU per message while `work` sends `count` of them."""
    server, client = cpu_us(server_pid), time.process_time()
    await work()
    client, server = time.process_time() - client, cpu_us(server_pid) - server
    return Used(client * 1e6 / count, server / count)


async def post_all(socket_path: str, body: bytes, count: int) -> None:
    """Post `count` times on some connections at once."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    connections = [await LeanPost.connect(socket_path) for _ in range(CONNECTIONS)]
    sent = answered = 0

    def post(connection: LeanPost) -> None:
        nonlocal sent
        if sent < count:
            sent += 1
            connection.post(body, lambda _answer: on_answer(connection))

    def on_answer(connection: LeanPost) -> None:
        nonlocal answered
        answered += 1
        if answered == count:
            done.set_result(None)
        post(connection)

    for connection in connections:
        post(connection)
    await done
    for connection in connections:
        connection.close()


async def post_round_trips(socket_path: str, body: bytes, count: int) -> tuple[float, ...]:
    """Seconds from each POST to its answer, one after the other."""
    connection = await LeanPost.connect(socket_path)
    seconds = await round_trips(count, lambda answered: connection.post(body, answered))
    connection.close()
    return seconds


async def request_round_trips(site: Site, body: bytes, count: int) -> tuple[float, ...]:
    """Seconds from each request on core NATS to its reply by another process."""
    while not await site.nats.request(ECHO, body):  # noqa: ASYNC110 - nobody listens yet, and nothing says when
        await asyncio.sleep(READY_POLL_S)
    return await round_trips(count, lambda answered: site.nats.ask(ECHO, body, answered))


async def round_trips(count: int, send: Callable[[Callable[[bytes], None]], None]) -> tuple[float, ...]:
    """Send `count` times, each in the callback that the answer before it called."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    seconds: list[float] = []
    began = time.perf_counter()

    def answered(_answer: bytes) -> None:
        nonlocal began
        now = time.perf_counter()
        seconds.append(now - began)
        if len(seconds) == count:
            done.set_result(None)
        else:
            began = now
            send(answered)

    send(answered)
    await done
    return tuple(seconds)
