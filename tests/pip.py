"""The pip that comes with Python: an environment made by uv has none of its own."""

import ensurepip
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

WAIT_S: Final = 300


class PipError(Exception):
    """It did not succeed; the message is what it said last."""


def bundled_pip() -> Path:
    """The wheel of pip; a directory of the path as it is."""
    [wheel] = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    return wheel


def run_pip(command: str, *arguments: str) -> None:
    """Run one of its commands to its end.

    Raises:
        PipError: it failed, or took longer than `WAIT_S`.
    """
    pip = [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", "--retries", "1"]
    env = os.environ | {"PYTHONPATH": str(bundled_pip())}
    try:
        subprocess.run([*pip, *arguments], env=env, capture_output=True, text=True, timeout=WAIT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise PipError(error.stderr.strip()[-300:]) from error
    except subprocess.TimeoutExpired as error:
        raise PipError(f"pip {command} took longer than {WAIT_S} s") from error
