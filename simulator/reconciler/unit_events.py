"""Events about units: what `kubectl describe gpuunit` shows of how a unit became what it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from simulator.kube.client import Cluster
from simulator.kube.informer import Key, key_of
from simulator.kube.kinds import Kind, Object
from simulator.kubelet.events import EventRecorder, EventType
from simulator.reconciler.conditions import READY
from simulator.reconciler.objects import FIELD_MANAGER
from simulator.reconciler.status import WAITING_FOR_POD, WAITING_FOR_SIDECAR

REVERTED: Final = "Reverted"

_ORDINARY: Final = frozenset({WAITING_FOR_POD, WAITING_FOR_SIDECAR})
"""What every unit says on its way to be Ready."""


@dataclass(frozen=True, slots=True)
class UnitEvent:
    """One event about a unit."""

    type: EventType
    reason: str
    message: str


def event_of(before: Object, after: Object) -> UnitEvent | None:
    """What there is to say when a unit's status changes: its Ready condition, if that tells something new."""
    old, new = _ready(before), _ready(after)
    told = ("status", "reason", "message")
    if [old.get(name) for name in told] == [new.get(name) for name in told]:
        return None
    if {old.get("message"), new.get("message")} <= _ORDINARY:
        return None
    ordinary = new["status"] == "True" or after["phase"] == "Empty" or new["message"] in _ORDINARY
    return UnitEvent("Normal" if ordinary else "Warning", new["reason"], new["message"])


def reverted(kind: Kind, name: str) -> UnitEvent:
    """Somebody changed what the unit says of an object; it says so again."""
    message = f"{kind.kind} {name} was changed by others and is put right; change the unit instead"
    return UnitEvent("Warning", REVERTED, message)


def _ready(status: Object) -> Mapping[str, Any]:
    conditions = status.get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == READY), {})


class UnitEvents:
    """Writes events about units, in the background; `run` does it."""

    def __init__(self, cluster: Cluster) -> None:
        self._recorder = EventRecorder(cluster)
        self._uids: dict[Key, str] = {}

    async def run(self) -> None:
        """Write until cancelled. What the API refuses is dropped: events are a courtesy."""
        await self._recorder.run()

    def tell(self, unit: Object, event: UnitEvent) -> None:
        """Record an event; the same again counts up."""
        self._uids[key_of(unit)] = unit["metadata"]["uid"]
        self._recorder.emit(unit, event.reason, event.message, kind=event.type, source=FIELD_MANAGER)

    def forget(self, key: Key) -> None:
        """The unit is gone."""
        if uid := self._uids.pop(key, None):
            self._recorder.forget(uid)
