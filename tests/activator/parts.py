"""The parts of an activator that hold, give out and dispatch, on a stub queue or a real one, without the leader's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from sidecar.messages import (
    Event,
    InvocationMessage,
    InvocationResultMessage,
    WorkerDispatchMessage,
    WorkerMetricMessage,
    decode,
    utc_now,
)
from sidecar.queue import Published, Queue, QueueError, QueueUnavailableError, StreamSettings
from sidecar.requests import Answer
from sidecar.subjects import dispatch_token
from simulator.activator.answers import Answers
from simulator.activator.dispatcher import Dispatcher
from simulator.activator.fates import Fail
from simulator.activator.fleet import Condition, FleetSettings
from simulator.activator.held import Held, HeldInvocations
from simulator.activator.roster import Roster
from simulator.activator.router import Router
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.informer import Informer, key_of
from simulator.kube.kinds import GPUUNIT, POD, Kind, Object
from simulator.ledger.events import Dispatched, Ended, Entry, Queued
from simulator.ledger.follower import LedgerFollower
from simulator.ledger.ledger import Ledger

WAIT_S = 20.0
ACK_WAIT_S = 15.0


async def until(condition: Callable[[], object]) -> None:
    """Wait until something of this process holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - whatever it is, it happens in one of the next turns
            await asyncio.sleep(0)


async def turns(count: int = 50) -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)


def unit(name: str, pool: str = "p", **fields: Any) -> Object:
    """A unit as the cluster shows it."""
    return {
        "metadata": {"name": name, "namespace": ACTIVE_NAMESPACE, "uid": f"uid-{name}", **fields},
        "spec": {"serverless": {"enabled": True, "requestID": pool}},
        "status": {"phase": "Progressing"},
    }


def event(kind: str, worker: str, pool: str = "p") -> WorkerMetricMessage:
    """What a sidecar says of itself."""
    return WorkerMetricMessage(
        serverless_request_id=pool,
        worker_name=worker,
        worker_namespace=ACTIVE_NAMESPACE,
        event_type=kind,
        reported_at=utc_now(),
    )


def invocation(invocation_id: str, pool: str = "p", **fields: Any) -> InvocationMessage:
    """What the API queues."""
    fields = {"enqueued_at": utc_now(), "reply_subject": f"_INBOX.{invocation_id}", **fields}
    return InvocationMessage(invocation_id=invocation_id, serverless_request_id=pool, **fields)


class Shown(Informer):
    """An informer that shows what the test says."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(cast("Any", None), kind)

    def show(self, obj: Object) -> None:
        self._objects[key_of(obj)] = obj
        self._announce(key_of(obj))

    def hide(self, name: str) -> None:
        del self._objects[ACTIVE_NAMESPACE, name]
        self._announce((ACTIVE_NAMESPACE, name))


@dataclass
class StubClaim:
    """What the queue hears of a message."""

    heard: list[str] = field(default_factory=list)
    refuses: QueueError | None = None

    def _hear(self, what: str) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.heard.append(what)

    def ack_unconfirmed(self) -> None:
        self._hear("ack")

    async def in_progress(self) -> None:
        self._hear("in progress")

    async def nak(self, delay_s: float = 0) -> None:
        self._hear("nak")


@dataclass(frozen=True)
class Sent:
    """A dispatch on its way to the stream; the test says what comes of it."""

    subject: str
    message_id: str
    headers: Mapping[str, str]
    dispatch: WorkerDispatchMessage
    answer: Answer

    @property
    def pair(self) -> tuple[str, str]:
        return self.dispatch.invocation_id, self.dispatch.worker_name

    def stored(self, sequence: int = 1_000_000) -> None:
        """By default the ledger is far behind."""
        self.answer.set_result(msgspec.json.encode({"stream": "S", "seq": sequence, "duplicate": False}))

    def refused(self, code: int = 400, err_code: int = 1) -> None:
        error = {"code": code, "err_code": err_code, "description": "not this one"}
        self.answer.set_result(msgspec.json.encode({"error": error}))

    def lost(self) -> None:
        self.answer.set_exception(QueueUnavailableError("no answer in time"))


class StubQueue:
    """Records what is published. While `away`, every request fails; `newest` is the last message of any subject."""

    def __init__(self) -> None:
        self.stream = StreamSettings()
        self.subjects = self.stream.subjects
        self.max_payload = 1024 * 1024
        self.connected = True
        self.away = False
        self.refuses: QueueError | None = None
        self.newest = 0
        self.sent: list[Sent] = []
        self.published: list[tuple[str, str, bytes]] = []
        self.replies: list[tuple[str, bytes]] = []
        self.asked = 0

    def start_publish(
        self, subject: str, data: bytes, message_id: str, headers: Mapping[str, str], answer: Answer
    ) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.sent.append(Sent(subject, message_id, dict(headers), decode(data, WorkerDispatchMessage), answer))

    async def publish(
        self, subject: str, data: bytes, *, message_id: str = "", headers: Mapping[str, str] | None = None
    ) -> Published:
        self.published.append((subject, message_id, data))
        return Published("S", len(self.published), duplicate=False)

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.replies.append((subject, data))

    async def request(self, subject: str, body: bytes, timeout_s: float = 5) -> bytes:
        self.asked += 1
        if self.away:
            raise QueueUnavailableError("no answer in time")
        if ".STREAM.INFO." in subject:
            return msgspec.json.encode({"state": {"first_seq": 1, "last_seq": self.newest}})
        if not self.newest:
            return b'{"error":{"code":404}}'
        return msgspec.json.encode(
            {"message": {"subject": subject, "seq": self.newest, "time": utc_now()}},
        )

    def results(self) -> list[InvocationResultMessage]:
        return [decode(data, InvocationResultMessage) for subject, _, data in self.published if ".result." in subject]


class StubFollower:
    """A ledger that the test fills; while `behind`, or its queue is away, it does not reach the present."""

    def __init__(self, queue: StubQueue) -> None:
        self._queue = queue
        self.ledger = Ledger()
        self.on_change: list[Callable[[str], None]] = []
        self.behind = False

    async def catch_up(self, timeout_s: float) -> None:
        await self._queue.request("$JS.API.STREAM.INFO.S", b"")
        if self.behind:
            raise TimeoutError


class Parts:
    """The parts, put together as the activator does. `skew` is added to their clock; `alone` is theirs to believe."""

    def __init__(self, queue: Queue, follower: LedgerFollower, *, capacity: int = 1, ack_wait_s: float = ACK_WAIT_S):
        clock = asyncio.get_running_loop().time
        self.skew = 0.0
        self.alone = True
        self.given_up: dict[str, tuple[str, int]] = {}
        self.follower = follower
        self.ledger = follower.ledger
        self.units, self.pods = Shown(GPUUNIT), Shown(POD)
        self.roster = Roster(self.units, self.pods, self.ledger, FleetSettings(capacity=capacity))
        self.held = HeldInvocations(ack_wait_s, lambda: clock() + self.skew, lambda: queue.connected)
        self.answers = Answers(queue, "runtime-activator")
        self.router = Router(
            self.ledger, self.roster, self.held, self.answers, lambda pool: self.given_up.get(pool, ("", 0))
        )
        self.tasks = asyncio.TaskGroup()
        self.dispatcher = Dispatcher(
            queue, follower, self.held, self._is_live, lambda: self.alone, self._answer, self.router.look_at
        )
        self.roster.on_change = self.router.look_at
        follower.on_change.append(self._invocation_changed)

    def _is_live(self, name: str) -> bool:
        worker = self.roster.worker(name)
        return worker is not None and worker.condition is Condition.LIVE

    def _answer(self, held: Held, failure: Fail) -> None:
        self.router.answer(held, failure, self.tasks)

    def _invocation_changed(self, invocation_id: str) -> None:
        self.dispatcher.ledger_changed(invocation_id)
        self.router.ledger_changed(invocation_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Route while the block runs; whatever would have ended the activator is raised."""
        async with self.tasks as tasks:
            parts = [tasks.create_task(part) for part in self.loops()]
            try:
                yield
            finally:
                for part in parts:
                    part.cancel()

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs until it is cancelled."""
        return [self.router.run(self.dispatcher, self.tasks)]

    def worker(self, name: str, pool: str = "p") -> None:
        """A worker comes up, without ports or URL (A5)."""
        self.units.show(unit(name, pool))
        self.say(Event.REGISTERED, name, pool)

    def say(self, kind: str, worker: str, pool: str = "p") -> None:
        """A worker's event reaches the activator."""
        said = event(kind, worker, pool)
        self.roster.hear(said, said.reported_at.timestamp())


class Bench(Parts):
    """The parts on stubs: the test is the stream."""

    def __init__(self, *, capacity: int = 1) -> None:
        self.queue = StubQueue()
        self.stub = StubFollower(self.queue)
        self.sequence = 0
        super().__init__(cast("Queue", self.queue), cast("LedgerFollower", self.stub), capacity=capacity)

    def enter(self, entry: Entry) -> None:
        """The ledger takes an entry in."""
        changed = self.ledger.apply(entry)
        self.ledger.position = self.sequence
        for callback in self.follower.on_change if changed else ():
            callback(changed or "")

    def next(self) -> int:
        self.sequence += 1
        return self.sequence

    def queued(self, invocation_id: str, pool: str = "p") -> None:
        """The ledger hears of an invocation."""
        self.enter(Queued(invocation_id, pool, self.next()))

    def arrive(self, message: InvocationMessage, **fields: Any) -> StubClaim:
        """The ingress holds an invocation."""
        claim = StubClaim()
        held = Held(message, claim, fields.pop("sequence", 0) or self.next(), 100, **fields)
        self.held.add(held)
        self.router.arrived(held)
        return claim

    def invoke(self, invocation_id: str, pool: str = "p", **fields: Any) -> StubClaim:
        """An invocation is queued, known to the ledger, and held."""
        self.queued(invocation_id, pool)
        return self.arrive(invocation(invocation_id, pool, **fields), sequence=self.sequence)

    def known(self, sent: Sent) -> None:
        """The ledger hears of a dispatch."""
        pool = sent.dispatch.serverless_request_id
        attempt = int(sent.headers.get("Serverless-Attempt", "1"))
        worker = dispatch_token(sent.dispatch.worker_name)
        self.enter(Dispatched(sent.dispatch.invocation_id, pool, self.next(), worker, attempt))

    def ended(self, invocation_id: str, pool: str = "p") -> None:
        """The ledger hears of a result."""
        self.enter(Ended(invocation_id, pool, self.next()))

    async def given_out(self, count: int) -> list[Sent]:
        """Wait until so many dispatches were sent, and no more are."""
        await until(lambda: len(self.queue.sent) >= count)
        await turns()
        assert len(self.queue.sent) == count, self.queue.sent
        return self.queue.sent

    def nothing_left(self) -> None:
        """Nothing is held, in any line or out of one."""
        assert (self.held.count, self.held.size, self.held.all(), self.held.pools()) == (0, 0, [], [])
