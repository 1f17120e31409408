"""What this machine has of what the platform needs, each finding with what to do about it."""

import asyncio
import contextlib
import platform
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from simulator.errors import EnvironmentMissing, PortTakenError
from simulator.install.tools import (
    DOCKER,
    ENGINES,
    KIND,
    KUBECTL,
    PODMAN,
    Tool,
    engine_problem,
    format_version,
    version_of,
)
from simulator.nats_server import MINIMUM_VERSION, find_server
from simulator.ports import ensure_free
from simulator.processes.availability import mount_namespaces_available, running_as_root, separate_users_problem
from simulator.processes.spawn import Processes

MINIMUM_PYTHON: Final = (3, 11)
PORTS: Final = {8080: "the runtime API", 4222: "the queue"}
"""The ports that `unitsim up` (the first only) and the cluster of `unitsim kind up` have unless told otherwise."""


class Target(StrEnum):
    """Where the platform is to run."""

    LOCAL = "local"
    KIND = "kind"


BOTH: Final = frozenset(Target)
ONLY_LOCAL: Final = frozenset({Target.LOCAL})
ONLY_KIND: Final = frozenset({Target.KIND})
NOBODY: Final[frozenset[Target]] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `needed_for` are the targets that do not work without it."""

    name: str
    found: str
    needed: str
    ok: bool
    fix: str
    needed_for: frozenset[Target]

    def blocks(self, target: Target) -> bool:
        """Whether the target does not work because of it."""
        return not self.ok and target in self.needed_for


async def examine() -> list[Finding]:
    """Look at everything; starts each program once."""
    return [
        _python(),
        await _nats_server(),
        _tool(KUBECTL, ONLY_KIND),
        _tool(KIND, ONLY_KIND),
        await asyncio.to_thread(_engine),
        _mounts(),
        _users(),
        *(_port(port, use) for port, use in PORTS.items()),
    ]


def _python() -> Finding:
    here = sys.version_info[:2]
    ok, needed = here >= MINIMUM_PYTHON, f"{format_version(MINIMUM_PYTHON)} or newer"
    fix = "" if ok else f"install Python {needed} from https://www.python.org/downloads/"
    return Finding("python", platform.python_version(), needed, ok, fix, BOTH)


async def _nats_server() -> Finding:
    needed = f"{format_version(MINIMUM_VERSION)} or newer"
    with tempfile.TemporaryDirectory(prefix="unitsim-") as directory:
        try:
            async with Processes() as processes:
                binary = await find_server(processes, Path(directory))
        except EnvironmentMissing as error:
            return Finding("nats-server", "none", needed, ok=False, fix=str(error), needed_for=ONLY_LOCAL)
    return Finding("nats-server", f"{format_version(binary.version)} ({binary.path})", needed, True, "", ONLY_LOCAL)


def _tool(tool: Tool, needed_for: frozenset[Target]) -> Finding:
    version = version_of(tool)
    found = format_version(version) if version else "none"
    ok = version is not None and version >= tool.minimum
    return Finding(tool.name, found, f"{tool.wanted} or newer", ok, "" if ok else tool.fix, needed_for)


def _engine() -> Finding:
    """One engine that works is enough."""
    needed = f"docker {DOCKER.wanted} or podman {PODMAN.wanted}, or newer"
    found, fix = [], DOCKER.fix
    for tool in ENGINES.values():
        version = version_of(tool)
        if version is None:
            continue
        text = f"{tool.name} {format_version(version)}"
        problem = engine_problem(tool)
        if version >= tool.minimum and not problem:
            return Finding("container engine", text, needed, True, "", ONLY_KIND)
        found.append(f"{text}: {problem}" if problem else text)
        fix = f"start {tool.name}'s daemon, or check your rights to it" if problem else tool.fix
    return Finding("container engine", "; ".join(found) or "none", needed, False, fix, ONLY_KIND)


def _mounts() -> Finding:
    ok = mount_namespaces_available()
    fix = "" if ok else "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1), or run as root on Linux"
    found = "available" if ok else "none: workers find their socket by another path"
    return Finding("mount namespaces", found, "to give each worker a file system view of its own", ok, fix, NOBODY)


def _users() -> Finding:
    problem = separate_users_problem()
    found = "available" if problem is None else problem
    fix = "" if problem is None else ("make this project's Python reachable" if running_as_root() else "run as root")
    needed = "to keep user code from the sidecar's credentials"
    return Finding("separate users", found, needed, problem is None, fix, NOBODY)


def _port(port: int, use: str) -> Finding:
    found, fix = "free", ""
    with contextlib.suppress(OSError):
        try:
            ensure_free(port, "choose another")
        except PortTakenError as error:
            found, fix = "taken", str(error)
    return Finding(f"port {port}", found, f"free, for {use} of a kind cluster", not fix, fix, ONLY_KIND)
