"""What all tests share: logging as it is at start, and a directory below the contract's socket directory."""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from framework.contract import SOCKET_DIR


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> Iterator[None]:
    """Programs under test can be interrupted, also where this run cannot: background jobs of a shell ignore SIGINT."""
    previous = signal.getsignal(signal.SIGINT)
    if previous is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def socket_directory() -> Iterator[Path]:
    """A directory of the test's own below `SOCKET_DIR`, for processes that are started by hand."""
    Path(SOCKET_DIR).mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=SOCKET_DIR))
    yield directory
    shutil.rmtree(directory)
    parent = os.open(SOCKET_DIR, os.O_RDONLY)
    # A platform that uses it as a mount point holds a lock; others have something in it.
    with contextlib.suppress(OSError):
        fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(SOCKET_DIR).rmdir()
    os.close(parent)
