"""What this machine lets a child have: mounts of its own, another user. Each is tried once, with a real child."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from simulator.processes.spawn import ON_LINUX, PYTHON, START_TIMEOUT_S, launch_command
from simulator.processes.user_range import DEFAULT_USERS
from simulator.processes.users import User
from simulator.processes.view import Mount, interpreter_paths, mounts_for


@functools.cache
def mount_namespaces_available() -> bool:
    """Whether a child can be given its own mounts here (asked once; takes some 30 ms)."""
    if not ON_LINUX:
        return False
    with tempfile.TemporaryDirectory() as name:
        return _problem([*PYTHON, "-c", ""], [(Path(name), Path(name))], None) is None


def running_as_root() -> bool:
    """Whether this process may make another user of a child at all."""
    return ON_LINUX and os.geteuid() == 0


@functools.cache
def separate_users_problem(uid: int = DEFAULT_USERS[0]) -> str | None:
    """Why children cannot run as other users here; None if they can (asked once; takes some 100 ms).

    The child's user, `uid`, must reach this project's Python too, wherever that is.
    """
    if not running_as_root():
        return "the platform does not run as root"
    user = User(uid, uid)
    mounts = mounts_for(user, interpreter_paths())
    return _problem([sys.executable, "-c", "import framework.contract"], mounts, user)


def _problem(command: Sequence[str], mounts: Sequence[Mount], user: User | None) -> str | None:
    launch = launch_command(command, Path("/"), mounts, user)
    try:
        answer = subprocess.run(launch, env={}, capture_output=True, timeout=START_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if answer.returncode == 0:
        return None
    lines = (answer.stderr or answer.stdout).decode(errors="replace").splitlines()
    return lines[-1] if lines else f"exit code {answer.returncode}"
