"""Starter of one child process on Linux: dies with its parent, may have its own mounts and user, becomes the program.

    python -I -S launch.py PARENT_PID USER CWD ERROR MOUNTS [SOURCE TARGET]... PROGRAM [ARGUMENT]...

USER is `-` for the parent's own, or `UID:GID:GROUP,...` and a last `:n` if no program may ever gain privileges again.
MOUNTS is the number of pairs that follow: each SOURCE appears at TARGET, for this process and its descendants only;
an empty SOURCE is an empty directory, in which the targets of later pairs are made. Sources are looked up before
anything is mounted. Standard error is the channel to the parent until the program runs: one line that says why it does
not (and exit code 121), or nothing. The program then gets the descriptor ERROR as its standard error. A terminal as
standard input becomes the controlling one.

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
_PR_SET_NO_NEW_PRIVS = 38
_SIGKILL = 9
_SIGPIPE, _SIGXFSZ = 13, 25
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV = 2, 4
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Become the program; returns only by raising OSError."""
    parent, user, cwd, error, count, *rest = arguments
    pairs, command = rest[: 2 * int(count)], rest[2 * int(count) :]
    environment = _environment()  # another user may not read it any more
    _die_with_parent(int(parent))
    if pairs:
        _enter_mount_namespace()
        _make_mounts(pairs[::2], pairs[1::2])
    if user != "-":
        _explained(f"cannot become the user {user}", _become, user)
    _die_with_parent(int(parent))  # each change of credentials has cleared it
    _explained(f"cannot enter the directory {cwd}", os.chdir, cwd)
    # Python ignores these two, and what is ignored stays so in the program.
    for number in (_SIGPIPE, _SIGXFSZ):
        _libc.signal(number, None)
    if os.isatty(0) and os.getsid(0) == os.getpid():
        _explained("cannot take the terminal", _take_terminal)
    os.dup2(int(error), 2)
    if int(error) > 2:
        os.close(int(error))
    _explained(f"cannot start {command[0]!r}", os.execvpe, command[0], command, environment)


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
    if _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0) != 0:
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


def _make_mounts(sources: list[str], targets: list[str]) -> None:
    opened = [_open(source) if source else "" for source in sources]
    covers: list[str] = []
    for source, path, target in zip(sources, opened, targets, strict=True):
        if any(target.startswith(f"{cover}/") for cover in covers):
            _make_target(target, source == "" or os.path.isdir(path))  # noqa: PTH112 - no pathlib here
        if source:
            _mount(path, target, _MS_BIND | _MS_REC, source)
        else:
            _mount("tmpfs", target, _MS_NOSUID | _MS_NODEV, "an empty directory", b"mode=0755")
            covers.append(target)


def _open(source: str) -> str:
    """A path of the source that stays good when something is mounted over it."""
    try:
        return f"/proc/self/fd/{os.open(source, os.O_PATH | os.O_CLOEXEC)}"
    except OSError as error:
        raise OSError(error.errno, f"cannot bind {source}: {error.strerror}") from error


def _make_target(target: str, is_directory: bool) -> None:
    mask = os.umask(0o022)
    try:
        os.makedirs(target if is_directory else os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        if not is_directory:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    finally:
        os.umask(mask)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _become(user: str) -> None:
    uid, gid, groups, *rest = user.split(":")
    if rest and _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))  # from root: with it go all capabilities


def _mount(source: str, target: str, flags: int, name: str = "", options: "bytes | None" = None) -> None:
    kind = b"tmpfs" if options else None
    if _libc.mount(os.fsencode(source), os.fsencode(target), kind, flags, options) != 0:
        problem = os.strerror(ctypes.get_errno())
        raise OSError(ctypes.get_errno(), f"cannot bind {name or source}: {problem}", target)


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
