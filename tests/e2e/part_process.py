"""`unitsim activator` and `unitsim api` as child processes: what they print, what they log, and how they end."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from simulator.platform import Platform

WAIT_S: Final = 30.0
"""For everything that must happen; long, because the machine may be busy."""
DISPATCHED: Final = re.compile(r"event=dispatched .*invocationID=(\S+)")


class PartProcess:
    """One child; `part_process` makes it. What it wrote on stderr grows in `lines`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._grown = asyncio.Event()
        self._reading = asyncio.create_task(self._read_log())
        self.lines: list[str] = []

    async def _read_log(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.lines.append(line.decode().rstrip())
            self._grown.set()

    async def announced(self) -> Any:
        """Wait for the JSON document that it prints once it runs."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await self._process.stdout.readline()
        assert line, "\n".join(self.lines)
        return json.loads(line)

    async def logged(self, text: str) -> None:
        """Wait until a line of its log holds a text."""
        async with asyncio.timeout(WAIT_S):
            while not self.count(text):
                self._grown.clear()
                await self._grown.wait()

    def count(self, text: str) -> int:
        """How many lines of its log hold a text."""
        return sum(text in line for line in self.lines)

    @property
    def dispatched(self) -> list[str]:
        """The invocations that it dispatched, in order."""
        return [found[1] for line in self.lines if (found := DISPATCHED.search(line))]

    async def end(self, how: signal.Signals) -> int:
        """Send a signal and return the exit code, when all that it logged is read."""
        self._process.send_signal(how)
        async with asyncio.timeout(WAIT_S):
            return await self._ended()

    async def kill(self) -> None:
        """End it, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
        await self._ended()

    async def _ended(self) -> int:
        await self._reading
        return await self._process.wait()


@asynccontextmanager
async def part_process(*arguments: str) -> AsyncIterator[PartProcess]:
    """Run `unitsim` with these arguments, `--json` and `--verbose`; killed at the end if it still runs."""
    command = (sys.executable, "-m", "simulator.cli", *arguments, "--json", "--verbose")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    part = PartProcess(process)
    try:
        yield part
    finally:
        await part.kill()


def surroundings(platform: Platform, role: str, nats_url: str = "") -> list[str]:
    """The options that lead a part to a platform, with an identity of its own."""
    options = ["--kubeconfig", str(platform.kubeconfig_for(role)), "--nats-url", nats_url or platform.nats_url]
    credentials: Path | None = platform.credentials_for(role)
    return [*options, "--credentials", str(credentials)] if credentials else options


@asynccontextmanager
async def activator_process(
    platform: Platform, *options: str, nats_url: str = ""
) -> AsyncIterator[tuple[PartProcess, str]]:
    """One more activator of a platform, and its name."""
    async with part_process("activator", *surroundings(platform, "activator", nats_url), *options) as part:
        yield part, (await part.announced())["activator"]
