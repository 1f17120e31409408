"""A framework in the test's own process: it counts runs, holds the calls it is told to, and answers in two halves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.proof.steps import TIMEOUT_S, Moment, Step, Trap

_HEADERS: Final = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "


def http_answer(body: bytes) -> bytes:
    """A complete HTTP response."""
    return f"{_HEADERS}{len(body)}\r\n\r\n".encode() + body


async def http_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    """The next request's method and body on a kept-alive connection; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].partition(b":")[2])) if lengths else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return head.split(b" ", 1)[0], body


class ScriptedFramework:
    """Serves the framework side of the contract (section 8) on a unix socket."""

    def __init__(self, socket_path: str, trap: Trap) -> None:
        self.socket_path = socket_path
        self.began: list[str] = []
        """Invocation IDs in the order in which the handler began; one for each run."""
        self.running: set[str] = set()
        self.most_running = 0
        self._trap = trap
        self._held: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen while the block runs."""
        listener = await asyncio.start_unix_server(self._accept, self.socket_path)
        try:
            yield
        finally:
            listener.close()
            await self.drop()
            await listener.wait_closed()

    async def drop(self) -> None:
        """Cut all connections and the handlers behind them."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self, invocation_id: str) -> None:
        """Let this invocation's handler wait until `release`."""
        self._held[invocation_id] = asyncio.Event()

    def release(self, invocation_id: str) -> None:
        """Let a held invocation's handlers end, and those that come later."""
        self._held[invocation_id].set()

    async def ran_times(self, count: int) -> None:
        """Wait until `count` runs have begun."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.began) < count:
                self._changed.clear()
                await self._changed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await http_request(reader)) is not None:
                method, body = request
                if method == b"POST":
                    await self._invoke(json.loads(body)["invocationID"], writer)
                else:
                    writer.write(http_answer(b'{"ok":true}'))
        finally:
            writer.transport.abort()
            with suppress(OSError):
                await writer.wait_closed()

    async def _invoke(self, invocation_id: str, writer: asyncio.StreamWriter) -> None:
        await self._trap.reach(Step.REQUEST, Moment.BEFORE)
        run = await self._handle(invocation_id)
        answer = http_answer(json.dumps({"statusCode": 200, "body": {"run": run}}).encode())
        half = len(answer) // 2
        for step, part in ((Step.HALF_ANSWER, answer[:half]), (Step.ANSWER, answer[half:])):
            await self._trap.reach(step, Moment.BEFORE)
            writer.write(part)
            with suppress(ConnectionError):
                await writer.drain()
            await self._trap.reach(step, Moment.AFTER)

    async def _handle(self, invocation_id: str) -> int:
        """The handler: note the run, end when that is allowed, and return which run of this invocation it was."""
        self.began.append(invocation_id)
        self.running.add(invocation_id)
        self.most_running = max(self.most_running, len(self.running))
        self._changed.set()
        run = self.began.count(invocation_id)
        try:
            await self._trap.reach(Step.REQUEST, Moment.AFTER)
            if invocation_id in self._held:
                await self._held[invocation_id].wait()
        finally:
            self.running.discard(invocation_id)
        return run
