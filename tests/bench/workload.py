"""The two measurements of a sidecar: a backlog worked off, and one invocation after the other.

Both see the sidecar from outside only. For a backlog, the warm sidecar is stopped (SIGSTOP) while the dispatches are
stored, so that publishing them is in nobody's figures and the clock starts with a full queue.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from simulator.processes.process import Process
from tests.bench.floor_sidecar import POSTS
from tests.bench.lean_jetstream import consumer_state, publish_all, read_stream
from tests.bench.lean_nats import LeanNatsError
from tests.bench.processes import CONSUMER, DISPATCH, NAMESPACE, POOL, PREFIX, STREAM, WORKER, Site, go_on, stop
from tests.bench.verification import outcomes, problems

RUN_TIMEOUT_S: Final = 60.0
"""From the sidecar's start to its last reply; a default run takes up to 10 s."""
POLL_S: Final = 0.01
"""How often the server is asked whether all is done: 1 % of a core, and no event tells it without more load."""
NOBODY: Final = "_INBOX.bench.nobody"
PACED_WARM_UP: Final = 50

Message = tuple[bytes, bytes, bytes]


class IncorrectRunError(Exception):
    """A run did not do every invocation exactly once; `problems` has a line for each way in which."""

    def __init__(self, run: str, problems: list[str]) -> None:
        super().__init__(run)
        self.problems = [f"{run}: {problem}" for problem in problems]


@dataclass(frozen=True, slots=True)
class Backlog:
    """A backlog that was worked off: invocations per second, and CPU microseconds per invocation."""

    kind: str
    in_flight: int
    invocations: int
    per_second: float
    sidecar_us: float
    nats_us: float
    framework_us: float


@dataclass(frozen=True, slots=True)
class Paced:
    """One invocation after the other: seconds from each dispatch's publish to its reply.

    `post_s` are the seconds that the lean relay's POSTs took on the way; others do not tell.
    """

    kind: str
    seconds: tuple[float, ...]
    post_s: tuple[float, ...] = ()


async def backlog(site: Site, kind: str, in_flight: int, count: int) -> Backlog:
    """Have a sidecar of a kind work off `count` dispatches, `in_flight` at a time.

    Raises:
        IncorrectRunError: not each of them exactly once, or not in time.
    """
    run = f"{kind}, {in_flight} in flight"
    warm_up = [f"warm-{number}" for number in range(2 * in_flight + count // 20)]
    measured = [f"inv-{number}" for number in range(count)]
    async with site.sidecar(kind, in_flight) as sidecar, in_time(run, sidecar):
        await publish_all(site.nats, dispatches(warm_up))
        await all_acknowledged(site, sidecar, len(warm_up))
        stop(sidecar)
        await publish_all(site.nats, dispatches(measured))
        before, began = site.cpu(sidecar), time.perf_counter()
        go_on(sidecar)
        await all_acknowledged(site, sidecar, len(warm_up) + count)
        took_s, used = time.perf_counter() - began, site.cpu(sidecar) - before
    await verify(site, run, warm_up + measured)
    cpu = (used.sidecar / count, used.nats / count, used.framework / count)
    return Backlog(kind, in_flight, count, count / took_s, *cpu)


async def paced(site: Site, kind: str, count: int) -> Paced:
    """Dispatch `count` invocations with a reply subject, each after the reply to the one before.

    Raises:
        IncorrectRunError: not each of them was done exactly once, or not in time.
    """
    run = f"{kind}, one at a time"
    inbox = site.nats.inbox + b"paced.reply"
    replies: asyncio.Queue[float] = asyncio.Queue()
    site.nats.subscribe(inbox, lambda _subject, _reply, _body: replies.put_nowait(time.perf_counter()))
    invocations = [f"paced-{number}" for number in range(PACED_WARM_UP + count)]
    seconds = []
    async with site.sidecar(kind, 1) as sidecar, in_time(run, sidecar):
        for subject, body, message_id in dispatches(invocations, inbox.decode()):
            began = time.perf_counter()
            site.nats.publish(subject, body, message_id=message_id)
            seconds.append(await replies.get() - began)
        post_s = msgspec.json.decode(await site.nats.request(POSTS, b"") or b"[]", type=list[float])
    if kind != "floor":  # which stores nothing
        await verify(site, run, invocations)
    return Paced(kind, tuple(seconds[PACED_WARM_UP:]), tuple(post_s[PACED_WARM_UP:]))


async def verify(site: Site, run: str, invocations: list[str]) -> None:
    """Check the stream and the consumer of a run whose sidecar has ended."""
    consumer = await consumer_state(site.nats, STREAM, CONSUMER)
    if found := problems(invocations, outcomes(await read_stream(site.nats, STREAM)), consumer):
        raise IncorrectRunError(run, found)


@asynccontextmanager
async def in_time(run: str, sidecar: Process) -> AsyncIterator[None]:
    """Bound a run; IncorrectRunError when it takes longer, and the sidecar did not end."""
    try:
        async with asyncio.timeout(RUN_TIMEOUT_S):
            yield
    except TimeoutError:
        if not sidecar.exit_code:
            raise IncorrectRunError(run, [f"not done after {RUN_TIMEOUT_S:g} s"]) from None


async def all_acknowledged(site: Site, sidecar: Process, total: int) -> None:
    """Return once the sidecar's consumer delivered so many and has them all acknowledged."""
    while sidecar.exit_code is None:
        try:
            state = await consumer_state(site.nats, STREAM, CONSUMER)
        except LeanNatsError:
            pass  # the sidecar has not made it yet
        else:
            if state.deliveries >= total and not state.num_pending and not state.num_ack_pending:
                return
        await asyncio.sleep(POLL_S)


def dispatches(invocations: list[str], reply: str = NOBODY) -> Iterator[Message]:
    """Dispatches of sync calls, some 500 bytes each, as subject, body and message id (contract 2.4 and 3.5)."""
    message = {
        "version": "v1",
        "serverlessRequestID": POOL,
        "workerName": WORKER,
        "workerNamespace": NAMESPACE,
        "mode": "sync",
        "state": "dispatching",
        "contentType": "application/json",
        "payload": {"prompt": "a lighthouse in fog", "steps": 4},
        "timeoutSeconds": 300,
        "resultSubject": f"{PREFIX}.result.{POOL}",
        "metricsSubject": f"{PREFIX}.metrics.{POOL}",
        "replySubject": reply,
    }
    for invocation_id in invocations:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = msgspec.json.encode(message | {"invocationID": invocation_id, "dispatchedAt": now})
        yield DISPATCH.encode(), body, f"dispatch-{invocation_id}-{WORKER}".encode()
