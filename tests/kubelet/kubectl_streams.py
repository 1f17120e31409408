"""The unmodified kubectl, for tests of what streams between it and pods."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

TIMEOUT_S = 30
SLEEP = "exec sleep 600"

Answer = tuple[int | None, str, str]


class Kubectl:
    """kubectl with a kubeconfig, in one namespace. `environment` is added to that of the test."""

    def __init__(self, kubectl: Path, kubeconfig: Path, home: Path, namespace: str) -> None:
        self._base = (str(kubectl), f"--kubeconfig={kubeconfig}", f"--cache-dir={home}", f"-n={namespace}")
        self.environment: dict[str, str] = {}

    async def __call__(self, *arguments: str, stdin: str | None = None) -> Answer:
        """Run it to its end: exit code, output, and standard error."""
        async with self.running(*arguments, stdin=asyncio.subprocess.PIPE) as process:
            out, err = await process.communicate(None if stdin is None else stdin.encode())
        return process.returncode, out.decode(), err.decode()

    @contextlib.asynccontextmanager
    async def running(self, *arguments: str, **streams: Any) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it while the block lasts."""
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        environment = {**os.environ, **self.environment}
        process = await asyncio.create_subprocess_exec(*self._base, *arguments, env=environment, **pipes | streams)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    """The next line of its output."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode()
