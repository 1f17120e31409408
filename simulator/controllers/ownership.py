"""Who controls an object: references to controllers, what a selector claims, and an index of what is controlled."""

from collections.abc import Iterable
from dataclasses import dataclass

from simulator.controllers.pod_state import is_terminating
from simulator.kube.builtin.selector_rules import selects
from simulator.kube.informer import Informer, Key
from simulator.kube.kinds import Kind, Object


@dataclass(frozen=True, slots=True)
class Claims:
    """What an owner's selector makes of objects: its own ones, those to adopt, and those to release."""

    owned: tuple[Object, ...]
    adopt: tuple[Object, ...]
    release: tuple[Object, ...]


def controller_reference(kind: Kind, owner: Object) -> Object:
    """The reference by which an object names its controller."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Object) -> Object | None:
    """The reference to the object's controller."""
    references = obj["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def controller_uid(obj: Object) -> str:
    """The uid of the object's controller, "" if it has none."""
    reference = controller_of(obj)
    return str(reference["uid"]) if reference else ""


def claims(owner: Object, objects: Iterable[Object]) -> Claims:
    """Sort objects of the owner's namespace; neither does one that is being deleted adopt, nor is it adopted."""
    uid, selector = owner["metadata"]["uid"], owner["spec"].get("selector")
    owned: list[Object] = []
    adopt: list[Object] = []
    let_go: list[Object] = []
    for obj in objects:
        controller, selected = controller_uid(obj), selects(selector, obj["metadata"].get("labels"))
        if controller == uid:
            (owned if selected else let_go).append(obj)
        elif not controller and selected and not is_terminating(obj):
            adopt.append(obj)
    if is_terminating(owner):
        return Claims(tuple(owned), (), ())
    return Claims(tuple(owned), tuple(adopt), tuple(let_go))


def adoption(kind: Kind, owner: Object, obj: Object) -> Object:
    """The merge patch that makes `owner`, of `kind`, the object's controller."""
    references = [*(obj["metadata"].get("ownerReferences") or ()), controller_reference(kind, owner)]
    return {"metadata": {"uid": obj["metadata"]["uid"], "ownerReferences": references}}


def release(owner: Object, obj: Object) -> Object:
    """The merge patch that takes the object out of its owner's control."""
    uid = owner["metadata"]["uid"]
    kept = [entry for entry in obj["metadata"].get("ownerReferences") or () if entry["uid"] != uid]
    return {"metadata": {"uid": obj["metadata"]["uid"], "ownerReferences": kept}}


class Controlled:
    """An informer's objects by their controller, so that nobody has to look through all of them."""

    def __init__(self, informer: Informer) -> None:
        self._informer = informer
        self._controllers: dict[Key, str] = {}
        self._keys: dict[str, set[Key]] = {}
        informer.on_change(self._changed)

    def of(self, uid: str) -> list[Object]:
        """The objects that the one with this uid controls, oldest first."""
        return self._objects(self._keys.get(uid, ()))

    def orphans(self, namespace: str) -> list[Object]:
        """The objects of a namespace that nobody controls."""
        return self._objects(self._keys.get(f"/{namespace}", ()))

    def _objects(self, keys: Iterable[Key]) -> list[Object]:
        found = [obj for key in keys if (obj := self._informer.get(*key)) is not None]
        return sorted(found, key=age_order)

    def _changed(self, key: Key) -> None:
        obj = self._informer.get(*key)
        controller = (controller_uid(obj) or f"/{key[0]}") if obj else ""
        before = self._controllers.pop(key, "")
        if before and before != controller:
            self._keys[before].discard(key)
            if not self._keys[before]:
                del self._keys[before]
        if controller:
            self._controllers[key] = controller
            self._keys.setdefault(controller, set()).add(key)


def age_order(obj: Object) -> tuple[str, str]:
    """Sorts objects from old to new, those of one second by name."""
    return obj["metadata"].get("creationTimestamp") or "", obj["metadata"]["name"]
