"""The target that is a platform in this process, of the scenario's own."""

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from simulator.errors import PlatformError
from simulator.gpuunit import RUNTIME_CONTAINER, SIDECAR_CONTAINER
from simulator.platform import Platform, PlatformOptions, run_platform
from simulator.targets.faults import Fault, Faults
from simulator.targets.pods import kill_pod, pod_of
from simulator.targets.target import Target
from simulator.units import ECHO_IMAGE

NO_NETWORK: Final = "the processes of a local platform have no network of their own"


@contextlib.asynccontextmanager
async def local_target(options: PlatformOptions | None = None) -> AsyncIterator[Target]:
    """Run a platform for the block. Raises what `run_platform` raises."""
    options = options or PlatformOptions()
    async with run_platform(options) as platform:
        yield target_of(platform, keep=options.keep)


def target_of(platform: Platform, *, keep: bool = False) -> Target:
    """A running platform as a target; `keep` says that its directory stays."""
    return Target(
        api_url=platform.api_url,
        queue=platform.queue,
        cluster=platform.cluster,
        units=platform.units,
        faults=_faults(platform),
        echo_image=ECHO_IMAGE,
        python=sys.executable,
        directory=platform.directory if keep else None,
    )


def _faults(platform: Platform) -> Faults:
    return Faults(
        {
            Fault.POD_KILLED: partial(kill_pod, platform.cluster),
            Fault.SIDECAR_ENDS: partial(_end, platform, SIDECAR_CONTAINER),
            Fault.FRAMEWORK_ENDS: partial(_end, platform, RUNTIME_CONTAINER),
            Fault.QUEUE_RESTARTS: lambda _: platform.nats.restart(),
        },
        {Fault.QUEUE_UNREACHABLE: NO_NETWORK},
    )


async def _end(platform: Platform, container: str, unit: str) -> None:
    """SIGTERM, to the one process that is the container's first, as `kill 1` in a container would send it."""
    pod = (await pod_of(platform.cluster, unit))["metadata"]["name"]
    for kubelet in platform.kubelets:
        for running in kubelet.containers():
            if running.pod == pod and running.container == container and running.pid:
                os.kill(running.pid, signal.SIGTERM)
                return
    raise PlatformError(f"unit {unit} has no running container {container}")
