"""Files that are kept from one start to the next, for their owner only: in `$XDG_CACHE_HOME` or `~/.cache`.

What others could have put there, or could read, is not used. All access goes by descriptor, so that nothing can be
exchanged between the look at it and its use.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

NAME: Final = "gpuunit-sim"
MAX_BYTES: Final = 64 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SUFFIX_BYTES: Final = 8


class UnusableCacheError(Exception):
    """Nothing can be kept; the message says why."""


@contextlib.contextmanager
def cache_directory() -> Iterator[int]:
    """Open our directory of the cache as a descriptor; it is made where there is none.

    Raises:
        UnusableCacheError: it is no directory, is not ours alone, or cannot be made; or the block had an OSError.
    """
    try:
        path = cache_home() / NAME
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not _is_ours_alone(descriptor, stat.S_ISDIR):
                raise UnusableCacheError(f"{path} is not ours alone: chmod 700 it, or remove it")
            yield descriptor
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        raise UnusableCacheError(str(error)) from error


def read_private(directory: int, name: str) -> bytes | None:
    """The content of a file; None if there is none, or if it is not ours alone."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_BYTES) if _is_ours_alone(descriptor, stat.S_ISREG) else None


def write_private(directory: int, name: str, content: bytes) -> None:
    """Put a file in place of what is there, all at once: whoever reads it meanwhile gets the one or the other."""
    temporary = f".{name}.{secrets.token_hex(_SUFFIX_BYTES)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=directory), "wb") as file:
            file.write(content)
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise


def cache_home() -> Path:
    """Where this user's programs keep what can be made again."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return Path(named) if named.startswith("/") else Path.home() / ".cache"


def _is_ours_alone(descriptor: int, is_kind: Callable[[int], bool]) -> bool:
    found = os.fstat(descriptor)
    return is_kind(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & _OTHERS
