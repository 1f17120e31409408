"""The cluster that the platform is installed into: any context of a kubeconfig, and server-side apply."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
from lightkube.core.resource_registry import resource_registry
from lightkube.generic_resource import create_global_resource, create_namespaced_resource

from simulator.errors import EnvironmentMissing
from simulator.identities.private_file import write_private
from simulator.kube.client import Cluster
from simulator.kube.kinds import ALL_KINDS, Kind, Object

FIELD_MANAGER: Final = "unitsim-install"
_PATHS: Final = {
    "clusters": ("cluster", ("certificate-authority",)),
    "users": ("user", ("client-certificate", "client-key", "tokenFile")),
}
"""Where a kubeconfig names files, which may be relative to its own place."""

_KINDS: Final = {(kind.api_version, kind.kind): kind for kind in ALL_KINDS}


class TargetCluster(Cluster):
    """A connection that can also apply objects; `Cluster` says the rest."""

    async def apply_object(self, obj: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Make the object what it says, by server-side apply; return the object as it then is.

        With `dry_run` the server checks it and keeps nothing. `force` takes over fields that others manage.

        Raises:
            ConflictError: another manager has one of the fields; the message names both.
            KubeError: the server refuses.
        """
        with self._kube_errors():
            return dict(await self._client.apply(_resource(kind_of(obj))(obj), force=force, dry_run=dry_run))


def kind_of(obj: Object) -> Kind:
    """The kind of an object that we made."""
    return _KINDS[obj["apiVersion"], obj["kind"]]


@contextlib.asynccontextmanager
async def target_cluster(kubeconfig: Path, context: str | None) -> AsyncIterator[TargetCluster]:
    """Connect to a context of a kubeconfig, None being its current one.

    Raises:
        EnvironmentMissing: the file or the context cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="unitsim-") as directory:
        chosen = kubeconfig
        if context is not None:
            chosen = Path(directory) / "kubeconfig"
            write_private(chosen, msgspec.yaml.encode(with_context(kubeconfig, context)))
        async with TargetCluster(chosen, field_manager=FIELD_MANAGER) as cluster:
            yield cluster


def with_context(kubeconfig: Path, context: str) -> dict[str, Any]:
    """The kubeconfig with another current context; the files that it names by absolute paths.

    Raises:
        EnvironmentMissing: it cannot be read, or has no such context.
    """
    try:
        config = msgspec.yaml.decode(kubeconfig.read_bytes(), type=dict[str, Any])
        contexts = sorted(entry["name"] for entry in config.get("contexts") or ())
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as error:
        problem = (error.strerror if isinstance(error, OSError) else None) or "it is no kubeconfig"
        raise EnvironmentMissing(
            f"cannot use the kubeconfig {kubeconfig}: {problem}; name one with --kubeconfig"
        ) from error
    if context not in contexts:
        raise EnvironmentMissing(
            f"the kubeconfig {kubeconfig} has no context {context!r}; it has {', '.join(contexts) or 'none'}"
        )
    for section, (key, names) in _PATHS.items():
        for entry in config.get(section) or ():
            content = entry.get(key) or {}
            content.update({name: str(kubeconfig.parent / content[name]) for name in names if content.get(name)})
    return {**config, "current-context": context}


def _resource(kind: Kind) -> Any:
    """lightkube's class for a kind: it has one per process, which `Cluster` may have made."""
    known = resource_registry.get(kind.api_version, kind.kind)
    if known is not None:
        return known
    create = create_namespaced_resource if kind.namespaced else create_global_resource
    return create(kind.group, kind.version, kind.kind, kind.plural)
