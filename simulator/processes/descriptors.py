"""Pipes and terminals between this process and a child, read and written without blocking the event loop."""

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

CHUNK_BYTES: Final = 1 << 16


class Descriptors:
    """File descriptors that are closed at the end; a context manager."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._full: dict[int, asyncio.Event] = {}
        """Those that somebody waits for to write on, one for each at the most."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_all()

    def close_all(self) -> None:
        """Close those that are open."""
        for descriptor in list(self._open):
            self.close(descriptor)

    def keep(self, descriptor: int) -> int:
        """Have this one closed at the end, too."""
        self._open.add(descriptor)
        return descriptor

    def pipe_from_child(self) -> tuple[int, int]:
        """Our end, which does not block, and the child's, which it writes to."""
        reader, writer = self._kept(*os.pipe())
        os.set_blocking(reader, False)
        return reader, writer

    def pipe_to_child(self) -> tuple[int, int]:
        """Our end, which does not block, and the child's, which it reads."""
        reader, writer = self._kept(*os.pipe())
        os.set_blocking(writer, False)
        return writer, reader

    def terminal(self) -> tuple[int, int]:
        """Our end of a pseudo-terminal, which does not block, and the child's."""
        ours, childs = self._kept(*pty.openpty())
        os.set_blocking(ours, False)
        return ours, childs

    def close(self, descriptor: int) -> None:
        """Close one of them, if it is open."""
        if descriptor in self._open:
            self._open.remove(descriptor)
            self._wait_no_more(descriptor)  # its number may soon be another's
            os.close(descriptor)

    async def write_all(self, descriptor: int, data: bytes) -> None:
        """Write to a child as it reads; one caller at a time for each descriptor.

        Raises:
            OSError: it has closed its end, or we have closed ours.
        """
        while data:
            if descriptor not in self._open:
                raise BrokenPipeError(errno.EPIPE, "closed while it was written to")
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:
                ready = self._full[descriptor] = asyncio.Event()
                asyncio.get_running_loop().add_writer(descriptor, ready.set)
                try:
                    await ready.wait()
                finally:
                    self._wait_no_more(descriptor)

    def _wait_no_more(self, descriptor: int) -> None:
        if ready := self._full.pop(descriptor, None):
            asyncio.get_running_loop().remove_writer(descriptor)
            ready.set()

    def _kept(self, first: int, second: int) -> tuple[int, int]:
        self._open |= {first, second}
        return first, second


class Output:
    """What a child writes, read from our end of its pipe or terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ready = asyncio.Event()
        self._left: int | None = None  # bytes that are still to be read, once the child has ended

    def end(self) -> None:
        """The child has ended: nothing more than what is there is to be read, whoever else may hold its streams."""
        self._left = readable_bytes(self._descriptor)
        self._ready.set()

    async def read(self) -> bytes:
        """The next chunk; empty at the end."""
        while self._left is None or self._left > 0:
            try:
                chunk = os.read(self._descriptor, CHUNK_BYTES)
            except BlockingIOError:
                if self._left is not None:
                    return b""
                await self._wait()
            except OSError as error:
                if error.errno == errno.EIO:  # a terminal that nobody has open any more
                    return b""
                raise
            else:
                if self._left is not None:
                    self._left -= len(chunk)
                return chunk
        return b""

    async def _wait(self) -> None:
        self._ready.clear()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, self._ready.set)
        try:
            await self._ready.wait()
        finally:
            loop.remove_reader(self._descriptor)


def readable_bytes(descriptor: int) -> int:
    """How much can be read from a pipe or a terminal without waiting."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    except OSError:  # a terminal that nobody has open any more
        return 0
    return int(count)


def resize(terminal: int, columns: int, rows: int) -> None:
    """Give a terminal a size; whoever runs in it is told."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def end_session(session: int) -> None:
    """Kill what is left of a session whose leader has just ended (Linux): jobs of a shell have groups of their own."""
    for pid in _processes():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                yield int(entry.name)
