"""Children start with what they are given and nothing else, and none outlives its owner."""

import asyncio
import functools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from simulator.processes.availability import mount_namespaces_available
from simulator.processes.spawn import CannotStartError, Processes

pytestmark = pytest.mark.e2e

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Alive = Callable[[int], bool]

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin"}  # not ours: it may hold directories that cannot be read
LAUNCHER = Path(__file__).parents[2] / "simulator/processes/launch.py"
IGNORES_TERM = "trap '' TERM; echo ready; while :; do sleep 1; done"


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with asyncio.timeout(30), Processes() as owner:
        yield owner


def logged(log: Path, lines: int = 1) -> bool:
    return log.exists() and log.read_text().count("\n") >= lines


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 121", 121), ("kill -9 $$", -9), ("kill -TERM $$", -15)]
)
async def test_exit_code(processes: Processes, tmp_path: Path, script: str, code: int) -> None:
    process = await processes.start(["sh", "-c", script], env=ENV, cwd=tmp_path, log=tmp_path / "log")
    assert await process.wait() == code
    assert process.exit_code == code
    process.signal(signal.SIGKILL)  # harmless once it has ended
    assert await process.terminate(0) == code


async def test_child_has_only_what_it_was_given(processes: Processes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= | sort; pwd; echo oops >&2; cat; exec ls /proc/self/fd"
    process = await processes.start(["sh", "-c", script], env={**ENV, "A": "x=y z"}, cwd=tmp_path, log=log)
    assert await process.wait() == 0
    lines = log.read_text().splitlines()
    assert lines == ["A=x=y z", f"PATH={ENV['PATH']}", str(tmp_path), "oops", *"0123"]  # 3: the list's own


async def test_signals_that_python_ignores_are_not_ignored_by_the_child(processes: Processes, tmp_path: Path) -> None:
    process = await processes.start(["sh", "-c", "kill -PIPE $$"], env=ENV, cwd=tmp_path, log=tmp_path / "log")
    assert await process.wait() == -signal.SIGPIPE


@pytest.mark.parametrize(
    ("command", "cwd", "text"),
    [
        (["no-such-program"], ".", "'no-such-program': No such file"),
        (["/no/such/program", "x"], ".", "'/no/such/program': No such file"),
        (["./not-executable"], ".", "'./not-executable': Permission denied"),
        (["sh", "-c", "true"], "absent", "absent: No such file"),
    ],
)
async def test_a_program_that_cannot_start_is_named(
    processes: Processes, tmp_path: Path, command: list[str], cwd: str, text: str
) -> None:
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    with pytest.raises(CannotStartError, match=text):
        await processes.start(command, env=ENV, cwd=tmp_path / cwd, log=tmp_path / "log")
    assert not (tmp_path / "log").read_text()


async def test_bind_failure_is_explained(processes: Processes, tmp_path: Path) -> None:
    with pytest.raises(CannotStartError, match=r"cannot bind .*/absent"):
        await processes.start(
            ["true"], env=ENV, cwd=tmp_path, log=tmp_path / "log", binds=[(tmp_path / "absent", tmp_path)]
        )


@pytest.mark.skipif(not mount_namespaces_available(), reason="no mount namespaces here")
async def test_binds_are_seen_by_the_child_and_nobody_else(processes: Processes, tmp_path: Path) -> None:
    point = tmp_path / "point"
    point.mkdir()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        process = await processes.start(
            ["sh", "-c", f"echo {name} > {point}/file; cat {point}/file"],
            env=ENV,
            cwd=tmp_path,
            log=tmp_path / f"{name}.log",
            binds=[(tmp_path / name, point)],
        )
        assert await process.wait() == 0
        assert (tmp_path / name / "file").read_text() == f"{name}\n"
    assert not list(point.iterdir())


async def test_terminate_ends_the_whole_group(processes: Processes, tmp_path: Path, until: Until, alive: Alive) -> None:
    log = tmp_path / "log"
    script = "(trap '' TERM; echo $BASHPID; exec sleep 600) & trap 'exit 7' TERM; sleep 600 & echo $!; wait"
    process = await processes.start(["bash", "-c", script], env=ENV, cwd=tmp_path, log=log)
    await until(lambda: logged(log, 2))
    assert await process.terminate(10) == 7
    pids = list(map(int, log.read_text().split()))
    await until(lambda: not any(map(alive, pids)))


async def test_terminate_kills_what_ignores_term(processes: Processes, tmp_path: Path, until: Until) -> None:
    process = await processes.start(["sh", "-c", IGNORES_TERM], env=ENV, cwd=tmp_path, log=tmp_path / "log")
    await until(lambda: logged(tmp_path / "log"))
    assert await process.terminate(0.05) == -signal.SIGKILL


async def test_cancelled_terminate_kills_at_once(processes: Processes, tmp_path: Path, until: Until) -> None:
    process = await processes.start(["sh", "-c", IGNORES_TERM], env=ENV, cwd=tmp_path, log=tmp_path / "log")
    await until(lambda: logged(tmp_path / "log"))
    task = asyncio.create_task(process.terminate(600))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process.exit_code == -signal.SIGKILL


async def test_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    async with Processes() as processes:
        task = asyncio.create_task(processes.start(["sleep", "600"], env=ENV, cwd=tmp_path, log=tmp_path / "log"))
        await asyncio.sleep(0)
        (pid,) = [process.pid for process in processes._live]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("ending", ["return", "raise", "cancel"])
async def test_nothing_lives_when_the_owner_is_left(tmp_path: Path, ending: str, until: Until) -> None:
    pids: list[int] = []
    doomed = tmp_path / "doomed"
    (doomed / "sub").mkdir(parents=True)

    async def own() -> None:
        async with Processes() as processes:
            processes.remove_at_end(doomed)
            for number in range(3):
                log = tmp_path / f"{number}.log"
                child = await processes.start(["sh", "-c", IGNORES_TERM], env=ENV, cwd=tmp_path, log=log)
                pids.append(child.pid)
                await until(functools.partial(logged, log))
            if ending == "raise":
                raise KeyError(ending)
            if ending == "cancel":
                await asyncio.Event().wait()

    task = asyncio.create_task(own())
    if ending == "cancel":
        await until(lambda: len(pids) == 3)
        task.cancel()
    await asyncio.wait([task])
    assert len(pids) == 3
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not doomed.exists()
    assert (ending == "cancel") == task.cancelled()


PARENT = """
import asyncio, os, sys
from pathlib import Path
from simulator.kubelet.socket_dir import SocketDir
from simulator.processes.spawn import Processes

async def main(directory: Path) -> None:
    async with Processes() as processes, SocketDir(processes, directory / "sockets"):
        (directory / "run").mkdir()
        processes.remove_at_end(directory / "run")
        script = "busy() { while :; do date > run/busy; sleep 0.01; done; }; busy 2> /dev/null & echo $!; wait"
        child = await processes.start(["sh", "-c", script], env=dict(os.environ), cwd=directory, log=directory / "log")
        (directory / "pid").write_text(f"{child.pid} {processes._warden.pid}\\n")
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("with_death_signal", [True, False])
async def test_kill_of_the_parent_leaves_nothing(
    tmp_path: Path, with_death_signal: bool, until: Until, alive: Alive
) -> None:
    no_launcher = "" if with_death_signal else "import simulator.processes.spawn as s; s.ON_LINUX = False"
    code = f"{no_launcher}\n{PARENT}"
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(tmp_path))
    await until(lambda: logged(tmp_path / "pid") and logged(tmp_path / "log"))
    pids = [int(pid) for name in ("pid", "log") for pid in (tmp_path / name).read_text().split()]
    assert len(pids) == 3
    assert all(map(alive, pids))
    parent.kill()
    await parent.wait()
    await until(lambda: not any(map(alive, pids)))
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "sockets").exists()


SYSTEM_PYTHON = Path("/usr/bin/python3")
NOBODY = 65534


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not SYSTEM_PYTHON.exists(),
    reason="needs root to become somebody else, and a Python that everybody may run",
)
async def test_launcher_binds_without_being_root() -> None:
    """As an ordinary user, in the user namespace that the launcher makes for itself."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        directory = Path(name)
        for child in ("point", "source"):
            (directory / child).mkdir()
        (directory / "source/name").write_text("source\n")
        for path in (directory, directory / "source"):
            os.chown(path, NOBODY, NOBODY)
        shutil.copy(LAUNCHER, directory / "launch.py")
        # The shell stands in for the parent; what follows the launcher keeps it from replacing itself.
        launch = (
            f"{SYSTEM_PYTHON} -I -S launch.py $$ - . 1 1 source point sh -c 'cat point/name; id -u; touch point/made'"
        )
        process = await asyncio.create_subprocess_exec(
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("sh", "-c", f"{launch}; exit $?"),
            cwd=directory,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert output.decode().split() == ["source", str(NOBODY)]
        assert (directory / "source/made").exists()
        assert not list((directory / "point").iterdir())
