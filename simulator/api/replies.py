"""Replies to sync invocations (contract 2.1): one subscription for the whole process, one token for each call."""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sidecar.queue import Queue

TOKEN_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is waited for: where it goes, and its body once it is there."""

    subject: str
    body: asyncio.Future[bytes]


class Replies:
    """The sync calls that wait. There are no more than the requests in hand, whose number is bounded (P12)."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._prefix = ""
        self._opening = asyncio.Lock()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}

    async def open(self) -> None:
        """Subscribe, unless that is done. It holds for as long as the queue is open, across lost connections.

        Raises:
            QueueError: the server refuses or is away.
        """
        async with self._opening:
            if self._prefix:
                return
            # Workers are told this subject. Of the client's own inbox names one tells the next, and the answers to
            # the API's requests come on such: hence a random name of our own.
            root = self._queue.new_inbox().rpartition(".")[0]
            prefix = f"{root}.{secrets.token_hex(TOKEN_BYTES)}"
            await self._queue.hear(f"{prefix}.*", self._received)
            self._prefix = prefix

    @contextmanager
    def expected(self) -> Iterator[Reply]:
        """Expect one reply while the block runs; `open` must have been awaited."""
        # Random: a worker that could tell another call's token from its own could answer for that call's worker.
        token = secrets.token_hex(TOKEN_BYTES)
        body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[token] = body
        try:
            yield Reply(f"{self._prefix}.{token}", body)
        finally:
            del self._waiting[token]

    def _received(self, subject: str, body: bytes) -> None:
        waiting = self._waiting.get(subject.rpartition(".")[2])
        if waiting is not None and not waiting.done():
            waiting.set_result(body)
