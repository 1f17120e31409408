"""The kubeconfig of `unitsim up` at a place of the user's choice, for other terminals."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from simulator.errors import UsageError
from simulator.kube.access.kubeconfig import NAME

MAX_BYTES: Final = 100_000


def check_place(path: Path) -> None:
    """Make sure that writing there loses nothing: no file, or what an earlier platform left behind.

    Raises:
        UsageError: somebody else's file is there, or none can be made.
    """
    try:
        if path.is_symlink() or (path.exists() and not _is_ours(path)):
            raise UsageError(f"--kubeconfig {path} is there and was not made by unitsim: give a new file")
        if not path.parent.is_dir():
            raise UsageError(f"--kubeconfig {path}: there is no directory {path.parent}")
    except OSError as error:
        raise UsageError(f"--kubeconfig {path} cannot be looked at: {error.strerror}") from error


@contextmanager
def copied(source: Path, path: Path) -> Iterator[None]:
    """A copy that its owner only may read, while the block runs; what another platform has put there meanwhile stays.

    Raises:
        UsageError: it cannot be written.
    """
    content = source.read_bytes()
    try:
        _write(path, content)
    except OSError as error:
        raise UsageError(f"--kubeconfig {path} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        if _content(path) == content:
            path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _is_ours(path: Path) -> bool:
    try:
        clusters = json.loads(_content(path))["clusters"]
        return [cluster["name"] for cluster in clusters] == [NAME]
    except (ValueError, KeyError, TypeError):
        return False


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return b""
