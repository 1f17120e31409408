"""Children that run as another user: who they are, what they see, and that they end as others do."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.processes.availability import separate_users_problem
from simulator.processes.spawn import CannotStartError, Processes
from simulator.processes.users import User

pytestmark = pytest.mark.e2e

Until = Callable[[Callable[[], bool]], Awaitable[None]]

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
PR_GET_PDEATHSIG = 2
SOMEBODY = User(64102, 64103, (64100,))


def needs_separate_users(test: Any) -> Any:
    return pytest.mark.skipif(
        separate_users_problem() is not None, reason=f"no separate users: {separate_users_problem()}"
    )(test)


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with asyncio.timeout(30), Processes() as owner:
        yield owner


async def output_of(processes: Processes, directory: Path, script: str, **options: Any) -> list[str]:
    """What a shell script says that runs as `SOMEBODY` in the directory."""
    log = directory / "log"
    process = await processes.start(["sh", "-c", script], env=ENV, cwd=directory, log=log, user=SOMEBODY, **options)
    await process.wait()
    return log.read_text().split()


@needs_separate_users
async def test_child_is_the_user_it_was_given_and_can_become_no_other(processes: Processes, tmp_path: Path) -> None:
    script = "id -u; id -g; id -G; grep -h -e ^Cap[EP] -e ^NoNew /proc/self/status; echo again >> /dev/stderr"
    assert (await output_of(processes, tmp_path, script)) == [
        *("64102", "64103", "64103", "64100"),
        *("CapPrm:", "0" * 16, "CapEff:", "0" * 16, "NoNewPrivs:", "1"),
        "again",
    ]


@needs_separate_users
async def test_another_user_sees_what_it_needs_of_closed_directories_and_no_more(
    processes: Processes, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    for name in ("work", "needed", "secret"):
        (closed / name).mkdir(parents=True)
        (closed / name / "file").write_text(f"content-of-{name}\n")
    closed.chmod(0o700)
    script = f"cat file; ls {closed}; cat {closed}/*/file; pwd"
    assert await output_of(processes, closed / "work", script, needs=[closed / "needed"]) == [
        *("content-of-work", "needed", "work", "content-of-needed", "content-of-work"),
        str(closed / "work"),
    ]


@needs_separate_users
async def test_binds_come_from_directories_that_the_child_cannot_see(processes: Processes, tmp_path: Path) -> None:
    source, point = tmp_path / "closed/source", tmp_path / "point"
    for directory in (source, point):
        directory.mkdir(parents=True)
    (source / "file").write_text("bound\n")
    (tmp_path / "closed").chmod(0o700)
    (tmp_path / "work").mkdir()
    script = f"cat {point}/file; ls {tmp_path}"
    assert await output_of(processes, tmp_path / "work", script, binds=[(source, point)]) == ["bound", "point", "work"]


@needs_separate_users
async def test_another_users_child_dies_with_the_parent_and_can_be_killed(
    processes: Processes, tmp_path: Path, until: Until
) -> None:
    log = tmp_path / "log"
    script = f"import ctypes, time; n = ctypes.c_int(); ctypes.CDLL(None).prctl({PR_GET_PDEATHSIG}, ctypes.byref(n))"
    code = f"{script}; print(n.value, flush=True); time.sleep(600)"
    process = await processes.start([sys.executable, "-c", code], env=ENV, cwd=tmp_path, log=log, user=SOMEBODY)
    await until(lambda: log.exists() and log.read_text().endswith("\n"))
    assert log.read_text() == f"{signal.SIGKILL.value}\n"
    assert await process.terminate(10) == -signal.SIGTERM


@pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")
async def test_a_user_that_cannot_be_become_is_named(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(CannotStartError, match="only root can"):
        await output_of(processes, tmp_path, "true")
