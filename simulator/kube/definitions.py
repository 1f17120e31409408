"""What CustomResourceDefinitions bring about: their resources are served while they are there, and go with them."""

from collections.abc import Callable
from datetime import datetime

from simulator.kube.crds import (
    CLEANUP,
    crd_status,
    is_established,
    is_terminating,
    served_by,
    stored_by,
    with_termination,
)
from simulator.kube.deletion import DeleteOptions, is_deleting, without_finalizer
from simulator.kube.garbage import Delete
from simulator.kube.kinds import CUSTOM_RESOURCE_DEFINITION, Kind, Object
from simulator.kube.objects import Objects
from simulator.kube.ownership import ObjectRef
from simulator.kube.registry import Registry, Served
from simulator.kube.timestamps import format_time

Replace = Callable[[ObjectRef, Object, Object], Object]


class DefinitionController:
    """Accepts the names of definitions, and has what they define served."""

    def __init__(
        self, objects: Objects, registry: Registry, replace: Replace, delete: Delete, now: Callable[[], datetime]
    ) -> None:
        self._objects = objects
        self._registry = registry
        self._replace = replace
        self._delete = delete
        self._now = now
        self._to_clean_up: dict[str, None] = {}  # in the order in which they came
        self._freed: dict[str, None] = {}
        """Groups in which a definition has gone."""
        self._as_served: dict[str, tuple[Object, Object, bool]] = {}
        """By the definition's name, what was served of it when it was looked at last."""
        objects.observe(self._on_change)

    def serve(self, name: str) -> None:
        """See to a definition that was written: say in its status what became of it, and serve what it defines.

        The others of its group are seen to as well, since names may have become free, or been taken.
        """
        definition = self._objects.get((CUSTOM_RESOURCE_DEFINITION, "", name))
        if definition is not None:
            self._serve_group(definition["spec"]["group"], first=name)

    def is_ending(self, kind: Kind) -> bool:
        """Whether the definition of a custom kind is being deleted."""
        definition = self._objects.get((CUSTOM_RESOURCE_DEFINITION, "", kind.resource))
        return definition is not None and is_terminating(definition)

    def work(self) -> bool:
        """Delete what is left of resources whose definition goes, and say whether there was anything to look at."""
        groups, self._freed = list(self._freed), {}
        for group in groups:
            self._serve_group(group)
        names, self._to_clean_up = list(self._to_clean_up), {}
        for name in names:
            definition = self._objects.get((CUSTOM_RESOURCE_DEFINITION, "", name))
            if definition is not None and CLEANUP in (definition["metadata"].get("finalizers") or ()):
                self._clean_up(name, definition)
        return bool(names or groups)

    def _serve_group(self, group: str, first: str = "") -> None:
        definitions = self._objects.of(CUSTOM_RESOURCE_DEFINITION).values()
        names = [one["metadata"]["name"] for one in definitions if one["spec"]["group"] == group]
        for name in sorted(names, key=lambda name: name != first):
            self._serve_one(name)

    def _serve_one(self, name: str) -> None:
        ref = (CUSTOM_RESOURCE_DEFINITION, "", name)
        definition = self._objects.of(CUSTOM_RESOURCE_DEFINITION)["", name]
        others = [one for one in self._objects.of(CUSTOM_RESOURCE_DEFINITION).values() if one is not definition]
        status = crd_status(definition, others, format_time(self._now()))
        definition = self._replace(ref, definition, {**definition, "status": status})
        now = (definition["spec"], definition["status"]["acceptedNames"], is_terminating(definition))
        before = self._as_served.get(name)
        if not is_established(definition) or before == now:
            return
        self._as_served[name] = now
        for known in self._known(definition):
            self._registry.remove(known.kind)
        resources, stored = served_by(definition), stored_by(definition)
        for served in resources:
            self._registry.add(served)
        self._registry.store_as(stored)
        self._objects.add_kind(stored.kind, [version.kind.version for version in resources])
        if before is not None and before[:2] != now[:2]:
            self._objects.history(stored.kind).end()  # whoever watches has to look anew at what there is

    def _clean_up(self, name: str, definition: Object) -> None:
        ref, now = (CUSTOM_RESOURCE_DEFINITION, "", name), self._now()
        if is_established(definition):
            in_progress = ("InstanceDeletionInProgress", "CustomResource deletion is in progress")
            definition = self._replace(ref, definition, with_termination(definition, True, *in_progress, now))
            self._serve_one(name)
            kind = self._stored_kind(definition)
            if kind is not None:
                instances = list(self._objects.of(kind).items())
                for (namespace, held), obj in instances:
                    if not is_deleting(obj):
                        self._delete((kind, namespace, held), DeleteOptions())
                if instances:
                    # What they owned is collected while their kind is still known.
                    if not self._objects.of(kind):
                        self._to_clean_up[name] = None
                    return
            outcome = ("InstanceDeletionCompleted", "removed all instances")
        else:
            outcome = ("NeverEstablished", "resource was never established")
        done = with_termination(definition, False, *outcome, now)
        self._replace(ref, definition, without_finalizer(done, CLEANUP))
        if self._objects.get(ref) is not None:
            self._serve_one(name)

    def _on_change(self, ref: ObjectRef, before: Object | None, after: Object | None) -> None:
        kind, _, name = ref
        if kind.custom and self.is_ending(kind):
            self._to_clean_up[kind.resource] = None
        if kind == CUSTOM_RESOURCE_DEFINITION and after is not None and is_deleting(after):
            self._to_clean_up[name] = None
        if kind == CUSTOM_RESOURCE_DEFINITION and after is None and before is not None:
            self._stop_serving(before)

    def _stop_serving(self, definition: Object) -> None:
        self._as_served.pop(definition["metadata"]["name"], None)
        self._freed[definition["spec"]["group"]] = None
        for known in self._known(definition):
            self._registry.remove(known.kind)
        kind = self._stored_kind(definition)
        if kind is not None:
            self._registry.store_no_longer(kind)
            self._objects.remove_kind(kind)

    def _known(self, definition: Object) -> list[Served]:
        name = definition["metadata"]["name"]
        return [served for served in self._registry if served.kind.custom and served.kind.resource == name]

    def _stored_kind(self, definition: Object) -> Kind | None:
        """The kind under which the objects are stored; None if the definition was never established."""
        name = definition["metadata"]["name"]
        return next((kind for kind in self._objects.kinds if kind.custom and kind.resource == name), None)
