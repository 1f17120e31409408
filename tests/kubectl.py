"""The unmodified kubectl of this machine, for tests that run it to its end."""

import asyncio
import shutil
from pathlib import Path

import pytest

KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")


async def run_kubectl(kubeconfig: Path, cache: Path, *arguments: str, timeout_s: float = 30) -> tuple[int | None, str]:
    """Run it with a cache directory of its own; its exit code, and all that it says, stripped. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        str(KUBECTL), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}", *arguments,
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
