"""A stream and a ledger in memory."""

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from sidecar.messages import InvocationMessage, decode
from sidecar.queue import Published, Queue, StreamSettings
from simulator.ledger.events import Ended, Entry
from simulator.ledger.follower import LedgerFollower


@dataclass(frozen=True)
class Publication:
    """What was given to the queue."""

    subject: str
    message_id: str
    message: InvocationMessage
    size: int
    headers: dict[str, str]


@dataclass
class StubQueue(Queue):
    """A stream in memory: records what is published, recognises a message id it has seen, and reads messages back.

    It answers sync invocations with `reply`, if that is set. `results` is the bucket of results, by key.
    """

    stream: StreamSettings = field(default_factory=StreamSettings)
    publications: list[Publication] = field(default_factory=list)
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    stored: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    limit: int = 1024 * 1024
    up: bool = True
    failure: Exception | None = None
    reply: bytes | None = None
    hangs: bool = False
    heard: dict[str, Callable[[str, bytes], None]] = field(default_factory=dict)
    published: asyncio.Event = field(default_factory=asyncio.Event)
    was_sent: asyncio.Event = field(default_factory=asyncio.Event)
    sequences: dict[str, int] = field(default_factory=dict)

    @property
    def max_payload(self) -> int:
        return self.limit

    @property
    def connected(self) -> bool:
        return self.up

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5,
    ) -> Published:
        self.published.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        duplicate = message_id in self.sequences
        if duplicate:
            return Published(self.stream.name, self.sequences[message_id], True)
        message = decode(data, InvocationMessage)
        self.sequences[message_id] = self.store(subject, data)
        self.publications.append(Publication(subject, message_id, message, len(data), dict(headers or {})))
        if message.reply_subject and self.reply is not None:
            asyncio.get_running_loop().call_soon(self.deliver, message.reply_subject, self.reply)
        return Published(self.stream.name, self.sequences[message_id], False)

    def store(self, subject: str, data: bytes) -> int:
        """Have the stream hold a message more; return its sequence."""
        sequence = len(self.stored) + 1
        self.stored[sequence] = subject, data
        return sequence

    def deliver(self, subject: str, body: bytes) -> None:
        """Have whoever listens hear a message."""
        for pattern, receive in self.heard.items():
            if subject.startswith(pattern.removesuffix("*")):
                receive(subject, body)

    async def hear(self, subject: str, receive: Callable[[str, bytes], None]) -> None:
        await asyncio.sleep(0)
        self.heard[subject] = receive

    def new_inbox(self) -> str:
        return "_INBOX.stub.inbox"

    async def send(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        if self.failure is not None:
            raise self.failure
        self.sent.append((subject, data))
        self.was_sent.set()

    async def request(self, subject: str, body: bytes, timeout_s: float = 5) -> bytes:
        """The JetStream API, as far as single messages and the state of the stream go."""
        if self.failure is not None:
            raise self.failure
        operation, _, stream = subject.removeprefix("$JS.API.STREAM.").rpartition(".")
        if operation == "INFO":
            return msgspec.json.encode({"state": {"first_seq": 1, "last_seq": max(self.stored, default=0)}})
        assert operation == "MSG.GET"
        wanted = msgspec.json.decode(body)
        pattern = wanted.get("last_by_subj", "")
        if stream == self.stream.name:
            found = [(seq, *self.stored[seq]) for seq in self.stored if pattern or seq == wanted["seq"]]
        else:
            held = [(f"$KV.RUNTIME_INVOCATIONS.{key}", value) for key, value in self.results.items()]
            found = [(1, name, value) for name, value in held if name.endswith(pattern.rpartition("*")[2])]
        if not found:
            return b'{"error":{"code":404,"description":"no message found"}}'
        sequence, name, data = found[-1]
        encoded = base64.b64encode(data).decode()
        message = {"subject": name, "seq": sequence, "data": encoded, "time": "2026-03-04T05:06:07Z"}
        return msgspec.json.encode({"message": message})


class StubFollower(LedgerFollower):
    """A ledger that tests write; `late` keeps it behind the stream."""

    def __init__(self, queue: StubQueue) -> None:
        super().__init__(queue)
        self.late = False
        self.waits: asyncio.Queue[str] = asyncio.Queue()
        """The invocations whose end somebody began to wait for."""
        self._stub = queue

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def caught_up(self, sequence: int, timeout_s: float) -> None:
        if self.late:
            raise TimeoutError

    async def wait_ended(self, invocation_id: str, timeout_s: float) -> Ended | None:
        self.waits.put_nowait(invocation_id)
        return await super().wait_ended(invocation_id, timeout_s)

    def take(self, entry: Entry) -> None:
        """Have the ledger take in an entry."""
        self._take(entry, max(self._stub.stored, default=0))

    def end(self, invocation_id: str, pool: str, result: bytes) -> None:
        """Store an invocation's result, and have the ledger know."""
        self.take(Ended(invocation_id, pool, self._stub.store(f"runtime.serverless.result.{pool}", result)))
