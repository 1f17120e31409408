"""The rules for the socket file (contract section 8): made safely, never at the cost of anything that is not ours."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from framework.contract import MAX_SOCKET_PATH_BYTES, ContractError

BACKLOG: Final = 1024
"""Connections that may wait to be accepted; a burst beyond it is refused with EAGAIN."""

_DIRECTORY_UMASK: Final = 0o022
_SOCKET_UMASK: Final = 0o117


class SocketError(Exception):
    """The socket cannot be made at this path; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that listens, and the file it is reached by."""

    path: str
    socket: socket.socket
    identity: tuple[int, int]

    def remove_file(self) -> None:
        """Remove the file, so that nobody new can connect, unless another program has put its own in its place."""
        try:
            if _identity(self.path) == self.identity:
                Path(self.path).unlink()
        except FileNotFoundError:
            return


def listen_at(path: str) -> ListeningSocket:
    """Listen at `path` with mode 0660; the caller removes the file and closes the socket.

    Parent directories are made with mode 0755. A socket that nobody serves any more is replaced. Its group is the
    process's, or that of a setgid directory: so a sidecar of another user in that group can connect (S24).

    Raises:
        ContractError: the path is empty or longer than a socket path may be.
        SocketError: something else is at the path, a live server answers there, or the system refuses.
    """
    _check_length(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listener, path)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        return ListeningSocket(path, listener, _identity(path))
    except OSError as error:
        listener.close()
        raise SocketError(f"cannot make socket {path}: {error.strerror}; choose another path") from error
    except BaseException:
        listener.close()
        raise


def _check_length(path: str) -> None:
    length = len(path.encode())
    if not 0 < length <= MAX_SOCKET_PATH_BYTES:
        raise ContractError(
            f"socket path {path!r} is {length} bytes long: 1 to {MAX_SOCKET_PATH_BYTES} bytes are possible"
        )


def _bind(listener: socket.socket, path: str) -> None:
    directory = Path(path).parent
    with _umask(_DIRECTORY_UMASK):
        directory.mkdir(parents=True, exist_ok=True)
    _check_directory(directory)
    _remove_stale(path)
    with _umask(_SOCKET_UMASK):
        listener.bind(path)


def _check_directory(directory: Path) -> None:
    """Refuse a link that another user put in the directory's place: it says where our socket would really be.

    Links of root and of our own stay possible, as for the kernel's `protected_symlinks`.
    """
    found = directory.lstat()
    if stat.S_ISLNK(found.st_mode) and found.st_uid not in {0, os.geteuid()}:
        raise SocketError(f"{directory} is a link of user {found.st_uid}; use the directory itself or another path")


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketError(f"{path} exists and is not a socket; remove it or choose another path")
    if _is_served(path):
        raise SocketError(f"another program serves {path}; stop it or choose another path")
    Path(path).unlink()


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except BlockingIOError:
            return True  # served, but its backlog is full
    return True


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    previous = os.umask(mask)
    try:
        yield
    finally:
        os.umask(previous)
