"""The garbage collector: what becomes of the dependents of an object that is deleted, and of those without any owner.

It works off what changed at once, so that the answer to the next request shows the outcome.
"""

import contextlib
from collections import deque
from collections.abc import Callable

from simulator.kube.deletion import (
    FOREGROUND,
    ORPHAN,
    DeleteOptions,
    Propagation,
    is_deleting,
    waits_for_dependents,
    without_finalizer,
)
from simulator.kube.kinds import Object
from simulator.kube.objects import Objects
from simulator.kube.ownership import (
    ObjectRef,
    Owners,
    UnknownOwner,
    blocks,
    owner_references,
    sort_owners,
    without_blocking,
    without_owners,
)

Replace = Callable[[ObjectRef, Object, Object], object]
"""Write a changed object in the place of the old one, or remove it if nothing holds it any longer."""
Delete = Callable[[ObjectRef, DeleteOptions], object]


class GarbageCollector:
    """Looks after every object that a change concerns; `collect` does the work."""

    def __init__(self, objects: Objects, replace: Replace, delete: Delete) -> None:
        self._objects = objects
        self._replace = replace
        self._delete = delete
        self._to_look_at: deque[ObjectRef] = deque()
        objects.observe(self._on_change)

    def collect(self) -> bool:
        """Work until there is nothing more to do, and say whether there was anything."""
        busy = bool(self._to_look_at)
        while self._to_look_at:
            ref = self._to_look_at.popleft()
            obj = self._objects.get(ref)
            if obj is not None:
                self._look_at(ref, obj)
        return busy

    def _on_change(self, ref: ObjectRef, before: Object | None, obj: Object | None) -> None:
        references = owner_references(obj)
        if obj is not None and (is_deleting(obj) or (references and references != owner_references(before))):
            self._to_look_at.append(ref)
        if obj is None and before is not None:
            self._to_look_at.extend(self._objects.ownership.dependents(before["metadata"]["uid"]))
        if owner_references(before) != references:
            self._to_look_at.extend(self._waiting_owners(ref, before))

    def _waiting_owners(self, ref: ObjectRef, before: Object | None) -> list[ObjectRef]:
        """The owners of an object that was there, which may have waited for it."""
        waiting = []
        for reference in owner_references(before):
            with contextlib.suppress(UnknownOwner):
                owner_ref = self._objects.owner_ref(reference, ref[1])
                owner = self._objects.get(owner_ref)
                if owner is not None and waits_for_dependents(owner):
                    waiting.append(owner_ref)
        return waiting

    def _look_at(self, ref: ObjectRef, obj: Object) -> None:
        finalizers = obj["metadata"].get("finalizers") or ()
        if not is_deleting(obj):
            self._judge(ref, obj)
        elif ORPHAN in finalizers:
            self._orphan_dependents(ref, obj)
        elif FOREGROUND in finalizers:
            self._delete_dependents_first(ref, obj)

    def _judge(self, ref: ObjectRef, obj: Object) -> None:
        """Delete an object that has owners and none that is there to stay; free one of the owners that are not."""
        try:
            owners = sort_owners(obj, lambda reference: self._objects.get(self._objects.owner_ref(reference, ref[1])))
        except UnknownOwner:
            return
        gone = (*owners.absent, *owners.waiting)
        if owners.present and gone:
            self._replace(ref, obj, without_owners(obj, gone))
        elif gone:
            self._collect_one(ref, obj, owners)

    def _collect_one(self, ref: ObjectRef, obj: Object, owners: Owners) -> None:
        dependents = [found for _, found in self._dependents(obj)]
        if owners.waiting and dependents:
            if any(waits_for_dependents(dependent) for dependent in dependents):
                # A circle: somebody must stop waiting.
                self._replace(ref, obj, without_blocking(obj))
            propagation: Propagation = "Foreground"
        else:
            propagation = _own_propagation(obj)
        self._delete(ref, DeleteOptions(propagation=propagation, uid=obj["metadata"]["uid"]))

    def _orphan_dependents(self, ref: ObjectRef, obj: Object) -> None:
        uid = obj["metadata"]["uid"]
        for dependent_ref, dependent in self._dependents(obj):
            self._replace(dependent_ref, dependent, without_owners(dependent, [uid]))
        self._replace(ref, obj, without_finalizer(obj, ORPHAN))

    def _delete_dependents_first(self, ref: ObjectRef, obj: Object) -> None:
        for dependent_ref, dependent in self._dependents(obj):
            if not is_deleting(dependent):
                self._judge(dependent_ref, dependent)
        uid = obj["metadata"]["uid"]
        latest = self._objects.get(ref)
        if latest is not None and not any(blocks(dependent, uid) for _, dependent in self._dependents(latest)):
            self._replace(ref, latest, without_finalizer(latest, FOREGROUND))

    def _dependents(self, obj: Object) -> list[tuple[ObjectRef, Object]]:
        refs = self._objects.ownership.dependents(obj["metadata"]["uid"])
        return [(ref, found) for ref in refs if (found := self._objects.get(ref)) is not None]


def _own_propagation(obj: Object) -> Propagation:
    finalizers = obj["metadata"].get("finalizers") or ()
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"
