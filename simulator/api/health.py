"""The health route (contract 4.1): always 200; what it says about cluster and queue is looked up at each request."""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from sidecar.messages import utc_now
from sidecar.queue import Queue
from simulator.api.envelope import data_response
from simulator.errors import KubeError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.client import Cluster
from simulator.kube.kinds import GPUUNIT

PROBE_TIMEOUT_S: Final = 2.0

# No nodes, GPUs or stock exist here; a dashboard made for the real platform still finds its fields.
_NOT_SIMULATED: Final[dict[str, Any]] = {
    "nodeCount": 0,
    "readyNodeCount": 0,
    "stockUnitCount": 0,
    "totalGPUCapacity": 0,
    "totalGPUAllocatable": 0,
    "nvidiaMetricsConnected": False,
    "gpuDeviceCount": 0,
    "totalGpuMemoryMiB": 0,
    "usedGpuMemoryMiB": 0,
    "freeGpuMemoryMiB": 0,
    "averageGpuUtilizationPercent": 0,
}


class HealthRoute:
    """Handler of `/api/v1/health`. The uptime counts from when this is made."""

    def __init__(self, cluster: Cluster | None, queue: Queue | None) -> None:
        self._cluster = cluster
        self._queue = queue
        self._started_at = utc_now()

    async def health(self, _request: web.Request) -> web.Response:
        """Say how the API and what it needs are doing."""
        data = {
            "startedAt": self._started_at,
            "uptimeSeconds": int((utc_now() - self._started_at).total_seconds()),
            **_NOT_SIMULATED,
            **await self._kubernetes(),
            "queueConnected": self._queue is not None and self._queue.connected,
        }
        return data_response(data, HTTPStatus.OK)

    async def _kubernetes(self) -> dict[str, Any]:
        """Ask the cluster for its units, for at most `PROBE_TIMEOUT_S` seconds."""
        down = {"kubernetesConnected": False, "activeUnitCount": 0}
        if self._cluster is None:
            return {**down, "kubeError": "the API was started without a Kubernetes cluster"}
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                units = await self._cluster.list(GPUUNIT, ACTIVE_NAMESPACE)
        except TimeoutError:
            return {**down, "kubeError": f"the Kubernetes API did not answer within {PROBE_TIMEOUT_S:g} s"}
        except KubeError as error:
            return {**down, "kubeError": str(error)}
        return {"kubernetesConnected": True, "activeUnitCount": len(units)}
