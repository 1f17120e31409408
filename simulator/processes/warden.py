"""Watchdog of one platform process: when that ends, however it ends, nothing that it registered is left.

    python -I -S warden.py < pipe

Commands, one per line:

    group PGID     kill this process group at the end
    forget PGID    the group is gone; its number may be given to somebody else
    dir PATH       remove this directory tree at the end
    mount PATH     remove this shared mount point at the end, unless another platform uses it
    unmount PATH   the mount point has been dealt with

The end is when the pipe closes: the parent has finished, crashed, or was killed. The warden lives in a session of its
own and ignores the signals that end its parent. It uses the standard library only, and nothing of Linux that it
cannot do without.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MOUNT_POINT_MODE = 0o1777
"""Mode that a platform gives to a mount point it makes, so that it, and no other directory, is removed again."""

REMOVAL_ATTEMPTS = 40
REMOVAL_PAUSE_S = 0.05
"""What dies still writes, and holds its locks, for a moment: removal is tried again, for 2 s at most."""


class Registry:
    """What has to be ended and removed."""

    def __init__(self) -> None:
        self._groups: dict[int, str] = {}
        self._directories: list[str] = []
        self._mount_points: list[str] = []

    def note(self, line: str) -> None:
        """Take in one command; what is cut short or not understood is ignored, for the rest must still be done."""
        if not line.endswith("\n"):
            return
        command, _, operand = line.rstrip("\n").partition(" ")
        if command == "group" and operand.isdigit():
            self._groups[int(operand)] = start_time(int(operand))
        elif command == "forget" and operand.isdigit():
            self._groups.pop(int(operand), None)
        elif command == "dir":
            self._directories.append(operand)
        elif command == "mount":
            self._mount_points.append(operand)
        elif command == "unmount" and operand in self._mount_points:
            self._mount_points.remove(operand)

    def end_all(self) -> None:
        """Kill the groups, then remove directories and mount points."""
        for group, started in self._groups.items():
            now = start_time(group)
            # Another start time is another process, which got the number after ours was gone.
            if not now or not started or now == started:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(group, signal.SIGKILL)
        _try_until_gone(self._directories, lambda path: shutil.rmtree(path, ignore_errors=True))
        _try_until_gone(self._mount_points, remove_if_unused)


def start_time(pid: int) -> str:
    """When the process started, in the kernel's ticks; empty if there is no such process or no /proc."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - see module
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def remove_if_unused(path: str) -> bool:
    """Remove a mount point that a platform made, if nobody holds its lock; return whether it was removed.

    The lock matters: removing a directory also unmounts what other mount namespaces have mounted on it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.fstat(descriptor)
        if stat.S_IMODE(mine.st_mode) != MOUNT_POINT_MODE or not os.path.samestat(mine, os.stat(path)):  # noqa: PTH116
            return False
        os.rmdir(path)  # noqa: PTH106 - no pathlib here
    except OSError:  # in use, not empty, or not ours
        return False
    finally:
        os.close(descriptor)
    return True


def _try_until_gone(paths: "list[str]", remove: "Callable[[str], object]") -> None:
    for _ in range(REMOVAL_ATTEMPTS):
        for path in paths:
            remove(path)
        paths = [path for path in paths if os.path.lexists(path)]
        if not paths:
            return
        time.sleep(REMOVAL_PAUSE_S)


def main() -> None:
    """Read commands until the pipe closes, then end everything."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    registry = Registry()
    for line in sys.stdin:
        registry.note(line)
    registry.end_all()


if __name__ == "__main__":
    main()
