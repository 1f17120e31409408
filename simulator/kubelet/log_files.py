"""A container's output as files: its bytes, and beside them when each line came, as a container runtime keeps it."""

import asyncio
import bisect
import contextlib
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from simulator.processes.descriptors import readable_bytes

PIPE_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 1 << 16
STAMP: Final = struct.Struct("<QQ")
"""Where a line begins in the log, and when its first bytes came, in nanoseconds of the epoch."""


def times_of(log: Path) -> Path:
    """The file with the stamps of a log."""
    return log.with_suffix(".times")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log, its line break included; `continued` if it is a further piece of a very long one."""

    text: bytes
    time_ns: int
    continued: bool = False

    def stamped(self) -> bytes:
        """The line behind its time, as container runtimes write it: `2026-11-22T10:15:00.123456789Z text`."""
        if self.continued:
            return self.text
        seconds, rest = divmod(self.time_ns, 10**9)
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{moment}.{rest:09}Z ".encode() + self.text


class LogReader:
    """Reads a log from front to end as far as it is written, and later on from there; a context manager.

    It stays with its log when that becomes the log of the previous run, or is removed.
    """

    def __init__(self, log: Path) -> None:
        """Open a log. Raises OSError: there is none."""
        with contextlib.ExitStack() as stack:
            self._stamps = stack.enter_context(times_of(log).open("rb"))
            self._log = stack.enter_context(log.open("rb"))
            self._close = stack.pop_all()
        self._place = 0
        self._time_ns = 0
        self._at_start = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close.close()

    def skip(self, tail_lines: int | None, since_ns: int) -> None:
        """Go to the last lines, or to the first of them that came at `since_ns` or later."""
        count = self._stamps.seek(0, os.SEEK_END) // STAMP.size
        first = 0 if tail_lines is None else max(count - tail_lines, 0)
        # Lines come in the order of their times.
        first = max(first, bisect.bisect_left(range(count), since_ns, key=lambda number: self._stamp(number)[1]))
        self._place = self._stamp(first)[0] if first < count else self._log.seek(0, os.SEEK_END)
        self._stamps.seek(first * STAMP.size)

    def lines(self, *, whole_only: bool) -> Iterator[Line]:
        """The lines from here to the end; with `whole_only` not one that is still being written.

        A very long line comes in pieces, which have its time.
        """
        while True:
            self._log.seek(self._place)
            text = self._log.readline(CHUNK_BYTES)
            is_piece = len(text) == CHUNK_BYTES
            if not text or (whole_only and not is_piece and not text.endswith(b"\n")):
                return
            if self._at_start:
                self._time_ns = STAMP.unpack(self._stamps.read(STAMP.size))[1]
            line = Line(text, self._time_ns, continued=not self._at_start)
            self._at_start = text.endswith(b"\n")
            self._place += len(text)
            yield line

    def _stamp(self, number: int) -> tuple[int, int]:
        self._stamps.seek(number * STAMP.size)
        place, time_ns = STAMP.unpack(self._stamps.read(STAMP.size))
        return place, time_ns


class LogCollector:
    """Takes a program's output from a named pipe (`inlet`) into its log, while this context manager is entered.

    Whoever reads the log can be told when it grows, and when it has come to its end (`ended`).
    """

    def __init__(self, log: Path) -> None:
        self.inlet = log.with_suffix(".pipe")
        self._log = log
        self._size = 0
        self._at_line_start = True
        self._reader = -1
        self._open: list[int] = []
        self._readers: set[asyncio.Event] = set()
        self.ended = False

    def __enter__(self) -> Self:
        self.inlet.unlink(missing_ok=True)
        os.mkfifo(self.inlet, 0o600)
        self._reader = os.open(self.inlet, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._open.append(self._reader)
        # While we have it open for writing too, the pipe has no end between two writers.
        self._open.append(os.open(self.inlet, os.O_WRONLY | os.O_CLOEXEC))
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._size = self._log.stat().st_size if self._log.exists() else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._output, self._stamps = os.open(self._log, flags, 0o600), os.open(times_of(self._log), flags, 0o600)
        self._open += [self._output, self._stamps]
        asyncio.get_running_loop().add_reader(self._reader, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk must not keep the rest from its end
            self.drain()
        asyncio.get_running_loop().remove_reader(self._reader)
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()
        self.inlet.unlink(missing_ok=True)
        self.ended = True
        self._tell_readers()

    @contextlib.contextmanager
    def followed(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever the log has grown or ended; the reader clears it."""
        changed = asyncio.Event()
        self._readers.add(changed)
        try:
            yield changed
        finally:
            self._readers.discard(changed)

    def _tell_readers(self) -> None:
        for changed in self._readers:
            changed.set()

    def drain(self) -> None:
        """Take what is in the pipe right now, and not what somebody goes on to write."""
        left = readable_bytes(self._reader)
        while left > 0 and (taken := self._take()):
            left -= taken

    def _take(self) -> int:
        """Take a chunk, and say how long it is."""
        try:
            chunk = os.read(self._reader, CHUNK_BYTES)
        except BlockingIOError:
            return 0
        if chunk:
            self._keep(chunk)
        return len(chunk)

    def _keep(self, chunk: bytes) -> None:
        moment = time.time_ns()
        stamps = [self._size] if self._at_line_start else []
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0 and end + 1 < len(chunk):
            begin = end + 1
            stamps.append(self._size + begin)
        os.write(self._stamps, b"".join(STAMP.pack(offset, moment) for offset in stamps))
        _write_all(self._output, chunk)
        self._size += len(chunk)
        self._at_line_start = chunk.endswith(b"\n")
        self._tell_readers()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
