"""What a URL path of the Kubernetes API is about."""

from collections.abc import Mapping
from dataclasses import dataclass

from simulator.kube.kinds import Kind

Resources = Mapping[tuple[str, str, str], Kind]
"""The served kinds by group, version and plural name."""


@dataclass(frozen=True, slots=True)
class ResourcePath:
    """A collection (no `name`), an object, or its subresource. `namespace` None means all, or a cluster-scoped kind."""

    kind: Kind
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None


def parse_path(path: str, resources: Resources) -> ResourcePath | None:
    """Resolve a path such as `/apis/apps/v1/namespaces/ns/deployments/d/status`; None if there is no such resource."""
    match path.strip("/").split("/"):
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    match rest:
        case ["namespaces", namespace, plural, *tail] if kind := resources.get((group, version, plural)):
            return _in_namespace(kind, namespace, tail)
        case [plural, *tail] if kind := resources.get((group, version, plural)):
            return _in_cluster(kind, tail)
    return None


def _in_namespace(kind: Kind, namespace: str, tail: list[str]) -> ResourcePath | None:
    if not kind.namespaced or len(tail) > 2:
        return None
    return ResourcePath(kind, namespace, *tail)


def _in_cluster(kind: Kind, tail: list[str]) -> ResourcePath | None:
    if len(tail) > 2 or (kind.namespaced and tail):
        return None
    return ResourcePath(kind, None, *tail)
