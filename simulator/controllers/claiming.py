"""What controllers of objects that belong to others share: whom a change concerns, and adopting and releasing."""

import contextlib

from simulator.controllers.ownership import Claims, adoption, claims, controller_of, release
from simulator.errors import NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer, Key, key_of
from simulator.kube.kinds import Kind, Object


class Concerned:
    """The owners, of one kind, that a change of an object concerns."""

    def __init__(self, kind: Kind, owners: Informer, objects: Informer) -> None:
        self._kind = kind
        self._owners = owners
        self._objects = objects
        self._known: dict[Key, Key] = {}  # by object

    def by(self, key: Key) -> set[Key]:
        """Its controller, the one it had when this was asked last, and if it has none, who would adopt it."""
        obj = self._objects.get(*key)
        controller = self._controller(obj) if obj is not None else None
        before = self._known.pop(key, None)
        concerned = {owner for owner in (before, controller) if owner}
        if controller:
            self._known[key] = controller
        elif obj is not None:
            concerned |= {
                key_of(owner)
                for owner in self._owners.objects()
                if key_of(owner)[0] == key[0] and claims(owner, [obj]).adopt
            }
        return concerned

    def _controller(self, obj: Object) -> Key | None:
        reference = controller_of(obj)
        if reference is None or reference["kind"] != self._kind.kind:
            return None
        return obj["metadata"]["namespace"], reference["name"]


async def claim(cluster: Cluster, owner_kind: Kind, owner: Object, kind: Kind, objects: list[Object]) -> Claims:
    """Adopt and release the objects, of `kind`, as the owner's selector says (KubeError, but not for what is gone)."""
    found = claims(owner, objects)
    patches = [(obj, release(owner, obj)) for obj in found.release]
    patches += [(obj, adoption(owner_kind, owner, obj)) for obj in found.adopt]
    for obj, patch in patches:
        namespace, name = key_of(obj)
        with contextlib.suppress(NotFoundError):
            await cluster.patch(kind, name, patch, namespace)
    return found
