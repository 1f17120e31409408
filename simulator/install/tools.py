"""The programs of other people that are called here: which are wanted, where they are, and how they are run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulator.errors import EnvironmentMissing, PlatformError

VERSION_TIMEOUT_S: Final = 20.0
_STDERR: Final = 2
"""What programs say must not be mixed into the JSON that a command writes on standard output."""

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A program: the oldest version that will do, what tells it, and what to do without it."""

    name: str
    minimum: Version
    version_arguments: tuple[str, ...]
    fix: str

    @property
    def wanted(self) -> str:
        """The oldest version that will do, as people write it."""
        return format_version(self.minimum)


KIND: Final = Tool(
    "kind", (0, 24), ("version",), "install it from https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
)
"""0.24 is the first that enforces network policies."""
KUBECTL: Final = Tool(
    "kubectl",
    (1, 29),
    ("version", "--client"),
    "install it from https://kubernetes.io/docs/tasks/tools/#kubectl",
)
DOCKER: Final = Tool("docker", (20, 10), ("--version",), "install it from https://docs.docker.com/engine/install/")
PODMAN: Final = Tool("podman", (4, 4), ("--version",), "install it from https://podman.io/docs/installation")
ENGINES: Final = {tool.name: tool for tool in (DOCKER, PODMAN)}

_VERSION = re.compile(r"v?(\d+)\.(\d+)(?:\.(\d+))?")


def read_version(answer: str) -> Version | None:
    """The first version in what a program said of itself; None if there is none."""
    found = _VERSION.search(answer)
    return tuple(int(part) for part in found.groups() if part) if found else None


def format_version(version: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def version_of(tool: Tool) -> Version | None:
    """The version of the program that is on the PATH; None if there is none that says.

    A program that is there and does not say its version counts as one that is not there.
    """
    path = shutil.which(tool.name)
    if path is None:
        return None
    try:
        asked = subprocess.run(
            [path, *tool.version_arguments], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return read_version(asked.stdout) if asked.returncode == 0 else None


def require(tool: Tool) -> None:
    """Check that a program is there and new enough.

    Raises:
        EnvironmentMissing: it is not; the message says what to do.
    """
    version = version_of(tool)
    if version is None:
        raise EnvironmentMissing(f"{tool.name} {tool.wanted} or newer is needed and not on the PATH: {tool.fix}")
    if version < tool.minimum:
        raise EnvironmentMissing(
            f"{tool.name} {tool.wanted} or newer is needed, this is {format_version(version)}: {tool.fix}"
        )


def engine_problem(tool: Tool) -> str:
    """Why a container engine does no work; empty if it does. The engine itself is there."""
    try:
        asked = subprocess.run(
            [tool.name, "info"], capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [line for line in asked.stderr.splitlines() if line.strip()]
    return "" if asked.returncode == 0 else (lines[-1] if lines else f"exit code {asked.returncode}")


def find_engine(name: str | None = None) -> Tool:
    """The container engine to use: the named one, else the first that works.

    Raises:
        EnvironmentMissing: there is none that works.
    """
    if name is not None:
        tool = ENGINES[name]
        require(tool)
        if problem := engine_problem(tool):
            raise EnvironmentMissing(f"{name} does not work: {problem}; start its daemon, or check your rights to it")
        return tool
    problems = []
    for tool in ENGINES.values():
        version = version_of(tool)
        if version is not None and version >= tool.minimum:
            problem = engine_problem(tool)
            if not problem:
                return tool
            problems.append(f"{tool.name}: {problem}")
    if problems:
        raise EnvironmentMissing(f"no container engine works ({'; '.join(problems)}): start its daemon")
    raise EnvironmentMissing(
        f"a container engine is needed, docker {DOCKER.wanted} or podman {PODMAN.wanted} or newer: {DOCKER.fix}"
    )


def run_tool(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    """Run a program; what it says goes to stderr, as it comes.

    Raises:
        PlatformError: it failed. Why, it has said itself.
    """
    sys.stderr.flush()
    ended = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=_STDERR, check=False)
    if ended.returncode:
        raise PlatformError(f"'{' '.join(command[:3])}' ended with code {ended.returncode}; what it said is above")


def ask_tool(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Run a program and return what it says.

    Raises:
        PlatformError: it failed; the message holds the last line of what it said.
    """
    asked = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False)
    if asked.returncode:
        said = [line for line in asked.stderr.splitlines() if line.strip()] or [f"exit code {asked.returncode}"]
        raise PlatformError(f"'{' '.join(command[:3])}' failed: {said[-1]}")
    return asked.stdout
