"""`kubectl port-forward` as a child of this process: found out on which port it listens, started again when it ends."""

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog

from simulator.errors import PlatformError, WaitTimeoutError
from simulator.install.tools import KUBECTL, require
from simulator.one_error import one_error
from simulator.processes.descriptors import Descriptors, Output
from simulator.processes.spawn import Processes, Streams
from simulator.targets.place import Place, last_line

ANNOUNCED: Final = re.compile(rb"^Forwarding from 127\.0\.0\.1:(\d+) -> ", re.MULTILINE)
OPEN_TIMEOUT_S: Final = 30.0
RESTART_PAUSE_S: Final = 0.5
"""Before kubectl is started again: it ends with the pod that it leads to, and another is not there at once."""

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def port_forward(place: Place, service: str, port: int) -> AsyncIterator[str]:
    """Lead a port of this machine to a Service for the block; its address, `127.0.0.1:PORT`.

    The port stays the same when kubectl has to be started again, so that clients find back by themselves.

    Raises:
        EnvironmentMissing: there is no kubectl, or it is too old.
        PlatformError: kubectl cannot lead there; the message holds what it said.
    """
    await asyncio.to_thread(require, KUBECTL)
    with one_error():
        async with Processes() as processes, asyncio.TaskGroup() as group:
            forward = _Forward(processes, place, service, port)
            running = group.create_task(forward.run())
            try:
                yield f"127.0.0.1:{await forward.opened()}"
            finally:
                running.cancel()


class _Forward:
    """One way in, by one kubectl after the other."""

    def __init__(self, processes: Processes, place: Place, service: str, port: int) -> None:
        self._processes = processes
        self._place = place
        self._service = service
        self._port = port
        self._local = 0
        self._open = asyncio.Event()

    async def opened(self) -> int:
        """Wait until kubectl listens for the first time; the port of this machine. Raises WaitTimeoutError."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._open.wait()
        except TimeoutError as error:
            text = f"'kubectl port-forward' to service {self._service} did not listen within {OPEN_TIMEOUT_S:g} s"
            raise WaitTimeoutError(text) from error
        return self._local

    async def run(self) -> None:
        """Keep kubectl running until cancelled. Raises PlatformError: the first one ended without having listened."""
        while True:
            said = await self._connection()
            if not self._open.is_set():
                raise PlatformError(f"'kubectl port-forward' to service {self._service} ended: {said or 'no reason'}")
            log.info("port-forward ended, started again", service=self._service, said=said)
            await asyncio.sleep(RESTART_PAUSE_S)

    async def _connection(self) -> str:
        """One kubectl from its start to its end; the last that it said."""
        ports = f"{self._local or ''}:{self._port}"
        where = ("--namespace", self._place.namespace, "--address", "127.0.0.1")
        command = self._place.kubectl("port-forward", *where, f"service/{self._service}", ports)
        with Descriptors() as descriptors:
            reader, writer = descriptors.pipe_from_child()
            process = await self._processes.start_with(Streams(writer), command, env=os.environ, cwd=Path.cwd())
            descriptors.close(writer)
            try:
                return last_line(await self._follow(Output(reader)))
            finally:
                await process.kill()

    async def _follow(self, output: Output) -> bytes:
        """Read what it says until it ends; the end of that."""
        said = b""
        while chunk := await output.read():
            said = (said + chunk)[-4096:]
            if not self._open.is_set() and (found := ANNOUNCED.search(said)):
                self._local = int(found[1])
                self._open.set()
        return said
