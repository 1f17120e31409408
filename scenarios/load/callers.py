"""Callers in a process of their own: one run of locust without its web UI, and what it measured."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from scenarios.load.samples import Mode, Samples
from simulator.errors import PlatformError
from simulator.processes.spawn import Processes

LOCUST_FILE: Final = Path(__file__).with_name("locustfile.py")
CALLERS: Final[Mapping[Mode, str]] = {"sync": "SyncCaller", "async": "AsyncCaller"}
STOP_TIMEOUT_S: Final = 60
"""Callers finish the call that they are in: each accepted invocation is followed to its result."""
FAILED_REQUESTS: Final = 1
"""locust's exit code when a request failed; the samples say which."""


@dataclass(frozen=True, slots=True)
class Run:
    """What callers do: `callers` at once in one mode, against one pool of the API at `url`, for `seconds`."""

    url: str
    pool: str
    mode: Mode
    callers: int
    seconds: int


async def run_callers(processes: Processes, run: Run, directory: Path) -> Samples:
    """Run locust until its time is over and every caller has its last answer; its log goes to `directory`.

    Raises:
        PlatformError: locust did not do its work; the message holds the end of its log.
    """
    file, log = directory / "samples.json", directory / "locust.log"
    file.unlink(missing_ok=True)
    process = await processes.start(command_of(run, file), env=dict(os.environ), cwd=directory, log=log)
    try:
        code = await process.wait()
    finally:
        await process.kill()
    if code not in (0, FAILED_REQUESTS) or not file.exists():
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        raise PlatformError(f"locust ended with {code}: {' / '.join(last)}")
    return msgspec.json.decode(file.read_bytes(), type=Samples)


def command_of(run: Run, samples: Path) -> list[str]:
    """The command line of one run."""
    return [
        *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--locustfile", str(LOCUST_FILE)),
        *("--host", run.url, "--pool", run.pool, "--samples", str(samples)),
        *("--users", str(run.callers), "--spawn-rate", str(run.callers)),
        *("--run-time", f"{run.seconds}s", "--stop-timeout", str(STOP_TIMEOUT_S)),
        CALLERS[run.mode],
    ]
