"""What a container runtime says when a program does not come to run."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_RUNTIME: Final = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: "
)
_COMMAND: Final = (
    "error executing command in container: failed to exec in container: failed to start exec: "
    "OCI runtime exec failed: exec failed: unable to start container process: "
)


def start_problem(name: str, environment: Mapping[str, str], problem: str) -> str:
    """Return the runtime's words for a program (the first word of a command) that did not start.

    `problem` is what this machine said, for what the runtime has no words of its own.
    """
    return f"{_RUNTIME}{exec_problem(name, environment) or problem}: unknown"


def command_problem(name: str, environment: Mapping[str, str], problem: str) -> str:
    """Return the runtime's words for a client's command that did not start in a container."""
    said = exec_problem(name, environment) or problem
    return f"{_COMMAND}{said}: unknown"


def exec_problem(name: str, environment: Mapping[str, str]) -> str:
    """What is wrong with a program of this name, "" if nothing is."""
    if "/" not in name:
        found = shutil.which(name, path=environment.get("PATH", os.defpath))
        return "" if found else f'exec: "{name}": executable file not found in $PATH'
    path = Path(name)
    if not path.exists():
        return f'exec: "{name}": stat {name}: no such file or directory'
    if path.is_dir():
        return f'exec: "{name}": is a directory'
    return "" if os.access(path, os.X_OK) else f'exec: "{name}": permission denied'
