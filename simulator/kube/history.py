"""What changed in one kind's objects, for as far back as a watch or a list may ask."""

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from simulator.kube.kinds import Object
from simulator.kube.selectors import Selector
from simulator.kube.status import expired

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
Listener = Callable[["Change"], None]
Key = tuple[str, str]
"""Namespace ("" when cluster-scoped) and name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change. `before` is the object as it was, None for an ADDED one; a DELETED `obj` is its last state.

    `lines` is where those who write events down keep what they wrote, for others who need the same.
    """

    type: ChangeType
    version: int
    obj: Object
    before: Object | None
    lines: dict[Hashable, bytes] = field(default_factory=dict, compare=False, repr=False)

    def seen_through(self, selector: Selector, namespace: str | None) -> tuple[ChangeType, Object] | None:
        """The event for a watcher of this selection, None when it is not concerned.

        An object that comes to match is ADDED to the selection; one that ceases to is DELETED, in the state in which
        it matched last.
        """
        if namespace is not None and self.obj["metadata"].get("namespace") != namespace:
            return None
        matched = self.before is not None and selector.matches(self.before)
        matches = self.type != "DELETED" and selector.matches(self.obj)
        if matches:
            return ("MODIFIED" if matched else "ADDED"), self.obj
        if matched and self.before is not None:
            metadata = {**self.before["metadata"], "resourceVersion": str(self.version)}
            return "DELETED", {**self.before, "metadata": metadata}
        return None


class History:
    """The last `window` changes of one kind, and those who listen for the next."""

    def __init__(self, window: int, floor: int) -> None:
        """`floor` is the version from which on nothing is missing."""
        self._changes: deque[Change] = deque(maxlen=window)
        self._floor = floor
        self._listeners: dict[int, tuple[Listener, Callable[[], None]]] = {}
        self._next_id = 0

    def record(self, change: Change) -> None:
        """Add a change, which may push out the oldest, and tell the listeners."""
        if len(self._changes) == self._changes.maxlen:
            self._floor = self._changes[0].version
        self._changes.append(change)
        for listener, _ in list(self._listeners.values()):
            listener(change)

    def end(self) -> None:
        """Tell the listeners that there will be no more changes: the kind is served no longer."""
        for _, on_end in list(self._listeners.values()):
            on_end()

    def since(self, version: int) -> Iterator[Change]:
        """The changes after `version`, oldest first.

        Raises:
            ApiFailure: 410; some of them are forgotten.
        """
        if version < self._floor:
            raise expired(version, self._floor)
        return iter([change for change in self._changes if change.version > version])

    def undone(self, objects: Mapping[Key, Object], version: int) -> dict[Key, Object] | None:
        """The objects as they were at `version`, None if that is forgotten; `objects` are those of now."""
        if version < self._floor:
            return None
        then = dict(objects)
        for change in reversed(self._changes):
            if change.version <= version:
                break
            metadata = change.obj["metadata"]
            key = (metadata.get("namespace") or "", metadata["name"])
            if change.before is None:
                then.pop(key, None)
            else:
                then[key] = change.before
        return then

    def listen(self, listener: Listener, on_end: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """Have `listener` called with each change from now on, and `on_end` when there can be no more.

        The function returned ends that.
        """
        listener_id, self._next_id = self._next_id, self._next_id + 1
        self._listeners[listener_id] = (listener, on_end)

        def stop() -> None:
            self._listeners.pop(listener_id, None)

        return stop
