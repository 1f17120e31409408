"""What can be read of the objects of the embedded cluster: one, a list, a page of a list, and what happens to them."""

from collections.abc import Callable, Mapping

from simulator.kube.continuation import encode_continue
from simulator.kube.history import History, Key, Listener
from simulator.kube.kinds import Kind, Object
from simulator.kube.listing import ListOptions, Page, in_order, page_of
from simulator.kube.objects import Objects
from simulator.kube.selectors import Selector
from simulator.kube.status import continue_expired, list_expired, not_found, too_large_version


class ReadableStore:
    """The part of a store that does not write. Methods raise ApiFailure, whose body is the Status that a client gets.

    Objects are never changed in place: what comes out is shared and must not be changed.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def kinds(self) -> list[Kind]:
        """The kinds that are served."""
        return self._objects.kinds

    @property
    def version(self) -> int:
        """The resource version of the last write."""
        return self._objects.version

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object:
        """Return one object (404)."""
        obj = self._objects.get((kind, namespace or "", name))
        if obj is None:
            raise not_found(kind, name)
        return obj

    def holds(self, kind: Kind, name: str, namespace: str | None = None) -> bool:
        """Whether there is such an object."""
        return self._find(kind, name, namespace) is not None

    def list(self, kind: Kind, namespace: str | None = None, selector: Selector | None = None) -> list[Object]:
        """Return the selected objects of one namespace, or of all, in the order of the real API."""
        options = ListOptions(selector or Selector())
        return list(self.page(kind, namespace, options).objects)

    def page(self, kind: Kind, namespace: str | None, options: ListOptions) -> Page:
        """Return the part of a list that is asked for (410 its state is forgotten, 504 it is not there yet)."""
        exact = options.exact_version
        self.check_version(exact or options.resource_version)
        objects: Mapping[Key, Object] | None = self._objects.of(kind)
        if exact is not None:
            objects = self._objects.history(kind).undone(self._objects.of(kind), exact)
        if objects is None:
            start = options.continuation.start if options.continuation else None
            raise list_expired() if start is None else continue_expired(encode_continue(start, None))
        return page_of(in_order(objects, namespace), options, self.version if exact is None else exact)

    def check_version(self, version: int | None) -> None:
        """Check that what a reader knows of already is not newer than what is here (504)."""
        if version is not None and version > self.version:
            raise too_large_version(version, self.version)

    def history(self, kind: Kind) -> History:
        """What happened to the kind's objects."""
        return self._objects.history(kind)

    def listen(self, kind: Kind, listener: Listener, on_end: Callable[[], None] = lambda: None) -> Callable[[], None]:
        """Call `listener` with each change of the kind's objects, and `on_end` when the kind is served no longer.

        The function returned ends that.
        """
        return self._objects.history(kind).listen(listener, on_end)

    def _find(self, kind: Kind, name: str, namespace: str | None) -> Object | None:
        return self._objects.get((kind, namespace or "", name))
