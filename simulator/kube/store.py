"""The objects of the embedded cluster, in memory, with the rules of the real API and no HTTP.

Every write gets a resource version of one counter and is told to whoever watches before the call returns. Objects are
never changed in place: what comes out is shared and must not be changed, what goes in belongs to the store.
"""

import random
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from simulator.kube.deletion import DeleteOptions, check_preconditions, is_over, plan_deletion
from simulator.kube.history import Change, ChangeType, History, Listener
from simulator.kube.kinds import ALL_KINDS, EVENT, NAMESPACE, Kind, Object
from simulator.kube.ownership import ObjectRef, Ownership, owner_uids
from simulator.kube.selectors import Selector
from simulator.kube.status import (
    ApiFailure,
    already_exists,
    conflict,
    invalid_update,
    invalid_value,
    namespace_terminating,
    not_found,
    wrong_uid,
)
from simulator.kube.strategy import (
    check_types,
    prepare_create,
    prepare_status_update,
    prepare_update,
    same,
    timestamp,
)

NAMESPACES = ("default", "kube-system", "runtime-instance")
FIRST_VERSION = 1000
"""Above what a client may invent as "some old version"."""
WATCH_WINDOW = 5000
"""Changes per kind that a watch may go back."""
MAX_EVENTS = 2000
"""Events kept; the real API drops them by age."""

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # those of the real API: no vowels, so no words
_SUFFIX_LENGTH = 5
_MAX_GENERATED_BASE = 58

_Key = tuple[str, str]


class ResourceStore:
    """All objects of all kinds. Methods raise ApiFailure, whose body is the Status that a client gets."""

    def __init__(
        self,
        kinds: Iterable[Kind] = ALL_KINDS,
        *,
        namespaces: Iterable[str] = NAMESPACES,
        watch_window: int = WATCH_WINDOW,
        capacity: Mapping[Kind, int] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make a store that holds nothing but `namespaces`.

        `capacity` bounds how many objects of a kind there may be; the oldest give way (by default: Events).
        """
        self._now = now
        self._version = FIRST_VERSION
        self._window = watch_window
        self._capacity = {EVENT: MAX_EVENTS} if capacity is None else dict(capacity)
        self._objects: dict[Kind, dict[_Key, Object]] = {}
        self._histories: dict[Kind, History] = {}
        self._ownership = Ownership()
        self.add_kind(NAMESPACE)
        for name in namespaces:
            self.create(NAMESPACE, {"metadata": {"name": name}})
        # Watches start from the finished cluster, so its making is not part of the history.
        self._histories[NAMESPACE] = History(self._window, self._version)
        for kind in kinds:
            self.add_kind(kind)

    @property
    def kinds(self) -> list[Kind]:
        """The kinds that are served."""
        return list(self._objects)

    @property
    def version(self) -> int:
        """The resource version of the last write."""
        return self._version

    def add_kind(self, kind: Kind) -> None:
        """Serve a kind; nothing happens if it is served already."""
        if kind not in self._objects:
            self._objects[kind] = {}
            self._histories[kind] = History(self._window, self._version)

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return one object (404)."""
        try:
            return self._objects[kind][namespace or "", name]
        except KeyError:
            raise not_found(kind, name) from None

    def list(self, kind: Kind, namespace: str | None = None, selector: Selector | None = None) -> list[Object]:
        """Return the selected objects of one namespace, or of all, in the order of namespace and name."""
        return [
            obj
            for (held_in, _), obj in sorted(self._objects[kind].items(), key=lambda item: item[0])
            if (namespace is None or held_in == namespace) and (selector is None or selector.matches(obj))
        ]

    def history(self, kind: Kind) -> History:
        """What happened to the kind's objects."""
        return self._histories[kind]

    def listen(self, kind: Kind, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each change of the kind's objects; the function returned ends that."""
        return self._histories[kind].listen(listener)

    def create(self, kind: Kind, obj: Object, namespace: str | None = None) -> Object:
        """Store a new object and return it (404 no such namespace, 409 the name is taken, 422 a rule is broken)."""
        check_types(kind, obj)
        metadata = obj.get("metadata") or {}
        name = metadata.get("name") or self._generated_name(kind, namespace, metadata.get("generateName") or "")
        self._check_namespace(kind, name, namespace)
        if metadata.get("resourceVersion"):
            raise ApiFailure(500, "resourceVersion should not be set on objects to be created")
        new = prepare_create(kind, obj, namespace=namespace, name=name, uid=str(uuid.uuid4()), now=self._now())
        old = self._objects[kind].get((namespace or "", name))
        if old is not None:
            raise already_exists(kind, name, terminating="deletionTimestamp" in old["metadata"])
        new = self._put("ADDED", (kind, namespace or "", name), None, new)
        self._make_room(kind)
        if (owners := owner_uids(new)) and not self._ownership.exist(owners):
            self.delete(kind, name, namespace)
        return new

    def update(self, kind: Kind, obj: Object, namespace: str | None = None) -> Object:
        """Replace an object but for its status, and return it (404, 409 it changed meanwhile, 422)."""
        old = self._updatable(kind, obj, namespace)
        return self._replace(kind, namespace, old, prepare_update(kind, old, obj))

    def update_status(self, kind: Kind, obj: Object, namespace: str | None = None) -> Object:
        """Replace an object's status and nothing else, and return the object (404, 409 it changed meanwhile)."""
        old = self._updatable(kind, obj, namespace)
        return self._replace(kind, namespace, old, prepare_status_update(old, obj))

    def delete(
        self, kind: Kind, name: str, namespace: str | None = None, options: DeleteOptions | None = None
    ) -> tuple[Object, bool]:
        """Delete an object, or mark it where something holds it (404, 409 a precondition fails).

        Returns:
            The object in its last state, and whether it is gone.
        """
        options = options or DeleteOptions()
        old = self.get(kind, name, namespace)
        check_preconditions(kind, old, options)
        if kind == NAMESPACE:
            return self._delete_namespace(old)
        deletion = plan_deletion(kind, old, options.grace_period_s, self._now())
        ref = (kind, namespace or "", name)
        marked = old if deletion.obj is old else self._put("MODIFIED", ref, old, deletion.obj)
        if not deletion.remove:
            return marked, False
        return self._remove(ref, marked), True

    def _check_namespace(self, kind: Kind, name: str, namespace: str | None) -> None:
        if kind.namespaced and namespace is not None:
            held_in = self.get(NAMESPACE, namespace)
            if "deletionTimestamp" in held_in["metadata"]:
                raise namespace_terminating(kind, name, namespace)

    def _generated_name(self, kind: Kind, namespace: str | None, base: str) -> str:
        while base:
            suffix = "".join(random.choices(_SUFFIX_LETTERS, k=_SUFFIX_LENGTH))  # noqa: S311 - a name, no secret
            name = base[:_MAX_GENERATED_BASE] + suffix
            if (namespace or "", name) not in self._objects[kind]:
                return name
        return ""

    def _updatable(self, kind: Kind, obj: Object, namespace: str | None) -> Object:
        """The stored object, if `obj` was made from its present state."""
        check_types(kind, obj)
        metadata = obj.get("metadata") or {}
        name = metadata.get("name") or ""
        old = self.get(kind, name, namespace)
        version = metadata.get("resourceVersion") or "0"
        if not version.isdecimal():
            raise ApiFailure(500, f'strconv.ParseUint: parsing "{version}": invalid syntax')
        if int(version) == 0 and kind.custom:
            cause = invalid_value("metadata.resourceVersion", "0", "must be specified for an update")
            raise invalid_update(kind, name, cause)
        uid = metadata.get("uid")
        if uid and uid != old["metadata"]["uid"]:
            raise wrong_uid(kind, namespace, name, uid, old["metadata"]["uid"])
        if int(version) and version != old["metadata"]["resourceVersion"]:
            raise conflict(kind, name)
        return old

    def _replace(self, kind: Kind, namespace: str | None, old: Object, new: Object) -> Object:
        metadata = {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}
        new = {**new, "metadata": metadata}
        if same(old, new):
            return old
        ref = (kind, namespace or "", metadata["name"])
        if is_over(new):
            self._remove(ref, old)
            return new
        return self._put("MODIFIED", ref, old, new)

    def _put(self, change: ChangeType, ref: ObjectRef, before: Object | None, obj: Object) -> Object:
        kind, namespace, name = ref
        stored = self._versioned(obj)
        self._objects[kind][namespace, name] = stored
        self._ownership.put(ref, before, stored)
        self._histories[kind].record(Change(change, self._version, stored, before))
        return stored

    def _remove(self, ref: ObjectRef, obj: Object) -> Object:
        kind, namespace, name = ref
        last = self._versioned(obj)
        del self._objects[kind][namespace, name]
        self._ownership.drop(ref, obj)
        self._histories[kind].record(Change("DELETED", self._version, last, obj))
        self._collect(obj["metadata"]["uid"])
        self._finish_namespace(namespace)
        return last

    def _versioned(self, obj: Object) -> Object:
        self._version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}

    def _collect(self, uid: str) -> None:
        """Delete what the removed owner owned, unless another owner is left."""
        for kind, namespace, name in self._ownership.dependents(uid):
            dependent = self._objects[kind].get((namespace, name))
            if dependent is not None and not self._ownership.exist(owner_uids(dependent)):
                self.delete(kind, name, namespace)

    def _make_room(self, kind: Kind) -> None:
        objects = self._objects[kind]
        while len(objects) > self._capacity.get(kind, len(objects)):
            namespace, name = next(iter(objects))
            self._remove((kind, namespace, name), objects[namespace, name])

    def _delete_namespace(self, namespace: Object) -> tuple[Object, bool]:
        metadata = namespace["metadata"]
        if "deletionTimestamp" in metadata:
            return namespace, False
        name = metadata["name"]
        marked = {
            **namespace,
            "metadata": {**metadata, "deletionTimestamp": timestamp(self._now())},
            "status": {"phase": "Terminating"},
        }
        marked = self._put("MODIFIED", (NAMESPACE, "", name), namespace, marked)
        for kind, objects in self._objects.items():
            for held_in, held in [key for key in objects if key[0] == name and kind.namespaced]:
                if (held_in, held) in objects:
                    self.delete(kind, held, held_in)
        self._finish_namespace(name)
        return marked, False

    def _finish_namespace(self, name: str) -> None:
        """Remove a namespace that is being deleted once nothing is left in it."""
        namespace = self._objects[NAMESPACE].get(("", name))
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        if not any(held_in == name for objects in self._objects.values() for held_in, _ in objects):
            self._remove((NAMESPACE, "", name), namespace)
