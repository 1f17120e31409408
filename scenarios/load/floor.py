"""The floor of a run: a request and its reply through the same nats-server, between two processes, and nothing else.

Run as a program (`python -m scenarios.load.floor URL SUBJECT INBOX [CREDENTIALS]`) this is the process that replies.
"""

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Final

from sidecar.event_loop import loop_factory
from sidecar.queue import Access, Credentials, Queue
from simulator.errors import PlatformError
from simulator.platform import Platform
from simulator.processes.spawn import Processes

WARM_UP: Final = 100
START_TIMEOUT_S: Final = 20.0
REPLY_TIMEOUT_S: Final = 5.0


async def reply(url: str, subject: str, inbox: str, credentials: str = "") -> None:
    """Say to `inbox` that it can begin, and then for each message on `subject` send one there, until killed."""
    access = Access(Credentials.from_file(Path(credentials))) if credentials else Access()
    asked: asyncio.Queue[bytes] = asyncio.Queue()
    async with Queue.connect(url, client_name="floor", access=access) as queue:
        await queue.hear(subject, lambda _subject, body: asked.put_nowait(body))
        await queue.send(inbox, b"")
        while True:
            await queue.send(inbox, await asked.get())


async def floor_seconds(platform: Platform, processes: Processes, count: int) -> list[float]:
    """How long each of `count` requests took, one after the other.

    Raises:
        PlatformError: the process that replies does not.
    """
    queue = platform.queue
    replies: asyncio.Queue[bytes] = asyncio.Queue()
    inbox, subject = queue.new_inbox(), queue.new_inbox()
    await queue.hear(inbox, lambda _subject, body: replies.put_nowait(body))
    command = [sys.executable, "-m", "scenarios.load.floor", platform.nats_url, subject, inbox]
    command += [str(platform.admin_credentials)] if platform.admin_credentials else []
    log = platform.directory / "floor.log"
    responder = await processes.start(command, env=dict(os.environ), cwd=platform.directory, log=log)
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await replies.get()
        return [await _round_trip(queue, subject, replies) for _ in range(WARM_UP + count)][WARM_UP:]
    except TimeoutError as error:
        raise PlatformError(f"the process that replies does not; its log is {log}, see it with --keep") from error
    finally:
        await responder.kill()


async def _round_trip(queue: Queue, subject: str, replies: asyncio.Queue[bytes]) -> float:
    began = time.perf_counter()
    await queue.send(subject, b"x")
    async with asyncio.timeout(REPLY_TIMEOUT_S):
        await replies.get()
    return time.perf_counter() - began


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(reply(*sys.argv[1:]))
