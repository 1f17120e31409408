"""Memory limits of processes: where the kernel can keep them, and that those who have too much are killed."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from simulator.processes.cgroups import V1, V2, Version, cgroup_limits, places
from simulator.processes.memory import MemoryLimits, MemoryWatch
from simulator.processes.spawn import Processes

pytestmark = pytest.mark.e2e

ONE_MOUNT = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
OTHER_MOUNTS = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n32 31 0:29 / /c/cpu rw - cgroup cgroup rw,cpu"
MIB = 1 << 20


@pytest.mark.parametrize(
    ("cgroups", "mounts", "found"),
    [
        ("4:memory:/a/b\n0::/", ONE_MOUNT, [(Path("/sys/fs/cgroup/memory/a/b"), V1)]),
        ("4:memory:/\n1:cpu:/x", f"{OTHER_MOUNTS}\n{ONE_MOUNT}", [(Path("/sys/fs/cgroup/memory"), V1)]),
        ("9:cpu,memory:/docker/1", ONE_MOUNT.replace(" / ", " /docker/1 "), [(Path("/sys/fs/cgroup/memory"), V1)]),
        ("4:memory:/", ONE_MOUNT.replace(" / ", " /docker/1 "), []),  # what is mounted is another one's
        ("0::/user.slice/a.scope", "3 2 0:3 / /c rw shared:4 - cgroup2 cgroup2 rw", [(Path("/c/user.slice"), V2)]),
        ("0::/", "3 2 0:3 / /c rw - cgroup2 cgroup2 rw,nsdelegate", []),
        ("1:cpu:/", OTHER_MOUNTS, []),
    ],
)
def test_places_for_groups(cgroups: str, mounts: str, found: list[tuple[Path, Version]]) -> None:
    assert list(places(cgroups, mounts)) == found


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with asyncio.timeout(60), Processes() as owner:
        yield owner


@pytest.fixture(params=["cgroup", "watch"])
async def limits(request: pytest.FixtureRequest, processes: Processes) -> AsyncIterator[MemoryLimits]:
    """Both ways in which limits are kept."""
    if request.param == "watch":
        made: MemoryLimits = MemoryWatch()
    elif (groups := cgroup_limits(f"unitsim-test-{uuid4().hex}")) is not None:
        processes.remove_at_end(groups.parent)
        made = groups
    else:
        pytest.skip("this process may not make control groups with a memory limit")
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


async def ended(processes: Processes, limits: MemoryLimits, directory: Path, code: str) -> tuple[int, bool]:
    """How a program ends that may have 64 MiB, and whether it is said to have had more."""
    with limits.limit("one", 64 * MIB) as limit:
        command = [sys.executable, "-S", "-c", code]
        process = await processes.start(command, env={}, cwd=directory, log=directory / "log", memory=limit)
        return await process.wait(), limit.was_exceeded


async def test_who_has_too_much_is_killed(processes: Processes, limits: MemoryLimits, tmp_path: Path) -> None:
    code = "import time; x = bytearray(200 << 20); time.sleep(600)"
    assert await ended(processes, limits, tmp_path, code) == (-signal.SIGKILL, True)


async def test_what_descendants_have_counts(processes: Processes, limits: MemoryLimits, tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "pids = [os.fork(), os.fork()]\n"
        "x = bytearray(30 << 20)\n"
        "[os.waitpid(pid, 0) for pid in pids if pid] or time.sleep(600)\n"
        "os.kill(os.getpid(), 9)"
    )
    assert await ended(processes, limits, tmp_path, code) == (-signal.SIGKILL, True)


async def test_who_keeps_to_the_limit_is_not(processes: Processes, limits: MemoryLimits, tmp_path: Path) -> None:
    """What processes have in common is counted once: three of these would have 120 MiB."""
    code = (
        "import os, time\n"
        "x = bytearray(40 << 20)\n"
        "pids = [os.fork(), os.fork()]\n"
        "time.sleep(0.6)\n"
        "[os.waitpid(pid, 0) for pid in pids if pid]\n"
    )
    assert await ended(processes, limits, tmp_path, code) == (0, False)


async def test_a_killed_program_is_not_said_to_have_had_too_much(
    processes: Processes, limits: MemoryLimits, tmp_path: Path
) -> None:
    code = "import os; os.kill(os.getpid(), 9)"
    assert await ended(processes, limits, tmp_path, code) == (-signal.SIGKILL, False)


async def test_groups_are_gone_with_their_owner(tmp_path: Path) -> None:
    async with Processes() as processes:
        if (groups := cgroup_limits(f"unitsim-test-{uuid4().hex}")) is None:
            pytest.skip("this process may not make control groups with a memory limit")
        processes.remove_at_end(groups.parent)
        with groups.limit("one", 64 * MIB) as limit:
            await processes.start(["sleep", "600"], env={}, cwd=tmp_path, log=tmp_path / "log", memory=limit)
            assert (groups.parent / "one/cgroup.procs").read_text().count("\n") == 1
    assert not groups.parent.exists()
