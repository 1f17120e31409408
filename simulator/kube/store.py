"""The objects of the embedded cluster, in memory, with the rules of the real API and no HTTP.

Every write gets a resource version of one counter and is told to whoever watches before the call returns. Objects are
never changed in place: what comes out is shared and must not be changed, what goes in belongs to the store.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from simulator.kube.apply.updating import differs_in_times_only
from simulator.kube.crds import platform_crd
from simulator.kube.definitions import DefinitionController
from simulator.kube.deletion import DeleteOptions, check_preconditions, is_deleting, is_over, plan_deletion
from simulator.kube.garbage import GarbageCollector
from simulator.kube.generated_names import generated_name, random_suffix
from simulator.kube.kinds import (
    BUILT_IN_KINDS,
    CUSTOM_RESOURCE_DEFINITION,
    EVENT,
    NAMESPACE,
    Kind,
    Object,
)
from simulator.kube.listing import ListOptions, Page
from simulator.kube.namespaces import IMMORTAL, NamespaceController, namespace_furniture
from simulator.kube.objects import Objects
from simulator.kube.ownership import ObjectRef
from simulator.kube.reading import ReadableStore
from simulator.kube.registry import Registry
from simulator.kube.resources import served_builtin
from simulator.kube.status import (
    ApiFailure,
    already_exists,
    definition_terminating,
    immortal_namespace,
    namespace_terminating,
)
from simulator.kube.stored_size import storable
from simulator.kube.strategy import same
from simulator.kube.writing import Surroundings, Writer, check_present, created, status_updated, updated

NAMESPACES = ("default", "kube-system", "runtime-instance")
FIRST_VERSION = 1000
"""Above what a client may invent as "some old version"."""
WATCH_WINDOW = 5000
"""Changes per kind that a watch may go back."""
MAX_EVENTS = 2000
"""Events kept; the real API drops them by age."""


class ResourceStore(ReadableStore):
    """All objects of all kinds. Methods raise ApiFailure, whose body is the Status that a client gets.

    With `dry_run` a method checks and answers as it would, and does nothing.
    """

    def __init__(
        self,
        kinds: Iterable[Kind] = BUILT_IN_KINDS,
        *,
        definitions: Iterable[Object] | None = None,
        namespaces: Iterable[str] = NAMESPACES,
        watch_window: int = WATCH_WINDOW,
        capacity: Mapping[Kind, int] | None = None,
        root_ca: str = "",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make a store that holds nothing but `namespaces` and `definitions`, by default that of the GPUUnit.

        `capacity` bounds how many objects of a kind there may be; the oldest give way (by default: Events). `root_ca`
        is the certificate, as PEM, that each namespace's pods are told to trust.
        """
        self.registry = Registry()
        """What is served; changes as CustomResourceDefinitions come and go."""
        self._now = now
        self._root_ca = root_ca
        self._capacity = {EVENT: MAX_EVENTS} if capacity is None else dict(capacity)
        super().__init__(Objects(FIRST_VERSION, watch_window))
        self._garbage = GarbageCollector(self._objects, self._replace, self._delete)
        self._namespaces = NamespaceController(self._objects, self._replace, self._delete, now)
        self._around = Surroundings(self._find, self.list, random_suffix)
        for kind in kinds:
            self.registry.add(served_builtin(kind))
            self._objects.add_kind(kind)
        self._definitions = DefinitionController(self._objects, self.registry, self._replace, self._delete, now)
        for definition in (platform_crd(),) if definitions is None else definitions:
            self.create(CUSTOM_RESOURCE_DEFINITION, definition)
        for name in namespaces:
            self.create(NAMESPACE, {"metadata": {"name": name}})
        # Watches start from the finished cluster, so its making is not part of the history.
        for kind in self._objects.kinds:
            self._objects.forget_history(kind)

    def create(
        self,
        kind: Kind,
        obj: Object,
        namespace: str | None = None,
        *,
        writer: Writer | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Store a new object and return it (404 no such namespace, 409 the name is taken, 422 a rule is broken)."""
        metadata = obj.get("metadata") or {}
        name = metadata.get("name") or generated_name(
            metadata.get("generateName") or "", lambda name: self.holds(kind, name, namespace)
        )
        self._check_room(kind, name, namespace)
        if metadata.get("resourceVersion"):
            raise ApiFailure(500, "resourceVersion should not be set on objects to be created")
        new = created(
            self.registry.of(kind),
            obj,
            namespace=namespace,
            name=name,
            uid=str(uuid.uuid4()),
            writer=writer or Writer(self._now()),
            around=self._around,
        )
        ref = (kind, namespace or "", name)
        old = self._objects.get(ref)
        if old is not None:
            raise already_exists(kind, name, terminating=is_deleting(old))
        if dry_run:
            return new
        new = self._objects.put(ref, None, storable(kind, new))
        self._make_room(kind)
        self._follow_up(ref)
        return new

    def update(
        self,
        kind: Kind,
        obj: Object,
        namespace: str | None = None,
        *,
        writer: Writer | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Replace an object but for its status, and return it (404, 409 it changed meanwhile, 422)."""
        old = self._updatable(kind, obj, namespace)
        served = self.registry.of(kind)
        new = updated(served, old, obj, writer=writer or Writer(self._now()), around=self._around)
        return self._write(kind, namespace, old, new, dry_run=dry_run)

    def update_status(
        self,
        kind: Kind,
        obj: Object,
        namespace: str | None = None,
        *,
        writer: Writer | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Replace an object's status and nothing else, and return the object (404, 409 it changed meanwhile, 422)."""
        old = self._updatable(kind, obj, namespace)
        new = status_updated(self.registry.of(kind), old, obj, writer=writer or Writer(self._now()))
        return self._write(kind, namespace, old, new, dry_run=dry_run)

    def amend(self, kind: Kind, new: Object) -> Object:
        """Store an object that the server itself changed, such as a pod that was bound to its node."""
        metadata = new["metadata"]
        ref = (kind, metadata.get("namespace", ""), metadata["name"])
        amended = self._replace(ref, self.get(kind, metadata["name"], metadata.get("namespace")), new)
        self._settle()
        return amended

    def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        options: DeleteOptions | None = None,
        *,
        dry_run: bool = False,
    ) -> tuple[Object, bool]:
        """Delete an object, or mark it where something holds it (404, 409 a precondition fails).

        Returns:
            The object in its last state, and whether it is gone.
        """
        if kind == NAMESPACE and name in IMMORTAL:
            raise immortal_namespace(name)
        options = options or DeleteOptions()
        if dry_run or options.dry_run:
            old = self.get(kind, name, namespace)
            check_preconditions(kind, old, options)
            planned = plan_deletion(kind, old, options, self._now())
            return planned.obj, planned.remove
        outcome = self._delete((kind, namespace or "", name), options)
        self._settle()
        return outcome

    def delete_collection(
        self, kind: Kind, namespace: str | None, selection: ListOptions, options: DeleteOptions
    ) -> Page:
        """Delete the selected objects of a namespace, or of a cluster-scoped kind, and return them as they were."""
        page = self.page(kind, namespace, selection)
        for obj in page.objects:
            name = obj["metadata"]["name"]
            if self._objects.get((kind, namespace or "", name)) is not None:  # not gone with another one
                self.delete(kind, name, namespace, options)
        return page

    def _check_room(self, kind: Kind, name: str, namespace: str | None) -> None:
        if kind.custom and self._definitions.is_ending(kind):
            raise definition_terminating(kind, name)
        if kind.namespaced and namespace is not None and is_deleting(self.get(NAMESPACE, namespace)):
            raise namespace_terminating(kind, name, namespace)

    def _updatable(self, kind: Kind, obj: Object, namespace: str | None) -> Object:
        """The stored object, if `obj` was made from its present state."""
        old = self.get(kind, (obj.get("metadata") or {}).get("name") or "", namespace)
        check_present(kind, obj, old)
        return old

    def _write(self, kind: Kind, namespace: str | None, old: Object, new: Object, *, dry_run: bool) -> Object:
        if dry_run:
            return _at_version_of(old, new)
        ref = (kind, namespace or "", old["metadata"]["name"])
        written = self._replace(ref, old, storable(kind, new, old))
        self._follow_up(ref)
        return written

    def _follow_up(self, ref: ObjectRef) -> None:
        """Let the cluster's own parts see to what was written."""
        kind, _, name = ref
        if kind == CUSTOM_RESOURCE_DEFINITION:
            self._definitions.serve(name)
        elif kind == NAMESPACE and (held := self._find(NAMESPACE, name, None)) is not None and not is_deleting(held):
            for furniture, obj in namespace_furniture(self._root_ca):
                if self._find(furniture, obj["metadata"]["name"], name) is None:
                    self.create(furniture, obj, name)
        self._settle()

    def _replace(self, ref: ObjectRef, old: Object, new: Object) -> Object:
        """Store a changed object, or remove it if nothing holds it any longer; an unchanged one stays what it is."""
        new = _at_version_of(old, new)
        if new is old or differs_in_times_only(old, new):
            return old
        if is_over(ref[0], new):
            self._objects.remove(ref, old)
            return new
        return self._objects.put(ref, old, new)

    def _delete(self, ref: ObjectRef, options: DeleteOptions) -> tuple[Object, bool]:
        kind, namespace, name = ref
        old = self.get(kind, name, namespace)
        check_preconditions(kind, old, options)
        deletion = plan_deletion(kind, old, options, self._now())
        marked = old if same(deletion.obj, old) else self._objects.put(ref, old, deletion.obj)
        if not deletion.remove:
            return marked, False
        return self._objects.remove(ref, marked), True

    def _settle(self) -> None:
        """Let those who clean up do so, until there is nothing left to do."""
        while self._garbage.collect() or self._namespaces.work() or self._definitions.work():
            pass

    def _make_room(self, kind: Kind) -> None:
        objects = self._objects.of(kind)
        while len(objects) > self._capacity.get(kind, len(objects)):
            namespace, name = next(iter(objects))
            self._objects.remove((kind, namespace, name), objects[namespace, name])


def _at_version_of(old: Object, new: Object) -> Object:
    """The new object with the old one's version, or the old one if that is the same."""
    new = {**new, "metadata": {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}}
    return old if same(old, new) else new
