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
from tests.kubectl import NoKubectlError, kubectl_or_reason


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where tests/e2e/test_seed_cluster.py goes; without a context, to a platform of its own."""
    seed = parser.getgroup("seed", "the seed verification on another cluster")
    seed.addoption("--seed-context", help="the cluster, as a context of the kubeconfig")
    seed.addoption("--seed-kubeconfig", default=os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config")))
    seed.addoption("--seed-api-url", help="the runtime API of the platform that is installed there")
    seed.addoption("--seed-image", default="python:3.12", help="what the unit runs")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Get kubectl before the first test that runs it: to fetch it may take longer than a test may."""
    wanted = any("kubectl_binary" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        kubectl_or_reason()


@pytest.fixture(scope="session")
def kubectl_binary() -> Path:
    """The unmodified kubectl, of the release that tests are written for."""
    found = kubectl_or_reason()
    if isinstance(found, NoKubectlError):
        pytest.skip(f"no kubectl: {found}")
    return found


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
    parent = _held(Path(SOCKET_DIR))
    directory = Path(tempfile.mkdtemp(dir=SOCKET_DIR))
    yield directory
    shutil.rmtree(directory)
    # A platform that uses it as a mount point holds a lock, as another test does; others have something in it.
    with contextlib.suppress(OSError):
        fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(SOCKET_DIR).rmdir()
    os.close(parent)


def _held(path: Path) -> int:
    """Make a directory, if need be, and keep others from removing it, as a platform does; return its descriptor."""
    while True:
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        with contextlib.suppress(FileNotFoundError):  # somebody removes it right now
            descriptor = os.open(path, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
            os.close(descriptor)
