"""A TCP proxy between sidecars and nats-server that knows the steps of a dispatch and can hold, lose or cut."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from sidecar.listening import stop_listening
from tests.proof.nats_frames import Frame, FrameParser
from tests.proof.steps import TIMEOUT_S, Moment, Recogniser, Step, Trap

_CHUNK: Final = 64 * 1024

Recognise = Callable[[Frame], Step | None]


class NatsProxy:
    """Passes frames on, one at a time, and tells the trap of each."""

    def __init__(self, server_port: int, trap: Trap) -> None:
        self._server_port = server_port
        self._trap = trap
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self.port = 0
        self.refusing = False
        """While set, new connections are closed at once."""
        self.losing: Counter[Step] = Counter()
        """How many frames of each step to swallow from now on."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen while the block runs; what broke the proxy itself is raised at its end."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            await stop_listening(listener)
            await self.drop()
            await listener.wait_closed()
        for error in self._errors:
            raise error

    async def drop(self) -> None:
        """Cut all connections, without a byte more in either direction."""
        await _cancel(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        task.add_done_callback(lambda _: writer.transport.abort())  # even if it is cancelled before its first step

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._errors.append(error)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        async with AsyncExitStack() as cleanup:
            cleanup.push_async_callback(_abort, to_client)
            if self.refusing:
                return
            try:
                from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            except OSError:
                return
            cleanup.push_async_callback(_finish, from_server, to_server)
            recogniser = Recogniser()
            pumps = [
                asyncio.create_task(self._pump(from_client, to_server, recogniser.sent)),
                asyncio.create_task(self._pump(from_server, to_client, recogniser.received)),
            ]
            cleanup.push_async_callback(_cancel, pumps)
            ended, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in ended:
                pump.result()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, recognise: Recognise) -> None:
        parser = FrameParser()
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                for frame in parser.feed(data):
                    await self._pass_on(frame, recognise(frame), target)

    async def _pass_on(self, frame: Frame, step: Step | None, target: asyncio.StreamWriter) -> None:
        await self._trap.reach(step, Moment.BEFORE)
        if step is not None and self.losing[step]:
            self.losing[step] -= 1
            return
        target.write(frame.raw)
        await target.drain()
        await self._trap.reach(step, Moment.AFTER)


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    cancelled = list(tasks)
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)


async def _finish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close a connection when the other side has read all that was written: an abort might overtake it."""
    try:
        with suppress(OSError):
            async with asyncio.timeout(TIMEOUT_S):
                writer.write_eof()
                while await reader.read(_CHUNK):
                    pass
    finally:
        await _abort(writer)


async def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
