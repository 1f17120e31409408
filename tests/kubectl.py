"""The unmodified kubectl, for tests: that of this machine if it is of the wanted release, else Debian's."""

import asyncio
import fcntl
import functools
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from simulator.kube.access.cache import NAME, cache_home
from tests.debian_packages import NoPackageError, unpacked

RELEASE: Final = "1.32"
"""What it says has changed between releases: one and the same is compared everywhere."""
SUITE: Final = "trixie"
"""The release of Debian that has it."""
needs_kubectl = pytest.mark.usefixtures("kubectl_binary")


class NoKubectlError(Exception):
    """There is no kubectl; the message says why."""


@functools.cache
def kubectl_or_reason() -> Path | NoKubectlError:
    """It, or why there is none. To fetch it may take half a minute: a run begins with that (tests/conftest.py)."""
    found = shutil.which("kubectl")
    if found is not None and _release_of(found) == RELEASE:
        return Path(found)
    try:
        return _fetched()
    except NoPackageError as error:
        return NoKubectlError(f"this machine has none of release {RELEASE}; {error}")
    except OSError as error:
        return NoKubectlError(f"it cannot be kept: {error}")


def _fetched() -> Path:
    """The kubectl in the cache; whoever comes first fetches it, others wait. Raises NoPackageError, OSError."""
    kubectl = cache_home() / f"{NAME}-tests" / f"kubectl-{RELEASE}"
    kubectl.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with kubectl.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kubectl.exists():
            with tempfile.TemporaryDirectory(prefix=f"{kubectl.name}-", dir=kubectl.parent) as directory:
                fetched = unpacked(Path(directory), "kubectl", suite=SUITE) / "usr" / "bin" / "kubectl"
                if _release_of(str(fetched)) != RELEASE:
                    raise NoPackageError(f"Debian's kubectl is not of release {RELEASE} any more")
                fetched.rename(kubectl)
    return kubectl


def _release_of(kubectl: str) -> str:
    """Its release, such as `1.32`; empty if it does not work."""
    asked = [kubectl, "version", "--client", "-o", "json"]
    try:
        said = subprocess.run(asked, capture_output=True, timeout=20, check=True)
        version = json.loads(said.stdout)["clientVersion"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return ""
    return f"{version['major']}.{version['minor'].rstrip('+')}"


async def run_kubectl(kubeconfig: Path, cache: Path, *arguments: str, timeout_s: float = 30) -> tuple[int | None, str]:
    """Run it with a cache directory of its own; its exit code, and all that it says, stripped. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        str(kubectl_or_reason()), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(timeout_s):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode().strip()
