"""The life of a namespace: what each one has from its beginning, and its end: everything in it is deleted, and it
stays, and tells why, until that is gone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from simulator.kube.deletion import DeleteOptions, is_deleting
from simulator.kube.garbage import Delete, Replace
from simulator.kube.kinds import CONFIG_MAP, NAMESPACE, SERVICE_ACCOUNT, Kind, Object
from simulator.kube.objects import Objects
from simulator.kube.ownership import ObjectRef
from simulator.kube.timestamps import format_time

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
"""The namespaces that nobody may delete."""

_FINALIZER = "kubernetes"
_ROOT_CA_TEXT = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)
_NO_TROUBLE = (
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
)


def namespace_furniture(root_ca: str) -> list[tuple[Kind, Object]]:
    """What every namespace has: an account for its pods, and the certificate (PEM) that they are told to trust."""
    description = {"kubernetes.io/description": _ROOT_CA_TEXT}
    return [
        (SERVICE_ACCOUNT, {"metadata": {"name": "default"}}),
        (
            CONFIG_MAP,
            {"metadata": {"name": "kube-root-ca.crt", "annotations": description}, "data": {"ca.crt": root_ca}},
        ),
    ]


def remaining_conditions(remaining: Mapping[Kind, Iterable[Object]], namespace: Object, now: datetime) -> list[Object]:
    """The conditions of a namespace in which these objects are left; what has not changed keeps its time."""
    counts = {kind: len(list(objects)) for kind, objects in remaining.items()}
    finalizers = Counter(
        finalizer
        for objects in remaining.values()
        for obj in objects
        for finalizer in obj["metadata"].get("finalizers") or ()
    )
    found = [(kind_of_trouble, "False", reason, message) for kind_of_trouble, reason, message in _NO_TROUBLE]
    if any(counts.values()):
        texts = sorted(f"{kind.plural}.{kind.group} has {count} resource instances" for kind, count in counts.items())
        message = f"Some resources are remaining: {', '.join(texts)}"
        found.append(("NamespaceContentRemaining", "True", "SomeResourcesRemain", message))
    else:
        message = "All content successfully removed"
        found.append(("NamespaceContentRemaining", "False", "ContentRemoved", message))
    if finalizers:
        texts = sorted(f"{name} in {count} resource instances" for name, count in finalizers.items())
        message = f"Some content in the namespace has finalizers remaining: {', '.join(texts)}"
        found.append(("NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain", message))
    else:
        message = "All content-preserving finalizers finished"
        found.append(("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", message))
    old = {condition["type"]: condition for condition in (namespace.get("status") or {}).get("conditions") or ()}
    return [_condition(old.get(name), name, status, reason, message, now) for name, status, reason, message in found]


class NamespaceController:
    """Empties the namespaces that are being deleted; `work` does what a change has made possible."""

    def __init__(self, objects: Objects, replace: Replace, delete: Delete, now: Callable[[], datetime]) -> None:
        self._objects = objects
        self._replace = replace
        self._delete = delete
        self._now = now
        self._to_empty: dict[str, None] = {}  # in the order in which they came
        objects.observe(self._on_change)

    def work(self) -> bool:
        """Bring every namespace that a change concerns closer to its end, and say whether there was any."""
        busy = bool(self._to_empty)
        while self._to_empty:
            name = next(iter(self._to_empty))
            del self._to_empty[name]
            namespace = self._terminating(name)
            if namespace is not None and _FINALIZER in (namespace["spec"].get("finalizers") or ()):
                self._empty(name)
        return busy

    def _on_change(self, ref: ObjectRef, *_: Object | None) -> None:
        kind, namespace, name = ref
        held_in = name if kind == NAMESPACE else namespace
        if held_in and self._terminating(held_in) is not None:
            self._to_empty[held_in] = None

    def _terminating(self, name: str) -> Object | None:
        namespace = self._objects.get((NAMESPACE, "", name))
        return namespace if namespace is not None and is_deleting(namespace) else None

    def _empty(self, name: str) -> None:
        for ref, obj in self._content(name):
            if not is_deleting(obj):
                self._delete(ref, DeleteOptions(propagation="Background"))
        ref = (NAMESPACE, "", name)
        remaining: dict[Kind, list[Object]] = {}
        for (kind, _, _), obj in self._content(name):
            remaining.setdefault(kind, []).append(obj)
        namespace = self._objects.get(ref)
        if namespace is None:
            return
        status = {**namespace["status"], "conditions": remaining_conditions(remaining, namespace, self._now())}
        self._replace(ref, namespace, {**namespace, "status": status})
        if not remaining and (namespace := self._objects.get(ref)) is not None:
            finalizers = [held for held in namespace["spec"]["finalizers"] if held != _FINALIZER]
            self._replace(ref, namespace, {**namespace, "spec": {**namespace["spec"], "finalizers": finalizers}})

    def _content(self, name: str) -> list[tuple[ObjectRef, Object]]:
        return [
            ((kind, held_in, held), obj)
            for kind in self._objects.kinds
            if kind.namespaced
            for (held_in, held), obj in self._objects.of(kind).items()
            if held_in == name
        ]


def _condition(old: Object | None, name: str, status: str, reason: str, message: str, now: datetime) -> Object:
    same_status = old is not None and old["status"] == status
    changed = old["lastTransitionTime"] if same_status and old is not None else format_time(now)
    return {"type": name, "status": status, "lastTransitionTime": changed, "reason": reason, "message": message}
