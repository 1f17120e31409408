"""Which directories of this machine stand for a pod's volumes, and at which paths a container sees them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.kube.kinds import Object
from simulator.kubelet.environment import ConfigError

DEFAULT_SECRET_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Mounts:
    """A container's mounts: those made by the kernel, and those that only its environment is told of."""

    binds: tuple[tuple[Path, Path], ...]
    moved: tuple[tuple[str, Path], ...]


@dataclass(frozen=True, slots=True)
class SecretVolume:
    """A volume with a file for each key of a Secret; `mode` is that of the files."""

    name: str
    secret: str
    mode: int


def empty_dirs(pod: Object) -> list[str]:
    """Names of the pod's volumes that are plain directories here, whatever their `medium` and `sizeLimit` are."""
    return [volume["name"] for volume in pod["spec"].get("volumes") or () if "emptyDir" in volume]


def secret_volumes(pod: Object) -> list[SecretVolume]:
    """The pod's volumes that hold whole Secrets; no container can have one that is optional or holds a selection."""
    return [
        SecretVolume(volume["name"], source["secretName"], source.get("defaultMode", DEFAULT_SECRET_MODE))
        for volume in pod["spec"].get("volumes") or ()
        if (source := volume.get("secret")) and not source.get("optional") and not source.get("items")
    ]


def container_mounts(
    pod: Object, container: Object, directories: Mapping[str, Path], can_bind: Callable[[str], bool]
) -> Mounts:
    """Return where the container's volumes are; a mount that cannot be bound to its path is moved.

    Raises:
        ConfigError: a volume is of a kind that is not supported, or only a part of it is to be mounted.
    """
    kinds = {volume["name"]: set(volume) - {"name"} for volume in pod["spec"].get("volumes") or ()}
    pairs: list[tuple[str, Path]] = []
    for mount in container.get("volumeMounts") or ():
        name = mount["name"]
        if name not in directories:
            kind = ", ".join(sorted(kinds.get(name, {"nothing"})))
            raise ConfigError(
                f'volume "{name}" ({kind}) is not supported by the local kubelet: use an emptyDir or a Secret'
            )
        if mount.get("subPath") or mount.get("subPathExpr"):
            raise ConfigError(f'volume "{name}": subPath is not supported by the local kubelet')
        pairs.append((mount["mountPath"].rstrip("/") or "/", directories[name]))
    return _split(sorted(pairs), can_bind)


def _split(pairs: Sequence[tuple[str, Path]], can_bind: Callable[[str], bool]) -> Mounts:
    bound = {path for path, _ in pairs if can_bind(path)}
    return Mounts(
        binds=tuple((directory, Path(path)) for path, directory in pairs if path in bound),
        moved=tuple((path, directory) for path, directory in pairs if path not in bound),
    )


def bindable(path: str, keep_visible: Sequence[Path]) -> bool:
    """Whether a directory can be bound to this path of the machine: it is there, and hides nothing that is needed."""
    return Path(path).is_dir() and not any(needed.is_relative_to(path) for needed in keep_visible)
