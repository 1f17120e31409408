"""How long from `kubectl apply -f unit.yaml` to a unit that is Ready? One after the other, on a platform of its own."""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Final

import msgspec
import yaml

from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.informer import Informer
from simulator.kube.kinds import GPUUNIT, Object
from simulator.platform import Platform, PlatformOptions, run_platform
from simulator.units import ECHO_IMAGE
from simulator.waiting import wait_until_ready

WAIT_S: Final = 60


class Start(msgspec.Struct, frozen=True):
    """One unit's way, in seconds: all of it, what kubectl took to its end, and from when the object was there."""

    apply_to_ready_s: float
    kubectl_s: float
    created_to_ready_s: float


async def median_start(kubectl: Path, directory: Path, starts: int) -> Start:
    """Apply so many units, each once the one before is Ready; the medians."""
    async with run_platform(PlatformOptions()) as platform:
        found = [await _start(platform, kubectl, directory, number) for number in range(starts)]
    return Start(*(statistics.median(getattr(start, field) for start in found) for field in Start.__struct_fields__))


async def _start(platform: Platform, kubectl: Path, directory: Path, number: int) -> Start:
    name, file = f"unit-{number}", directory / "unit.yaml"
    file.write_text(yaml.safe_dump(unit_object(name, ECHO_IMAGE)))
    began = time.perf_counter()
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as tasks:
        applying = tasks.create_task(_apply(kubectl, platform.kubeconfig, file))
        created = tasks.create_task(_until_created(platform.units, name))
        await wait_until_ready(platform.units, name, WAIT_S)
        ready = time.perf_counter()
    return Start(ready - began, await applying - began, ready - await created)


def unit_object(name: str, image: str) -> Object:
    """A serverless unit with a pool of its own."""
    spec = {"specName": "s1", "gpu": 1, "image": image, "serverless": {"enabled": True, "requestID": name}}
    metadata = {"name": name, "namespace": ACTIVE_NAMESPACE}
    return {"apiVersion": GPUUNIT.api_version, "kind": GPUUNIT.kind, "metadata": metadata, "spec": spec}


async def _apply(kubectl: Path, kubeconfig: Path, file: Path) -> float:
    """When it had ended."""
    process = await asyncio.create_subprocess_exec(
        kubectl, f"--kubeconfig={kubeconfig}", f"--cache-dir={file.parent}", "apply", "-f", file,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return time.perf_counter()


async def _until_created(units: Informer, name: str) -> float:
    """When the platform had seen it."""
    await units.wait_for(lambda known: known.get(ACTIVE_NAMESPACE, name), WAIT_S)
    return time.perf_counter()
