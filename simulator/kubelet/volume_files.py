"""The directories that stand for a pod's volumes, with the owners and modes that its containers need."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SETGID: Final = 0o2000
"""What is made in such a directory belongs to the directory's group: a socket, say, that another user connects to."""
GROUP_MAY_READ: Final = 0o440


def make_empty_dir(directory: Path, group: int | None, *, separate_users: bool) -> None:
    """Make the directory of an emptyDir; `group` owns it where containers have users of their own.

    Without a group every user may write there, as on a cluster: no container sees a directory that it does not mount.
    """
    directory.mkdir(exist_ok=True)
    _give(directory, group, separate_users=separate_users, shared=0o770, to_all=0o777)


def make_files_dir(directory: Path, group: int | None, *, separate_users: bool) -> None:
    """Make the directory of a volume with files, still empty, in which no container may write."""
    directory.mkdir()
    _give(directory, group, separate_users=separate_users, shared=0o750, to_all=0o755)


def write_files(
    directory: Path, files: Mapping[str, bytes], mode: int, group: int | None, *, separate_users: bool
) -> None:
    """Write files by their paths below the directory; a volume's group may always read them."""
    if separate_users and group is not None:
        mode |= GROUP_MAY_READ
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if separate_users and group is not None:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)


def _give(directory: Path, group: int | None, *, separate_users: bool, shared: int, to_all: int) -> None:
    if not separate_users:
        directory.chmod(shared)
    elif group is None:
        directory.chmod(to_all)
    else:
        os.chown(directory, -1, group)
        directory.chmod(shared | SETGID)
