"""The standard streams of a container's program, and the clients that are attached to them."""

import asyncio
import contextlib
import os
import subprocess
from types import TracebackType
from typing import Self

from simulator.kube.kinds import Object
from simulator.kube.pod_streams import ExecClient, StreamOptions, TerminalSize
from simulator.kubelet.log_files import LogCollector
from simulator.kubelet.log_reading import LogReader
from simulator.kubelet.race import first_of
from simulator.processes.descriptors import Descriptors, resize
from simulator.processes.spawn import Streams


class Console:
    """What the program of one run reads from, and where its output goes; a context manager.

    By the container's `stdin` and `tty` that is nothing, a pipe or a terminal. The output of a program without a
    terminal is one stream: standard error is in its place among the rest, as in the log.
    """

    def __init__(self, spec: Object, output: LogCollector) -> None:
        self._takes_input = bool(spec.get("stdin"))
        self._takes_once = bool(spec.get("stdinOnce"))
        self._output = output
        self._descriptors = Descriptors()
        self._input: int | None = None
        self._childs_input = subprocess.DEVNULL
        self._turn = asyncio.Lock()  # of the clients that write to the program

    def __enter__(self) -> Self:
        if self._output.terminal is not None:
            self._input = self._descriptors.keep(os.dup(self._output.terminal))
            self._childs_input = self._output.childs_end
        elif self._takes_input:
            self._input, self._childs_input = self._descriptors.pipe_to_child()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._input = None
        self._descriptors.close_all()

    @property
    def streams(self) -> Streams:
        """What the program is started with."""
        return Streams(self._output.childs_end, input=self._childs_input)

    def started(self) -> None:
        """The program has its own ends now."""
        self._descriptors.close(self._childs_input)

    async def attach(self, options: StreamOptions, client: ExecClient) -> bool:
        """Give a client what the program writes from now on; True: the program has ended, False: the client went.

        Raises:
            ConnectionError: the client is gone.
        """
        try:
            return await first_of(self._show(options, client), self._take(options, client)) == 0
        finally:
            if options.stdin and self._takes_once:
                self._end_input()

    async def _show(self, options: StreamOptions, client: ExecClient) -> None:
        with LogReader(self._output.log, self._output) as reader:
            reader.skip(tail_lines=0, since_ns=0)
            async with contextlib.aclosing(reader.pieces()) as pieces:
                async for piece in pieces:
                    if options.stdout:
                        await client.send("stdout", piece)

    async def _take(self, options: StreamOptions, client: ExecClient) -> None:
        async with contextlib.aclosing(client.received()) as received:
            async for item in received:
                if isinstance(item, TerminalSize):
                    if self._output.terminal is not None:
                        resize(self._output.terminal, item.columns, item.rows)
                elif options.stdin and self._takes_input:
                    await self._give(item)

    async def _give(self, data: bytes) -> None:
        if not data:
            if self._takes_once:
                self._end_input()
            return
        async with self._turn:
            if self._input is not None:
                # A program that has closed its input may go on without it.
                with contextlib.suppress(OSError):
                    await self._descriptors.write_all(self._input, data)

    def _end_input(self) -> None:
        """The program reads no more; at a terminal that is for the client to say."""
        if self._input is not None and self._output.terminal is None:
            self._descriptors.close(self._input)
            self._input = None
