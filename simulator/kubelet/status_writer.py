"""Brings a pod's status into the API: only what changed, and as rarely as the API answers."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from simulator.errors import KubeError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.kinds import POD, Object
from simulator.kube.timestamps import now
from simulator.kubelet.pod_status import PodFacts, pod_status, status_patch

RETRY_S: Final = 0.2
LAST_ATTEMPTS: Final = 10
"""For the last report of a pod and its removal; a pod that cannot be removed stays `Terminating`."""

_log = structlog.get_logger(__name__)


class StatusWriter:
    """Writes the status of one pod. `facts` is asked for what it is made of."""

    def __init__(self, cluster: Cluster, pod: Object, facts: Callable[[], PodFacts]) -> None:
        self._cluster = cluster
        self._name: str = pod["metadata"]["name"]
        self._namespace: str = pod["metadata"]["namespace"]
        self._uid: str = pod["metadata"]["uid"]
        self._facts = facts
        self._written: Object = dict(pod.get("status") or {})
        self._before = self._written  # whose conditions keep their times
        self._changed = asyncio.Event()
        self._version = 0
        self._attempted = 0
        self._progress = asyncio.Event()

    def changed(self) -> None:
        """The facts changed; `run` writes them soon. Changes that come while it writes are written together."""
        self._version += 1
        self._changed.set()

    async def written(self) -> None:
        """Wait until `run` has brought the facts, as they are now, into the API, or could not: nobody shall hang."""
        wanted = self._version
        while self._attempted < wanted:
            await self._progress.wait()

    async def run(self) -> None:
        """Write the status after each change, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            version = self._version
            try:
                await self._write()
            except NotFoundError:
                self._tell(version)  # whoever watches the pods will end this one
            except KubeError as error:
                _log.warning("pod status not written, trying again", pod=self._name, error=str(error))
                self._tell(version)
                await asyncio.sleep(RETRY_S)
                self._changed.set()
            else:
                self._tell(version)

    def _tell(self, version: int) -> None:
        self._attempted = version
        self._progress.set()
        self._progress = asyncio.Event()

    async def finish(self) -> None:
        """Write the last status and remove the pod from the API."""
        self._written = {}  # an interrupted write may have gone through or not: write all
        for _ in range(LAST_ATTEMPTS):
            try:
                await self._write()
                await self._cluster.delete(POD, self._name, self._namespace, grace_period_s=0)
            except NotFoundError:
                return
            except KubeError as error:
                _log.warning("pod not removed, trying again", pod=self._name, error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _write(self) -> None:
        status = pod_status(self._facts(), self._before, now())
        if patch := status_patch(self._written, status):
            # The uid makes it fail for another pod of the same name.
            body = {"metadata": {"uid": self._uid}, "status": patch}
            await self._cluster.patch_status(POD, self._name, body, self._namespace)
            self._written = self._before = status
