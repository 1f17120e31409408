"""Which resources are served, and under which paths; changes at run time as CustomResourceDefinitions come and go."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from simulator.kube.kinds import Kind
from simulator.kube.schema.model import Schema


class Column(msgspec.Struct, frozen=True):
    """A column of the table that kubectl prints.

    `path` is a JSONPath without braces, such as `.spec.specName`; one whose `priority` is above 0 is for `-o wide`.
    """

    name: str
    type: str
    path: str
    format: str = ""
    description: str = ""
    priority: int = 0


class ScalePaths(msgspec.Struct, frozen=True):
    """Where an object keeps what its scale subresource shows, as JSONPaths such as `.spec.replicas`."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""


class Subresource(msgspec.Struct, frozen=True):
    """What stands below an object's path, such as `deployments/scale`.

    `kind` is that of the body, in `group` and `version` where they differ from the resource's own.
    """

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True)
class Served:
    """A resource as it is served in one version."""

    kind: Kind
    storage: Kind
    """The kind under which the objects are stored: another version of the same resource, or `kind` itself."""
    load: Callable[[], Schema]
    singular: str
    list_kind: str
    verbs: tuple[str, ...]
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    columns: tuple[Column, ...] = ()
    """Those of a CustomResourceDefinition."""
    scale: ScalePaths | None = None
    deprecation: str = ""
    """The warning that every answer in this version carries, if it is deprecated."""
    published: Mapping[str, Any] | None = None
    """The `openAPIV3Schema` of a CustomResourceDefinition, as it was written."""

    @cached_property
    def schema(self) -> Schema:
        """What the objects look like; loaded when it is first asked for."""
        return self.load()

    @property
    def is_stored(self) -> bool:
        """Whether there are objects of it, rather than questions that are answered and forgotten."""
        return "list" in self.verbs

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, None if there is none."""
        return next((subresource for subresource in self.subresources if subresource.name == name), None)


class Registry:
    """The resources that are served, in the order in which they came."""

    def __init__(self, served: Iterable[Served] = ()) -> None:
        self._by_path: dict[tuple[str, str, str], Served] = {}
        self._by_kind: dict[tuple[str, str], Served] = {}
        self._stored: dict[Kind, Served] = {}
        for resource in served:
            self.add(resource)

    def __iter__(self) -> Iterator[Served]:
        return iter(self._by_path.values())

    def at(self, group: str, version: str, plural: str) -> Served | None:
        """The resource at `/apis/<group>/<version>/<plural>`, None if there is none."""
        return self._by_path.get((group, version, plural))

    def named(self, api_version: str, kind: str) -> Served | None:
        """The resource whose objects say that they are of this `apiVersion` and `kind`, None if there is none."""
        return self._by_kind.get((api_version, kind))

    def of(self, kind: Kind) -> Served:
        """The resource of a kind that is served, or in which objects of other versions are stored.

        Raises:
            KeyError: there is none.
        """
        return self._by_path.get((kind.group, kind.version, kind.plural)) or self._stored[kind]

    def store_as(self, served: Served) -> None:
        """Have what a definition makes stored as this resource, whether that is served or not."""
        self._stored[served.kind] = served

    def store_no_longer(self, kind: Kind) -> None:
        """Forget as what the objects of a definition were stored."""
        self._stored.pop(kind, None)

    def add(self, served: Served) -> None:
        """Serve a resource, in place of what was served at its path."""
        kind = served.kind
        path = (kind.group, kind.version, kind.plural)
        if path in self._by_path:
            self.remove(self._by_path[path].kind)
        self._by_path[path] = served
        self._by_kind[kind.api_version, kind.kind] = served

    def remove(self, kind: Kind) -> None:
        """Serve a kind no longer; nothing happens if it is not served."""
        served = self._by_path.pop((kind.group, kind.version, kind.plural), None)
        if served is not None:
            self._by_kind.pop((served.kind.api_version, served.kind.kind), None)
