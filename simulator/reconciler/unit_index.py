"""Which objects of one kind belong to which unit, by label; and word to the unit when one of them changes."""

from collections.abc import Callable

from simulator.gpuunit import UNIT_LABEL
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import Object


class UnitIndex:
    """Follows an informer; `changed` is called with the key of the unit that an object belongs, or belonged, to."""

    def __init__(self, informer: Informer, changed: Callable[[Key], None]) -> None:
        self._informer = informer
        self._changed = changed
        self._unit_of: dict[Key, Key] = {}
        self._members: dict[Key, set[Key]] = {}
        informer.on_change(self._follow)

    def objects_of(self, unit: Key) -> list[Object]:
        """The objects of a unit as last seen, by name."""
        seen = (self._informer.get(*key) for key in sorted(self._members.get(unit, ())))
        return [obj for obj in seen if obj is not None]

    def _follow(self, key: Key) -> None:
        obj = self._informer.get(*key)
        before, now = self._unit_of.pop(key, None), unit_key(obj) if obj is not None else None
        if before is not None and before != now:
            self._members[before].discard(key)
            if not self._members[before]:
                del self._members[before]
            self._changed(before)
        if now is not None:
            self._unit_of[key] = now
            self._members.setdefault(now, set()).add(key)
            self._changed(now)


def unit_key(obj: Object) -> Key | None:
    """Namespace and name of the unit that an object's label names; None without one."""
    metadata = obj["metadata"]
    name = (metadata.get("labels") or {}).get(UNIT_LABEL)
    return (metadata["namespace"], name) if name else None
