"""The directories that stand for a pod's volumes, with the owners and modes that its containers need."""

import base64
import os
from pathlib import Path
from typing import Final

from simulator.kube.kinds import Object

SETGID: Final = 0o2000
"""What is made in such a directory belongs to the directory's group: a socket, say, that another user connects to."""
GROUP_MAY_READ: Final = 0o440


def make_empty_dir(directory: Path, group: int | None, *, separate_users: bool) -> None:
    """Make the directory of an emptyDir; `group` owns it where containers have users of their own.

    Without a group every user may write there, as on a cluster: no container sees a directory that it does not mount.
    """
    directory.mkdir(exist_ok=True)
    _give(directory, group, separate_users=separate_users, shared=0o770, to_all=0o777)


def make_secret_dir(directory: Path, group: int | None, *, separate_users: bool) -> None:
    """Make the directory of a Secret's volume, still empty, in which no container may write."""
    directory.mkdir()
    _give(directory, group, separate_users=separate_users, shared=0o750, to_all=0o755)


def write_secret(directory: Path, secret: Object, mode: int, group: int | None, *, separate_users: bool) -> None:
    """Write a file for each key; a volume's group may always read them."""
    for key, value in (secret.get("data") or {}).items():
        descriptor = os.open(directory / key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64decode(value))
            if separate_users and group is not None:
                os.fchown(descriptor, -1, group)
                mode |= GROUP_MAY_READ
            os.fchmod(descriptor, mode)


def _give(directory: Path, group: int | None, *, separate_users: bool, shared: int, to_all: int) -> None:
    if not separate_users:
        directory.chmod(shared)
    elif group is None:
        directory.chmod(to_all)
    else:
        os.chown(directory, -1, group)
        directory.chmod(shared | SETGID)
