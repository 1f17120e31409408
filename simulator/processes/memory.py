"""Memory that a group of processes may use: what a limit is, and how one is kept where the kernel cannot be asked to.

Where it can, `simulator.processes.cgroups` does it: to the byte and at once. Here the memory of all processes is looked
at now and then, and a group that has more than it may is killed.
"""

import asyncio
import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Iterable
from typing import Final, Protocol, Self

import psutil

LOOK_INTERVAL_S: Final = 0.25
"""How long a group may have more than its limit; one look takes some milliseconds."""


class MemoryLimit(Protocol):
    """The limit of one process group, which it has while this context manager is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def hold(self, group: int) -> None:
        """Keep a process group to the limit, from now on; it has one process yet, which has its number."""

    @property
    def was_exceeded(self) -> bool:
        """Whether a process of the group was killed for its memory."""


class MemoryLimits(Protocol):
    """Gives limits."""

    def limit(self, name: str, size: int) -> MemoryLimit:
        """Return a limit of so many bytes; no two at a time may have one name."""

    async def run(self) -> None:
        """Do what has to be done for it, until cancelled."""


class WatchedLimit:
    """A limit that a `MemoryWatch` keeps."""

    def __init__(self, size: int, watched: dict[int, "WatchedLimit"]) -> None:
        self.size = size
        self.was_exceeded = False
        self._watched = watched
        self._group: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._group is not None:
            del self._watched[self._group]

    def hold(self, group: int) -> None:
        """Keep a process group to the limit, from the next look on."""
        self._group = group
        self._watched[group] = self


class MemoryWatch:
    """Keeps limits by looking at all processes now and then."""

    def __init__(self) -> None:
        self._watched: dict[int, WatchedLimit] = {}

    def limit(self, name: str, size: int) -> WatchedLimit:  # noqa: ARG002 - see MemoryLimits
        """Return a limit of so many bytes."""
        return WatchedLimit(size, self._watched)

    async def run(self) -> None:
        """Look, and kill, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            if self._watched:
                self._look()

    def _look(self) -> None:
        for group, members in _groups(self._watched).items():
            limit = self._watched[group]
            # What processes have in common is in the memory of each: only who seems to have too much is asked further.
            if sum(map(_resident, members)) > limit.size and sum(map(_own, members)) > limit.size:
                limit.was_exceeded = True
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)


def _groups(wanted: Iterable[int]) -> dict[int, list[psutil.Process]]:
    found: dict[int, list[psutil.Process]] = defaultdict(list)
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if (group := os.getpgid(pid)) in wanted:
                found[group].append(psutil.Process(pid))
    return found


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has just ended
        return 0


def _own(process: psutil.Process) -> int:
    """The process's part of what it shares with others, and all that it has alone; where nobody knows, all it has."""
    try:
        return int(getattr(process.memory_full_info(), "pss", 0)) or _resident(process)
    except psutil.Error:
        return _resident(process)
