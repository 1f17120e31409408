"""A stream in memory that answers as JetStream does, and the routes of dead letters over it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.test_utils import TestClient

from sidecar.dead_letters import safe_payload
from sidecar.deliveries import Consumer
from sidecar.messages import DeadLetterMessage, encode
from sidecar.queue import (
    Published,
    Queue,
    StreamSettings,
)
from sidecar.stored import MESSAGE_ID_HEADER
from simulator.api import dead_letters as routes
from simulator.api.dead_letters import DeadLetterRoutes
from simulator.api.envelope import error_middleware

PATH = "/api/v1/serverless/dead-letters"
THEN = datetime(2026, 3, 4, 5, 9, tzinfo=UTC)
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
INVOCATION = (
    b'{"invocationID":"order-1","serverlessRequestID":"tts","mode":"sync","replySubject":"_INBOX.gone",'
    b'"payload":{"n": 1.50}}'
)


@dataclass(frozen=True)
class Message:
    subject: str
    data: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Seen:
    sequence: int
    consumer_sequence: int


@dataclass
class StubReader(Consumer):
    """Deliveries in batches, then nothing."""

    batches: list[list[Any]]
    closed: bool = False

    async def fetch(self, batch: int = 1, wait_s: float = 2.0) -> list[Any]:
        return self.batches.pop(0) if self.batches else []

    async def close(self) -> None:
        self.closed = True


@dataclass
class StubStream(Queue):
    """A stream in memory. `failures` are raised one by one by the requests of an operation such as `MSG.DELETE`."""

    stream: StreamSettings = field(default_factory=StreamSettings)
    messages: dict[int, Message] = field(default_factory=dict)
    last: int = 0
    up: bool = True
    failures: dict[str, list[Exception]] = field(default_factory=dict)
    readers: list[StubReader] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def connected(self) -> bool:
        return self.up

    def add(self, subject: str, data: bytes, headers: Mapping[str, str] | None = None) -> int:
        self.last += 1
        self.messages[self.last] = Message(f"runtime.serverless.{subject}", data, dict(headers or {}))
        return self.last

    def bury(
        self, original: bytes, *, source: str = "invocation", pool: str = "tts", stored: bool = True, **changes: Any
    ) -> int:
        """Store a message and its dead letter; the sequence of the latter."""
        sequence = self.add("invoke.tts", original, {"traceparent": PARENT})
        if not stored:
            del self.messages[sequence]
        fields: dict[str, Any] = {
            "source": source,
            "failure_class": "malformed_message",
            "error": "bad",
            "original_subject": "runtime.serverless.invoke.tts",
            "stream": "RUNTIME_SERVERLESS",
            "stream_sequence": sequence,
            "payload": safe_payload(original, 200),
            "failed_at": THEN,
        }
        return self.add(f"dlq.{source}.{pool}", encode(DeadLetterMessage(**fields | changes)))

    async def request(self, subject: str, body: bytes, timeout_s: float = 5) -> bytes:
        operation = subject.removeprefix("$JS.API.STREAM.").removesuffix(".RUNTIME_SERVERLESS")
        self.requests.append(operation)
        if self.failures.get(operation):
            raise self.failures[operation].pop(0)
        asked = json.loads(body)
        sequence = asked["seq"] if "seq" in asked else max(self.matching(asked["last_by_subj"]), default=0)
        found = self.messages.get(sequence)
        if found is None:
            return b'{"error":{"code":404,"description":"no message found"}}'
        if operation == "MSG.DELETE":
            del self.messages[sequence]
            return b'{"success":true}'
        headers = "NATS/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in found.headers.items()) + "\r\n"
        message = {
            "subject": found.subject,
            "seq": sequence,
            "time": THEN,
            "data": found.data,
            "hdrs": headers.encode(),
        }
        return msgspec.json.encode({"message": message})

    async def reader(
        self, subject: str, start_sequence: int, *, stream: str = "", headers_only: bool = False
    ) -> Consumer:
        assert headers_only
        seen = [Seen(sequence, number) for number, sequence in enumerate(self.matching(subject), 1)]
        self.readers.append(StubReader([seen[at : at + 2] for at in range(0, len(seen), 2)]))
        return self.readers[-1]

    def matching(self, pattern: str) -> list[int]:
        wanted = pattern.split(".")
        return [
            sequence
            for sequence, message in self.messages.items()
            if len(tokens := message.subject.split(".")) == len(wanted)
            and all(want in ("*", token) for want, token in zip(wanted, tokens, strict=True))
        ]

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5,
    ) -> Published:
        if self.failures.get("publish"):
            raise self.failures["publish"].pop(0)
        for sequence, message in self.messages.items():
            if message.headers.get(MESSAGE_ID_HEADER) == message_id:
                return Published(self.stream.name, sequence, True)
        name = subject.removeprefix("runtime.serverless.")
        sequence = self.add(name, data, {MESSAGE_ID_HEADER: message_id, **(headers or {})})
        return Published(self.stream.name, sequence, False)


Client = TestClient[web.Request, web.Application]


def app_of(queue: Queue | None) -> web.Application:
    handlers = DeadLetterRoutes(queue)
    table = [
        ("GET", PATH, handlers.list, routes.LIST_FALLBACK_CODE),
        ("GET", PATH + "/{sequence}", handlers.get, routes.GET_FALLBACK_CODE),
        ("POST", PATH + "/{sequence}/retry", handlers.retry, routes.RETRY_FALLBACK_CODE),
        ("DELETE", PATH + "/{sequence}", handlers.drop, routes.DROP_FALLBACK_CODE),
    ]
    app = web.Application(middlewares=[error_middleware({(method, path): code for method, path, _, code in table})])
    for method, path, handler, _ in table:
        app.router.add_route(method, path, handler)
    return app


async def call(client: Client, method: str, path: str) -> tuple[int, Any]:
    """The status, and the data or the error code and message."""
    async with client.request(method, PATH + path) as answer:
        content = msgspec.json.decode(await answer.read() or b"null")
    if content is None or "data" in content:
        return answer.status, content and content["data"]
    return answer.status, (content["error"]["code"], content["error"]["message"])


async def listed(client: Client, query: str = "") -> list[int]:
    status, found = await call(client, "GET", query)
    assert status == 200, found
    return [letter["sequence"] for letter in found]
