"""The scheduler's Events, of the newer form: no count; what happens again is a series."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import structlog

from simulator.errors import KubeError
from simulator.kube.client import Cluster
from simulator.kube.kinds import EVENT, POD, Object
from simulator.kubelet.events import event_name

SCHEDULER: Final = "default-scheduler"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Written:
    name: str
    namespace: str
    series: bool = False


class SchedulingEvents:
    """Writes the events in the background, in order.

    The same event about the same version of a pod is written once, and once more as a series; not after that.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._written: dict[tuple[str, ...], _Written] = {}
        self._due: asyncio.Queue[tuple[Object, _Written | None]] = asyncio.Queue()

    def emit(
        self, pod: Object, reason: str, action: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """Record an event about the pod."""
        metadata = pod["metadata"]
        key = (metadata["uid"], metadata["resourceVersion"], reason, message)
        known, time = self._written.get(key), datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if known is None:
            event = _new_event(pod, reason, action, message, kind, time)
            self._written[key] = _Written(event["metadata"]["name"], metadata["namespace"])
            self._due.put_nowait((event, None))
        elif not known.series:
            self._written[key] = _Written(known.name, known.namespace, series=True)
            self._due.put_nowait(({"series": {"count": 2, "lastObservedTime": time}}, known))

    def forget(self, uid: str) -> None:
        """The pod has a node, or is gone."""
        for key in [key for key in self._written if key[0] == uid]:
            del self._written[key]

    async def run(self) -> None:
        """Write events until cancelled. One that the API refuses is dropped: events are a courtesy."""
        while True:
            event, series_of = await self._due.get()
            try:
                if series_of is None:
                    await self._cluster.create(EVENT, event)
                else:
                    await self._cluster.patch(EVENT, series_of.name, event, series_of.namespace)
            except KubeError as error:
                _log.debug("event not written", error=str(error))


def _new_event(pod: Object, reason: str, action: str, message: str, kind: str, time: str) -> Object:
    metadata = pod["metadata"]
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": event_name(pod), "namespace": metadata["namespace"]},
        "involvedObject": {
            "kind": POD.kind,
            "apiVersion": POD.api_version,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "action": action,
        "message": message,
        "source": {},
        "eventTime": time,
        "reportingComponent": SCHEDULER,
        "reportingInstance": f"{SCHEDULER}-local",
    }
