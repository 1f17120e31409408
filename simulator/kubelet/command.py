"""A client's command in a container: `kubectl exec`."""

import asyncio
import contextlib
from typing import Final, Literal

from simulator.kube.pod_streams import ExecClient, ExecOptions, TerminalSize
from simulator.kubelet.execution import Execution
from simulator.kubelet.race import first_of
from simulator.processes.descriptors import Descriptors, Output, end_session, resize
from simulator.processes.process import Process
from simulator.processes.spawn import Streams

_CLIENT_WENT: Final = 2


class Command:
    """One command between the start of its process and the end of its whole session."""

    def __init__(self, execution: Execution, options: ExecOptions, client: ExecClient) -> None:
        self._execution = execution
        self._options = options
        self._client = client
        self._descriptors = Descriptors()
        self._input: int | None = None
        self._outputs: dict[Literal["stdout", "stderr"], Output] = {}

    async def run(self, container: Process) -> int | None:
        """Run it to its end, or that of the container; None if the client goes first. Nothing of it is left behind.

        Raises:
            CannotStartError: it did not come to run.
        """
        with self._descriptors as descriptors:
            streams, childs = self._terminal() if self._options.tty else self._pipes()
            process = await self._execution.start_with(streams, self._options.command, tty=self._options.tty)
            for descriptor in childs:
                descriptors.close(descriptor)
            return await self._attend(process, container)

    def _terminal(self) -> tuple[Streams, set[int]]:
        ours, childs = self._descriptors.terminal()
        self._input = ours
        self._outputs["stdout"] = Output(ours)
        return Streams(output=childs, input=childs), {childs}

    def _pipes(self) -> tuple[Streams, set[int]]:
        (out, output), (err, error) = self._descriptors.pipe_from_child(), self._descriptors.pipe_from_child()
        self._outputs = {"stdout": Output(out), "stderr": Output(err)}
        if not self._options.stdin:
            return Streams(output, error), {output, error}
        self._input, given = self._descriptors.pipe_to_child()
        return Streams(output, error, given), {output, error, given}

    async def _attend(self, process: Process, container: Process) -> int | None:
        async with asyncio.TaskGroup() as group:
            pumps = [group.create_task(self._pump(stream, output)) for stream, output in self._outputs.items()]
            try:
                first = await first_of(process.wait(), container.wait(), self._take_input())
            finally:
                try:
                    code = await process.kill()
                finally:
                    end_session(process.pid)
            if first == _CLIENT_WENT:
                for pump in pumps:
                    pump.cancel()
                return None
            for output in self._outputs.values():
                output.end()
        return code if code >= 0 else 128 - code

    async def _pump(self, stream: Literal["stdout", "stderr"], output: Output) -> None:
        wanted = self._options.stdout if stream == "stdout" else self._options.stderr
        while data := await output.read():
            if wanted:
                try:
                    await self._client.send(stream, data)
                except ConnectionError:
                    wanted = False  # the command goes on; if the client is gone, that is told elsewhere

    async def _take_input(self) -> None:
        """Hand on what the client sends, until it goes."""
        async with contextlib.aclosing(self._client.received()) as received:
            async for item in received:
                if isinstance(item, TerminalSize):
                    if self._options.tty and self._input is not None:
                        resize(self._input, item.columns, item.rows)
                elif self._options.stdin:
                    await self._give(item)

    async def _give(self, data: bytes) -> None:
        if self._input is None:
            return
        if data:
            # A command that has closed its input may go on without it.
            with contextlib.suppress(OSError):
                await self._descriptors.write_all(self._input, data)
        elif not self._options.tty:
            self._descriptors.close(self._input)
            self._input = None
