"""What a URL path of the Kubernetes API is about."""

from dataclasses import dataclass

from simulator.kube.kinds import Kind
from simulator.kube.registry import Registry, Served


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A collection (no `name`), an object, or its subresource. `namespace` None means all, or a cluster-scoped kind.

    `watch` that the path itself asks for a watch, in the old form with `watch` before the resource.
    """

    served: Served
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    watch: bool = False

    @property
    def kind(self) -> Kind:
        """The kind in the version that was asked for."""
        return self.served.kind


def parse_path(path: str, registry: Registry) -> ResourcePath | None:
    """Resolve a path such as `/apis/apps/v1/namespaces/ns/deployments/d/status`; None if there is no such resource."""
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    watch = rest[:1] == ["watch"]
    match rest[1:] if watch else rest:
        case ["namespaces", namespace, plural, *tail] if served := registry.at(group, version, plural):
            found = _in_namespace(served, namespace, tail, watch=watch)
        case [plural, *tail] if served := registry.at(group, version, plural):
            found = _in_cluster(served, tail, watch=watch)
        case _:
            return None
    return None if found is None or (watch and found.subresource) else found


def _in_namespace(served: Served, namespace: str, tail: list[str], *, watch: bool) -> ResourcePath | None:
    if served.kind.custom:
        tail = tail[:2]  # what follows the subresource of a custom resource is not looked at
    if not served.kind.namespaced or len(tail) > 2:
        return None
    name, subresource = (*tail, None, None)[:2]
    return ResourcePath(served, namespace, name, subresource, watch)


def _in_cluster(served: Served, tail: list[str], *, watch: bool) -> ResourcePath | None:
    if len(tail) > 2 or (served.kind.namespaced and tail):
        return None
    name, subresource = (*tail, None, None)[:2]
    return ResourcePath(served, None, name, subresource, watch)
