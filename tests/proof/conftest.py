"""The stage that the proofs run on: see `tests.proof.stage`."""

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.proof.stage import Stage


@pytest.fixture
def short_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(dir="/tmp", prefix="proof-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
async def stage(short_directory: Path, socket_directory: Path) -> AsyncIterator[Stage]:
    async with Stage(short_directory, socket_directory).open() as stage:
        yield stage
    # What the processes said: pytest shows it with a failure.
    sys.stderr.write((short_directory / "stderr.log").read_text())
