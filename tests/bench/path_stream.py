"""What the stream of a path holds, read by nats-py whoever wrote it: how many results, all messages, who is behind."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from tests.bench.lean_jetstream import ConsumerState
from tests.bench.processes import PREFIX, STREAM

READ_TIMEOUT_S: Final = 30.0


class Stream:
    """A path's stream; made by `connected`."""

    def __init__(self, jetstream: JetStreamContext) -> None:
        self._jetstream = jetstream

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str, credentials: str | None) -> AsyncIterator["Stream"]:
        """Connect; `credentials` is a file of somebody who may read everything, None where all may."""
        identity: dict[str, Any] = {"user_credentials": credentials} if credentials else {}
        client = await nats.connect(url, **identity)
        try:
            yield cls(client.jetstream())
        finally:
            await client.close()

    async def results(self) -> int:
        """How many results are stored."""
        info = await self._jetstream.stream_info(STREAM, subjects_filter=f"{PREFIX}.result.*")
        return sum((info.state.subjects or {}).values())

    async def consumers(self, names: Iterable[str]) -> ConsumerState:
        """The sum of what these consumers have before them and behind them."""
        found = [await self._jetstream.consumer_info(STREAM, name) for name in names]
        return ConsumerState(
            num_pending=sum(info.num_pending or 0 for info in found),
            num_ack_pending=sum(info.num_ack_pending or 0 for info in found),
            num_redelivered=sum(info.num_redelivered or 0 for info in found),
            delivered={"consumer_seq": sum(info.delivered.consumer_seq for info in found if info.delivered)},
        )

    async def records(self) -> list[tuple[str, bytes]]:
        """Subject and body of everything that is stored now."""
        info = await self._jetstream.stream_info(STREAM)
        if not info.state.messages:
            return []
        entries: list[tuple[str, bytes]] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def take(message: Msg) -> None:
            entries.append((message.subject, message.data))
            if not message.metadata.num_pending and not done.done():
                done.set_result(None)

        subscription = await self._jetstream.subscribe(f"{PREFIX}.>", cb=take, ordered_consumer=True)
        async with asyncio.timeout(READ_TIMEOUT_S):
            await done
        await subscription.unsubscribe()
        return entries
