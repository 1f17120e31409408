"""Memory limits that the kernel keeps, by control groups (cgroups) of version 1 or 2.

A platform has one group below (version 1) or beside (version 2, where a group that has groups may have no process) its
own, and a container one in that.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

CGROUP_FILE: Final = Path("/proc/self/cgroup")
MOUNTS_FILE: Final = Path("/proc/self/mountinfo")
CONTROLLER: Final = "memory"
PROBE_BYTES: Final = 1 << 30
PROBE_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Version:
    """The names that a version has for what we need. `limits` are set to a size, and `extras` to their values, all but
    the first limit only if the kernel has them; `counter` has a line `oom_kill N`.
    """

    limits: tuple[str, ...]
    extras: tuple[tuple[str, str], ...]
    counter: str


V1: Final = Version(("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"), (), "memory.oom_control")
V2: Final = Version(("memory.max",), (("memory.swap.max", "0"), ("memory.oom.group", "1")), "memory.events")


class CgroupLimit:
    """A limit that is a control group. It goes when nothing runs in it any more; at the latest with its parent."""

    def __init__(self, directory: Path, size: int, version: Version) -> None:
        self._directory = directory
        self._size = str(size)
        self._version = version

    def __enter__(self) -> Self:
        """Raises OSError: the kernel refuses the group, or its limit."""
        self._directory.mkdir()
        first, *others = self._version.limits
        (self._directory / first).write_text(self._size)
        for name, value in (*((other, self._size) for other in others), *self._version.extras):
            if (self._directory / name).exists():
                (self._directory / name).write_text(value)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # something of it is still dying
            self._directory.rmdir()

    def hold(self, group: int) -> None:
        """Keep a process, and what it will start, to the limit."""
        with contextlib.suppress(ProcessLookupError):
            (self._directory / "cgroup.procs").write_text(str(group))

    @property
    def was_exceeded(self) -> bool:
        """Whether the kernel killed one of its processes for its memory."""
        lines = (self._directory / self._version.counter).read_text().splitlines()
        return any(name == "oom_kill" and count != "0" for name, _, count in (line.partition(" ") for line in lines))


class CgroupLimits:
    """Gives limits that are groups in the group `parent`."""

    def __init__(self, parent: Path, version: Version) -> None:
        self.parent = parent
        self._version = version

    def limit(self, name: str, size: int) -> CgroupLimit:
        """Return a limit of so many bytes; no two at a time may have one name."""
        return CgroupLimit(self.parent / name, size, self._version)

    async def run(self) -> None:
        """Nothing to do: the kernel does it."""


def cgroup_limits(name: str) -> CgroupLimits | None:
    """Make a group of this name, for limits in it; None if this process may not. The caller removes its `parent`."""
    try:
        texts = CGROUP_FILE.read_text(), MOUNTS_FILE.read_text()
    except OSError:  # no Linux
        return None
    for place, version in places(*texts):
        limits = CgroupLimits(place / name, version)
        try:
            limits.parent.mkdir()
            if version is V2:
                (limits.parent / "cgroup.subtree_control").write_text(f"+{CONTROLLER}")
            with limits.limit("probe", PROBE_BYTES):
                _move_somebody(limits.parent / "probe")
        except (OSError, subprocess.SubprocessError):
            with contextlib.suppress(OSError):
                limits.parent.rmdir()
        else:
            return limits
    return None


def _move_somebody(group: Path) -> None:
    command = ["/bin/sh", "-c", 'echo $$ > "$0"', str(group / "cgroup.procs")]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=PROBE_TIMEOUT_S)


def places(cgroups: str, mounts: str) -> Iterator[tuple[Path, Version]]:
    """Where this process could make groups with limits, by what the kernel says of its groups and mounts."""
    own: dict[str, str] = {}
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup" and CONTROLLER in options.split(","):
            yield from ((place, V1) for place in _visible(own.get(CONTROLLER), root, point))
        elif kind == "cgroup2":
            yield from ((place.parent, V2) for place in _visible(own.get(""), root, point) if place != Path(point))


def _visible(path: str | None, root: str, point: str) -> Iterator[Path]:
    """The place of a group below a mount point that shows the groups from `root` on."""
    if path is not None and not (below := os.path.relpath(path, root)).startswith(".."):
        yield Path(point) / below
