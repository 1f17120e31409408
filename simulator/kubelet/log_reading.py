"""Reading a container's log: from some line on, with the times of lines if wanted, and on while it grows."""

import asyncio
import bisect
import contextlib
import os
import sys
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

from simulator.kubelet.log_files import CHUNK_BYTES, STAMP, LogCollector, times_of


class LogReader:
    """Reads a log from front to end as far as it is written, and later on from there; a context manager.

    It stays with its log when that is put aside, becomes the log of the previous run, or is removed. What was put aside
    before is not read, as in a cluster.
    """

    def __init__(self, log: Path, output: LogCollector | None = None) -> None:
        """Open a log; `output` is what writes it, if it is to be followed. Raises OSError: there is none."""
        self._path = log
        self._output = output
        self._in_line = False
        self._open()

    def _open(self) -> None:
        with contextlib.ExitStack() as stack:
            self._stamps = stack.enter_context(times_of(self._path).open("rb"))
            self._log = stack.enter_context(self._path.open("rb"))
            self._close = stack.pop_all()
        self._rotations = self._output.rotations if self._output else 0
        self._place = 0
        self._number = 0  # of the stamp of that place

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close.close()

    def skip(self, tail_lines: int | None, since_ns: int) -> None:
        """Go to the last lines, or to the first of them that came at `since_ns` or later."""
        size, count = self._log.seek(0, os.SEEK_END), self._stamps.seek(0, os.SEEK_END) // STAMP.size
        # Lines come in the order of their times.
        first = bisect.bisect_left(range(count), since_ns, key=lambda number: self._stamp(number)[1])
        place = 0 if since_ns == 0 else self._stamp(first)[0] if first < count else size
        if tail_lines is not None:
            place = max(place, last_lines(self._log, size, tail_lines))
        self._place = place
        following = bisect.bisect_right(range(count), place, key=lambda number: self._stamp(number)[0])
        self._number = max(following - 1, 0)

    def read(self, *, stamped: bool = False, whole_lines: bool = False) -> bytes:
        """The next lines, some 64 KiB of them, which may begin or end with a piece of a longer one; b"": no more yet.

        With `whole_lines` a line that is still being written is left for later; `stamped` with the time before each.
        """
        self._log.seek(self._place)
        text = self._log.read(CHUNK_BYTES)
        is_full = len(text) == CHUNK_BYTES
        if is_full or whole_lines:
            end = text.rfind(b"\n") + 1
            text = text[:end] if end or not is_full else text
        place, self._place = self._place, self._place + len(text)
        return self._stamped(text, place) if stamped and text else text

    def _stamped(self, text: bytes, place: int) -> bytes:
        begin = (text.find(b"\n") + 1 or len(text)) if self._in_line else 0
        parts = [text[:begin]]
        while begin < len(text):
            time_ns, until = self._time_of(place + begin)
            end = min(len(text), until - place)
            parts.append(with_times(text[begin:end], time_ns))
            begin = end
        self._in_line = not text.endswith(b"\n")
        return b"".join(parts)

    def _time_of(self, place: int) -> tuple[int, int]:
        """When the line at a place came, in nanoseconds of the epoch, and where those begin that came later."""
        while (following := self._stamp(self._number + 1))[0] <= place:
            self._number += 1
        return self._stamp(self._number)[1], following[0]

    def _stamp(self, number: int) -> tuple[int, int]:
        self._stamps.seek(number * STAMP.size)
        stamp = self._stamps.read(STAMP.size)
        if len(stamp) < STAMP.size:
            return sys.maxsize, sys.maxsize
        place, time_ns = STAMP.unpack(stamp)
        return place, time_ns

    async def pieces(self, *, stamped: bool = False, whole_lines: bool = False) -> AsyncGenerator[bytes, None]:
        """What `read` gives, up to the end of the log; of one that is followed, until its program has ended."""
        output = self._output
        with output.followed() if output else contextlib.nullcontext(asyncio.Event()) as changed:
            while True:
                changed.clear()
                ended = output is None or output.ended
                rotated = output is not None and output.rotations != self._rotations
                while piece := self.read(stamped=stamped, whole_lines=whole_lines and not (rotated or ended)):
                    yield piece
                    await asyncio.sleep(0)  # a client that takes all at once must not keep others waiting
                if rotated:
                    self._close.close()
                    try:
                        self._open()
                    except FileNotFoundError:
                        return  # its container is gone meanwhile
                elif ended:
                    return
                else:
                    await changed.wait()


def with_times(lines: bytes, time_ns: int) -> bytes:
    """Lines behind their time, as container runtimes write it: `2026-11-22T10:15:00.123456789Z text`."""
    seconds, rest = divmod(time_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    time = f"{moment}.{rest:09}Z ".encode()
    return time + lines[:-1].replace(b"\n", b"\n" + time) + lines[-1:]


def last_lines(file: BufferedReader, size: int, count: int) -> int:
    """Where the last lines of a file begin; an unfinished one counts."""
    if count == 0:
        return size
    end = max(size - 1, 0)  # a line break at the very end belongs to the last line
    while end > 0:
        begin = max(end - CHUNK_BYTES, 0)
        file.seek(begin)
        block = file.read(end - begin)
        found = block.count(b"\n")
        if found >= count:
            at = len(block)
            for _ in range(count):
                at = block.rfind(b"\n", 0, at)
            return begin + at + 1
        count -= found
        end = begin
    return 0
