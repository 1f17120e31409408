"""Who owns whom: the index from which dependents are collected when their owner is gone."""

from collections.abc import Iterable

from simulator.kube.kinds import Kind, Object

ObjectRef = tuple[Kind, str, str]
"""Kind, namespace ("" when cluster-scoped) and name."""


class Ownership:
    """The uids that exist, and for each uid the objects that name it as an owner."""

    def __init__(self) -> None:
        self._uids: set[str] = set()
        self._dependents: dict[str, set[ObjectRef]] = {}

    def put(self, ref: ObjectRef, before: Object | None, obj: Object) -> None:
        """The object was created or changed."""
        self._uids.add(obj["metadata"]["uid"])
        for uid in owner_uids(before) - owner_uids(obj):
            self._forget(uid, ref)
        for uid in owner_uids(obj) - owner_uids(before):
            self._dependents.setdefault(uid, set()).add(ref)

    def drop(self, ref: ObjectRef, obj: Object) -> None:
        """The object was removed."""
        self._uids.discard(obj["metadata"]["uid"])
        for uid in owner_uids(obj):
            self._forget(uid, ref)

    def dependents(self, uid: str) -> list[ObjectRef]:
        """The objects that name `uid` as an owner, in a stable order."""
        return sorted(self._dependents.get(uid, ()), key=lambda ref: (ref[0].resource, ref[1], ref[2]))

    def exist(self, uids: Iterable[str]) -> bool:
        """Whether one of the owners is there."""
        return any(uid in self._uids for uid in uids)

    def _forget(self, uid: str, ref: ObjectRef) -> None:
        refs = self._dependents.get(uid, set())
        refs.discard(ref)
        if not refs:
            self._dependents.pop(uid, None)


def owner_uids(obj: Object | None) -> set[str]:
    """The uids that the object names as its owners."""
    if obj is None:
        return set()
    return {reference["uid"] for reference in obj["metadata"].get("ownerReferences") or ()}
