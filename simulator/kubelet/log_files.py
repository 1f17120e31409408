"""A container's output as files: its bytes, and beside them when its lines came, as a container runtime keeps it.

A log that has grown to `MAX_BYTES` is put aside for a new one, and the oldest is removed, as a kubelet does it by
default (`containerLogMaxSize`, `containerLogMaxFiles`).
"""

import asyncio
import contextlib
import fcntl
import itertools
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from simulator.processes.descriptors import Descriptors, readable_bytes

PIPE_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 1 << 16
MAX_BYTES: Final = 10 << 20
MAX_FILES: Final = 5
STAMP: Final = struct.Struct("<QQ")
"""Where lines begin in the log, and when they came, in nanoseconds of the epoch: one for what was read at once."""


def times_of(log: Path) -> Path:
    """The file with the stamps of a log."""
    return log.with_suffix(".times")


def older_logs(log: Path) -> list[Path]:
    """Where the logs are that were put aside, the youngest first; there need not be any."""
    return [log.with_suffix(f".{number}.log") for number in range(1, MAX_FILES)]


def remove_older(log: Path) -> None:
    """Remove the logs that were put aside."""
    for older in older_logs(log):
        older.unlink(missing_ok=True)


class LogCollector:
    """Takes a program's output into its log, while this context manager is entered.

    The program writes to `childs_end`, which is a named pipe (`inlet`) or, with `terminal`, a terminal, whose other end
    is `terminal`. Whoever reads the log can be told when it grows, and when it has come to its end (`ended`).
    `rotations` is how often the log was put aside.
    """

    def __init__(self, log: Path, *, terminal: bool = False, max_bytes: int = MAX_BYTES) -> None:
        self.log = log
        self.inlet = log.with_suffix(".pipe")
        self.terminal: int | None = None
        self.childs_end = -1
        self.ended = False
        self.rotations = 0
        self._wants_terminal = terminal
        self._max_bytes = max_bytes
        self._size = 0
        self._stamps_size = 0
        self._at_line_start = True
        self._reader = -1
        self._descriptors = Descriptors()
        self._readers: set[asyncio.Event] = set()

    def __enter__(self) -> Self:
        if self._wants_terminal:
            self._reader, self.childs_end = self._descriptors.terminal()
            self.terminal = self._reader
        else:
            self.inlet.unlink(missing_ok=True)
            os.mkfifo(self.inlet, 0o600)
            self._reader = self._open(self.inlet, os.O_RDONLY | os.O_NONBLOCK)
            # While we have it open for writing too, the pipe has no end between two writers.
            self.childs_end = self._open(self.inlet, os.O_WRONLY)
            with contextlib.suppress(AttributeError, OSError):
                fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._open_log()
        asyncio.get_running_loop().add_reader(self._reader, self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):  # a full disk must not keep the rest from its end
            self.drain()
        asyncio.get_running_loop().remove_reader(self._reader)
        self._descriptors.close_all()
        self.terminal = None
        self.inlet.unlink(missing_ok=True)
        self.ended = True
        self._tell_readers()

    def _open(self, path: Path, flags: int) -> int:
        return self._descriptors.keep(os.open(path, flags | os.O_CLOEXEC, 0o600))

    def _open_log(self) -> None:
        self._size = self.log.stat().st_size if self.log.exists() else 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._output, self._stamps = self._open(self.log, flags), self._open(times_of(self.log), flags)
        self._stamps_size = os.fstat(self._stamps).st_size

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
        if self._size + self._stamps_size >= self._max_bytes:
            rest_of_line = 0 if self._at_line_start else chunk.find(b"\n") + 1
            if self._at_line_start or rest_of_line or self._size >= self._max_bytes + CHUNK_BYTES:
                self._write(chunk[:rest_of_line])
                self._rotate()
                chunk = chunk[rest_of_line:]
        self._write(chunk)
        self._tell_readers()

    def _write(self, chunk: bytes) -> None:
        if not chunk:
            return
        first_line = 0 if self._at_line_start else chunk.find(b"\n") + 1
        if first_line < len(chunk) and (first_line or self._at_line_start):
            os.write(self._stamps, STAMP.pack(self._size + first_line, time.time_ns()))
            self._stamps_size += STAMP.size
        _write_all(self._output, chunk)
        self._size += len(chunk)
        self._at_line_start = chunk.endswith(b"\n")

    def _rotate(self) -> None:
        self._descriptors.close(self._output)
        self._descriptors.close(self._stamps)
        places = [self.log, *older_logs(self.log)]
        for younger, older in reversed(list(itertools.pairwise(places))):
            if younger.exists():
                younger.replace(older)
        times_of(self.log).unlink()
        self._open_log()
        self._at_line_start = True  # if not, the rest of the line has a time of its own
        self.rotations += 1


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
