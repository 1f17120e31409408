"""Starter of one child process on Linux: dies with its parent, may see its own mounts, then becomes the program.

    python -I -S launch.py PARENT_PID CWD BINDS [SOURCE TARGET]... PROGRAM [ARGUMENT]...

BINDS is the number of directory pairs that follow: each SOURCE appears at TARGET, for this process and its
descendants only. Standard error is the channel to the parent until the program runs: one line that says why it does
not (and exit code 121), or nothing. The program then gets standard output for both.

This runs before each child, so it imports what it needs and no more (`json` alone would double its time).
"""

import ctypes
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CANNOT_START = 121
"""Exit code when the program was not started."""

_PR_SET_PDEATHSIG = 1
_SIGKILL = 9
_SIGPIPE, _SIGXFSZ = 13, 25
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Become the program; returns only by raising OSError."""
    parent, cwd, count = int(arguments[0]), arguments[1], int(arguments[2])
    pairs, command = arguments[3 : 3 + 2 * count], arguments[3 + 2 * count :]
    _die_with_parent(parent)
    if count:
        _enter_mount_namespace()
        _die_with_parent(parent)  # the change of credentials has cleared it
        for source, target in zip(pairs[::2], pairs[1::2], strict=True):
            _mount(source, target, _MS_BIND | _MS_REC)
    _explained(f"cannot enter the directory {cwd}", os.chdir, cwd)
    # Python ignores these two, and what is ignored stays so in the program.
    for number in (_SIGPIPE, _SIGXFSZ):
        _libc.signal(number, None)
    os.dup2(1, 2)
    _explained(f"cannot start {command[0]!r}", os.execvpe, command[0], command, _environment())


def _environment() -> dict[bytes, bytes]:
    """The environment as the parent gave it: in a C locale the interpreter adds LC_CTYPE to its own."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib would add 10 ms to every start
        pairs = (item.partition(b"=") for item in file.read().split(b"\0"))
    return {name: value for name, _, value in pairs if name}


def _explained(problem: str, call: "Callable[..., object]", *arguments: object) -> None:
    try:
        call(*arguments)
    except OSError as error:
        raise OSError(error.errno, f"{problem}: {error.strerror}") from error


def _die_with_parent(parent: int) -> None:
    if _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "cannot ask to be killed with the parent")
    if os.getppid() != parent:
        os._exit(CANNOT_START)  # it died before we asked


def _enter_mount_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 or _libc.unshare(_CLONE_NEWNS) != 0:
        if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter a mount namespace")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    _mount("none", "/", _MS_REC | _MS_PRIVATE)


def _mount(source: str, target: str, flags: int) -> None:
    if _libc.mount(os.fsencode(source), os.fsencode(target), None, flags, None) != 0:
        raise OSError(ctypes.get_errno(), f"cannot bind {source}: {os.strerror(ctypes.get_errno())}", target)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib would add 10 ms to every start
        file.write(text)


if __name__ == "__main__":
    # Kept for the error message; like every descriptor that Python makes it is closed by exec.
    channel = os.dup(2)
    try:
        main(sys.argv[1:])
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        os.write(channel, f"{error.strerror}{where}\n".encode(errors="replace"))
        os._exit(CANNOT_START)
