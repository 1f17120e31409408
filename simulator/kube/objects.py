"""The objects of the cluster by kind, with the counter of versions, the history and the index of owners: no rules yet.

Objects are never changed in place: what comes out is shared and must not be changed.
"""

from collections.abc import Callable, Iterable

from simulator.kube.history import Change, ChangeType, History, Key
from simulator.kube.kinds import Kind, Object
from simulator.kube.ownership import ObjectRef, OwnerReference, Ownership, UnknownOwner

Observer = Callable[[ObjectRef, Object | None, Object | None], None]
"""Told of each change: where, and the object before and after it, None where there is none."""


class Objects:
    """All objects of all kinds, as they are now and, for as far as the window reaches, as they were."""

    def __init__(self, first_version: int, window: int) -> None:
        self._version = first_version
        self._window = window
        self._objects: dict[Kind, dict[Key, Object]] = {}
        self._histories: dict[Kind, History] = {}
        self._versions: dict[Kind, frozenset[str]] = {}
        self._observers: list[Observer] = []
        self.ownership = Ownership()

    @property
    def kinds(self) -> list[Kind]:
        """The kinds that there may be objects of."""
        return list(self._objects)

    @property
    def version(self) -> int:
        """The version of the last change."""
        return self._version

    def observe(self, observer: Observer) -> None:
        """Have `observer` called after each change."""
        self._observers.append(observer)

    def add_kind(self, kind: Kind, versions: Iterable[str] = ()) -> None:
        """Allow for a kind, and for references to it in other `versions` too; what is there of it stays."""
        self._versions[kind] = frozenset({kind.version, *versions})
        if kind not in self._objects:
            self._objects[kind] = {}
            self.forget_history(kind)

    def remove_kind(self, kind: Kind) -> None:
        """Forget a kind of which there is no object, and its history."""
        del self._objects[kind]
        self._histories.pop(kind).end()
        del self._versions[kind]

    def forget_history(self, kind: Kind) -> None:
        """Let the kind's history begin now."""
        self._histories[kind] = History(self._window, self._version)

    def history(self, kind: Kind) -> History:
        """What happened to the kind's objects."""
        return self._histories[kind]

    def of(self, kind: Kind) -> dict[Key, Object]:
        """The kind's objects, oldest first; not to be changed."""
        return self._objects[kind]

    def get(self, ref: ObjectRef) -> Object | None:
        """One object, None if there is none."""
        kind, namespace, name = ref
        return self._objects.get(kind, {}).get((namespace, name))

    def owner_ref(self, reference: OwnerReference, namespace: str) -> ObjectRef:
        """The place where a reference of an object in `namespace` looks for its owner.

        Raises:
            UnknownOwner: there is no such kind, or it lives in namespaces and the object does not.
        """
        group, _, version = str(reference.get("apiVersion", "")).rpartition("/")
        wanted = (group, reference.get("kind"))
        kind = next((kind for kind in self._objects if (kind.group, kind.kind) == wanted), None)
        if kind is not None and version not in self._versions[kind]:
            kind = None
        if kind is None or (kind.namespaced and not namespace):
            raise UnknownOwner
        return kind, namespace if kind.namespaced else "", str(reference.get("name"))

    def put(self, ref: ObjectRef, before: Object | None, obj: Object) -> Object:
        """Store an object in the place of `before` and return it with its new version."""
        kind, namespace, name = ref
        stored = self._versioned(obj)
        self._objects[kind][namespace, name] = stored
        self.ownership.put(ref, before, stored)
        self._record("ADDED" if before is None else "MODIFIED", ref, before, stored)
        return stored

    def remove(self, ref: ObjectRef, obj: Object) -> Object:
        """Remove an object and return its last state, which has a version of its own."""
        kind, namespace, name = ref
        last = self._versioned(obj)
        del self._objects[kind][namespace, name]
        self.ownership.drop(ref, obj)
        self._record("DELETED", ref, obj, last)
        return last

    def _record(self, change: ChangeType, ref: ObjectRef, before: Object | None, obj: Object) -> None:
        self._histories[ref[0]].record(Change(change, self._version, obj, before))
        for observer in self._observers:
            observer(ref, before, None if change == "DELETED" else obj)

    def _versioned(self, obj: Object) -> Object:
        self._version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
