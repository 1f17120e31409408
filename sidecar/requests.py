"""Requests over one NATS connection and their answers, all through one subscription.

nats-py's own request makes a task, a timer and a random token of each call; at some thousand acks and publishes per
second that is most of a sidecar's work. Here an answer is matched to its request in the reader's own turn, and one
timer serves all.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from sidecar.nats_client import LeanClient
from sidecar.queue_errors import QueueError, QueueUnavailableError, translated

SWEEP_S: Final = 0.25
"""How late a request's time-out may be noticed."""
_NO_RESPONDERS: Final = b"NATS/1.0 503"


class Answer(Protocol):
    """What becomes of a request: a future, or whoever wants to hear at once."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, body: bytes, /) -> None:
        """The answer's body is here."""

    def set_exception(self, error: QueueError, /) -> None:
        """There will be no answer, or it is a refusal."""


class Requests:
    """The requests under way."""

    def __init__(self, client: LeanClient) -> None:
        self._client = client
        self._prefix = f"{client.new_inbox()}."
        self._token_at = len(self._prefix)
        self._waiting: dict[bytes, tuple[str, Answer, float]] = {}
        self._count = 0
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None
        self._swept_at = 0.0

    async def open(self) -> None:
        """Subscribe to the answers.

        Raises:
            QueueError: the server refuses.
        """
        with translated("subscribe to answers"):
            await self._client.hear(f"{self._prefix}*", self._answered)

    def start(
        self, subject: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[bytes]:
        """Send a request; the future of its answer's body fails if there is none within `timeout_s` seconds.

        Raises:
            QueueError: it could not be sent.
        """
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self.send(subject, body, timeout_s, headers, answer)
        return answer

    def send(
        self, subject: str, body: bytes, timeout_s: float, headers: Mapping[str, str] | None, answer: Answer
    ) -> None:
        """As `start`, for an `answer` that the caller brings.

        Raises:
            QueueError: it could not be sent.
        """
        self._count += 1
        token = f"{self._count:x}"
        self._client.write(subject, body, self._prefix + token, headers)
        deadline = self._loop.time() + timeout_s
        self._waiting[token.encode()] = (subject, answer, deadline)
        if self._sweep is None or deadline < self._swept_at:
            self._sweep_at(min(deadline, self._loop.time() + SWEEP_S))

    def abandon(self, reason: str) -> None:
        """Fail all requests under way: their answers went to a connection that is gone."""
        for token in list(self._waiting):
            self._fail(token, reason)

    def _answered(self, subject: bytes, _reply: bytes, body: bytes, headers: bytes) -> None:
        request = self._waiting.pop(subject[self._token_at :], None)
        if request is None:
            return
        asked, answer, _ = request
        if answer.done():
            return
        if headers.startswith(_NO_RESPONDERS):
            # So it is, too, for a while before a server stops and after it has started.
            reason = f"request to {asked}: nobody takes it; no stream has the subject, or JetStream is off"
            answer.set_exception(QueueUnavailableError(reason))
        else:
            answer.set_result(body)

    def _sweep_at(self, when: float) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._swept_at = when
        self._sweep = self._loop.call_at(when, self._expire)

    def _expire(self) -> None:
        now, self._sweep = self._loop.time(), None
        for token in [token for token, (_, _, deadline) in self._waiting.items() if deadline <= now]:
            self._fail(token, "no answer in time")
        if self._waiting:
            self._sweep_at(now + SWEEP_S)

    def _fail(self, token: bytes, reason: str) -> None:
        subject, answer, _ = self._waiting.pop(token)
        if not answer.done():
            answer.set_exception(QueueUnavailableError(f"request to {subject}: {reason}"))
