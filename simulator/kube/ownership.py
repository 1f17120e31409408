"""Who owns whom: the index from which dependents are found, and what a dependent's owners mean for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from simulator.kube.deletion import waits_for_dependents
from simulator.kube.kinds import Kind, Object

ObjectRef = tuple[Kind, str, str]
"""Kind, namespace ("" when cluster-scoped) and name."""

OwnerReference = dict[str, Any]


class UnknownOwner(Exception):  # noqa: N818 - an answer rather than a fault
    """It cannot be said whether there is such an owner: its kind is not served here, or cannot own the object."""


@dataclass(frozen=True, slots=True)
class Owners:
    """An object's owners: those that are there, those that wait for their dependents to go, those that are gone."""

    present: tuple[str, ...]
    waiting: tuple[str, ...]
    absent: tuple[str, ...]


class Ownership:
    """For each uid the objects that name it as an owner."""

    def __init__(self) -> None:
        self._dependents: dict[str, set[ObjectRef]] = {}

    def put(self, ref: ObjectRef, before: Object | None, obj: Object) -> None:
        """The object was created or changed."""
        for uid in owner_uids(before) - owner_uids(obj):
            self._forget(uid, ref)
        for uid in owner_uids(obj) - owner_uids(before):
            self._dependents.setdefault(uid, set()).add(ref)

    def drop(self, ref: ObjectRef, obj: Object) -> None:
        """The object was removed."""
        for uid in owner_uids(obj):
            self._forget(uid, ref)

    def dependents(self, uid: str) -> list[ObjectRef]:
        """The objects that name `uid` as an owner, in a stable order."""
        return sorted(self._dependents.get(uid, ()), key=lambda ref: (ref[0].resource, ref[1], ref[2]))

    def _forget(self, uid: str, ref: ObjectRef) -> None:
        refs = self._dependents.get(uid, set())
        refs.discard(ref)
        if not refs:
            self._dependents.pop(uid, None)


def owner_references(obj: Object | None) -> list[OwnerReference]:
    """The references to the object's owners."""
    return list(obj["metadata"].get("ownerReferences") or ()) if obj is not None else []


def owner_uids(obj: Object | None) -> set[str]:
    """The uids that the object names as its owners."""
    return {_uid(reference) for reference in owner_references(obj)}


def sort_owners(obj: Object, find: Callable[[OwnerReference], Object | None]) -> Owners:
    """Tell the owners apart by what `find` returns: the object at the place where a reference looks, or None.

    An object of another uid at that place is not the owner.

    Raises:
        UnknownOwner: from `find`.
    """
    present, waiting, absent = [], [], []
    for reference in owner_references(obj):
        owner = find(reference)
        if owner is None or owner["metadata"]["uid"] != _uid(reference):
            absent.append(_uid(reference))
        elif waits_for_dependents(owner):
            waiting.append(_uid(reference))
        else:
            present.append(_uid(reference))
    return Owners(tuple(present), tuple(waiting), tuple(absent))


def without_owners(obj: Object, uids: Iterable[str]) -> Object:
    """The object without its references to these owners."""
    gone = set(uids)
    return _with_references(obj, [reference for reference in owner_references(obj) if _uid(reference) not in gone])


def without_blocking(obj: Object) -> Object:
    """The object as one that no owner has to wait for."""
    return _with_references(obj, [{**reference, "blockOwnerDeletion": False} for reference in owner_references(obj)])


def blocks(obj: Object, uid: str) -> bool:
    """Whether the owner of this uid, deleted in the foreground, waits for the object."""
    return any(_uid(reference) == uid and reference.get("blockOwnerDeletion") for reference in owner_references(obj))


def _uid(reference: OwnerReference) -> str:
    return str(reference.get("uid", ""))


def _with_references(obj: Object, references: list[OwnerReference]) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "ownerReferences"}
    return {**obj, "metadata": {**metadata, **({"ownerReferences": references} if references else {})}}
