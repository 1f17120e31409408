"""ConfigMaps and Secrets as sources of environment variables."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from simulator.errors import KubeError, NotFoundError
from simulator.kube.client import Cluster
from simulator.kube.kinds import CONFIG_MAP, SECRET, Kind, Object

SourceKind = Literal["ConfigMap", "Secret"]
_KINDS: Final[dict[SourceKind, Kind]] = {"ConfigMap": CONFIG_MAP, "Secret": SECRET}
_WHOLE: Final[dict[str, SourceKind]] = {"configMapRef": "ConfigMap", "secretRef": "Secret"}
_SINGLE: Final[dict[str, SourceKind]] = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}


class ConfigError(ValueError):
    """The pod asks for what is not there; the text is the message of `CreateContainerConfigError`."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The objects that a container's environment refers to, those that exist."""

    namespace: str
    objects: Mapping[tuple[SourceKind, str], Object]

    def all_of(self, entry: Object) -> dict[str, str]:
        """The variables of an `envFrom` entry. Raises ConfigError: there is no such object."""
        field, kind = next((field, kind) for field, kind in _WHOLE.items() if field in entry)
        found = self._data(kind, entry[field])
        return {f"{entry.get('prefix', '')}{key}": value for key, value in (found or {}).items()}

    def one_of(self, source: Object) -> str | None:
        """The value of a `valueFrom`, None if it may be missing and is. Raises ConfigError: it may not."""
        field, kind = next((field, kind) for field, kind in _SINGLE.items() if field in source)
        reference = source[field]
        found = self._data(kind, reference)
        if found is not None and reference["key"] in found:
            return found[reference["key"]]
        if reference.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {reference['key']} in {kind} {self.namespace}/{reference['name']}")

    def _data(self, kind: SourceKind, reference: Object) -> dict[str, str] | None:
        found = self.objects.get((kind, reference["name"]))
        if found is None:
            if reference.get("optional"):
                return None
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        data: dict[str, str] = found.get("data") or {}
        if kind == "ConfigMap":
            return data
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}


async def read_sources(cluster: Cluster, namespace: str, container: Object) -> Sources:
    """Read the objects that the container's environment refers to.

    Raises:
        ConfigError: the API did not answer.
    """
    objects: dict[tuple[SourceKind, str], Object] = {}
    for kind, name in dict.fromkeys(_references(container)):
        try:
            objects[kind, name] = await cluster.get(_KINDS[kind], name, namespace)
        except NotFoundError:
            continue
        except KubeError as error:
            raise ConfigError(f"failed to sync {kind.lower()} cache: {error}") from error
    return Sources(namespace, objects)


def _references(container: Object) -> Iterator[tuple[SourceKind, str]]:
    for entry in container.get("envFrom") or ():
        for field, kind in _WHOLE.items():
            if field in entry:
                yield kind, entry[field]["name"]
    for entry in container.get("env") or ():
        for field, kind in _SINGLE.items():
            if reference := (entry.get("valueFrom") or {}).get(field):
                yield kind, reference["name"]
