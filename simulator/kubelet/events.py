"""Kubernetes Events about pods and Deployments: what `kubectl describe` shows."""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import structlog

from simulator.errors import KubeError
from simulator.kube.client import Cluster
from simulator.kube.kinds import EVENT, Object
from simulator.kube.timestamps import format_time, now

REPEAT_INTERVAL_S: Final = 1.0
"""A repeated event is written this often at most; its count is exact all the same."""

MOST_KNOWN: Final = 4096
"""Events that are counted up when they are seen again; the oldest give way, and begin anew."""

EventType = Literal["Normal", "Warning"]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    """What makes two events the same one, seen again."""

    uid: str
    field_path: str
    type: EventType
    reason: str
    message: str


@dataclass(slots=True)
class _Entry:
    event: Object
    written: bool = False
    waiting: bool = False


class EventRecorder:
    """Writes events in the background, in order; the same event again counts up (object, reason and message).

    `host` is the node that they come from, "" for what runs on none.
    """

    def __init__(self, cluster: Cluster, host: str = "") -> None:
        self._cluster = cluster
        self._host = host
        self._entries: dict[_Key, _Entry] = {}
        self._due: asyncio.Queue[_Entry] = asyncio.Queue()

    def emit(
        self, about: Object, reason: str, message: str, *, kind: EventType = "Normal", source: str, field: str = ""
    ) -> None:
        """Record an event about an object, or about the `field` of it (`spec.containers{name}`)."""
        key = _Key(about["metadata"]["uid"], field, kind, reason, message)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(_new_event(about, key, source, self._host, now()))
            if len(self._entries) > MOST_KNOWN:
                del self._entries[next(iter(self._entries))]
        else:
            entry.event = {**entry.event, "count": entry.event["count"] + 1, "lastTimestamp": format_time(now())}
        if not entry.waiting:
            entry.waiting = True
            if entry.written:
                asyncio.get_running_loop().call_later(REPEAT_INTERVAL_S, self._due.put_nowait, entry)
            else:
                self._due.put_nowait(entry)

    def forget(self, uid: str) -> None:
        """The object is gone; the next event about it starts a new count."""
        for key in [key for key in self._entries if key.uid == uid]:
            del self._entries[key]

    async def run(self) -> None:
        """Write events until cancelled. One that the API refuses is dropped: events are a courtesy."""
        while True:
            entry = await self._due.get()
            entry.waiting = False
            try:
                await self._write(entry)
            except KubeError as error:
                _log.debug("event not written", reason=entry.event["reason"], error=str(error))

    async def _write(self, entry: _Entry) -> None:
        event, metadata = entry.event, entry.event["metadata"]
        if entry.written:
            change = {"count": event["count"], "lastTimestamp": event["lastTimestamp"]}
            await self._cluster.patch(EVENT, metadata["name"], change, metadata["namespace"])
        else:
            entry.written = True
            await self._cluster.create(EVENT, event)


def event_name(about: Object) -> str:
    """The name of a new event, by which those about one object come in the order in which they happened."""
    return f"{about['metadata']['name']}.{time.time_ns():016x}"


def _new_event(about: Object, key: _Key, source: str, host: str, happened: datetime) -> Object:
    metadata = about["metadata"]
    involved = {
        "kind": about["kind"],
        "apiVersion": about["apiVersion"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        **({"fieldPath": key.field_path} if key.field_path else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event_name(about), "namespace": metadata["namespace"]},
        "involvedObject": involved,
        "type": key.type,
        "reason": key.reason,
        "message": key.message,
        "source": {"component": source, **({"host": host} if host else {})},
        "firstTimestamp": format_time(happened),
        "lastTimestamp": format_time(happened),
        "count": 1,
        "reportingComponent": source,
        "reportingInstance": host,
    }
