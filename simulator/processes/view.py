"""What another user must be shown of this machine's files to run a program: mounts of the program's own.

A platform that runs as root keeps its things, and often its Python, below directories that only root may enter. Rather
than to open these, each program gets a view of its own: the closed directory is covered by an empty one, and what the
program needs is bound into that. Whatever else is there is out of reach, the files of other pods included.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from simulator.processes.users import User

Mount = tuple[Path | None, Path]
"""A source and where it appears; None is an empty directory."""

PROJECT = Path(__file__).parents[2]
"""Where this project's packages are: a checkout, or a directory of installed packages."""


def interpreter_paths() -> tuple[Path, ...]:
    """What every program needs that runs in this project's Python."""
    return (Path(sys.prefix), Path(sys.base_prefix), PROJECT)


def mounts_for(user: User, needs: Iterable[Path]) -> list[Mount]:
    """Return the mounts, in their order, with which the user reaches the files and directories `needs`.

    A directory among them which the user itself may not enter is shown entry by entry; every entry keeps its own mode.
    What does not exist is left out: the program will say what it lacks.
    """
    mounts: dict[Path, Path | None] = {}
    for path in _real_paths(needs):
        nearest = next((parent for parent in (path, *path.parents) if parent in mounts), None)
        if nearest == path or not path.exists():
            continue
        if nearest is None or mounts[nearest] is not None:
            barrier = _barrier(user, path, nearest)
            if barrier is None and not _is_closed(user, path):
                continue  # it can be reached as it is
            if barrier is not None:
                mounts[barrier] = None
        mounts |= _shown(user, path)
    return [(source, target) for target, source in mounts.items()]


def _real_paths(needs: Iterable[Path]) -> list[Path]:
    """Where the needed things are and, of a symbolic link, also the link; parents before what is in them."""
    found = {path.resolve() for path in needs}
    return sorted(found | {path.parent.resolve() / path.name for path in needs})


def _barrier(user: User, path: Path, below: Path | None) -> Path | None:
    """The topmost directory on the way to `path`, below an open one, which the user may not enter."""
    ancestors = [parent for parent in reversed(path.parents) if below is None or parent.is_relative_to(below)]
    return next((parent for parent in ancestors if _is_closed(user, parent)), None)


def _is_closed(user: User, path: Path) -> bool:
    return path.is_dir() and not user.may_enter(path.stat())


def _shown(user: User, path: Path) -> dict[Path, Path | None]:
    if not _is_closed(user, path):
        return {path: path}
    return {path: None, **{entry: entry for entry in sorted(path.iterdir()) if entry.exists()}}
