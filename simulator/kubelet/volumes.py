"""Which directories of this machine stand for a pod's volumes, and at which paths a container sees them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from simulator.kube.kinds import Object
from simulator.kubelet.env_sources import ConfigError

DEFAULT_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Mounts:
    """A container's mounts: those made by the kernel, and those that only its environment is told of."""

    binds: tuple[tuple[Path, Path], ...]
    moved: tuple[tuple[str, Path], ...]


@dataclass(frozen=True, slots=True)
class FileSource:
    """Where files of a volume come from: keys of a Secret or ConfigMap (`paths` by key, None: all of them as they are
    named), or fields of the pod (`paths` by field path). What is `optional` may be missing.
    """

    kind: Literal["Secret", "ConfigMap", "DownwardAPI"]
    name: str = ""
    paths: tuple[tuple[str, str], ...] | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class FileVolume:
    """A volume with files of mode `mode`."""

    name: str
    mode: int
    sources: tuple[FileSource, ...]


def empty_dirs(pod: Object) -> list[str]:
    """Names of the pod's volumes that are plain directories here, whatever their `medium` and `sizeLimit` are."""
    return [volume["name"] for volume in pod["spec"].get("volumes") or () if "emptyDir" in volume]


def file_volumes(pod: Object) -> list[FileVolume]:
    """The pod's volumes that hold files.

    No token of a service account is issued here: a volume with one lacks it, and waits for nothing else either.
    """
    found = []
    for volume in pod["spec"].get("volumes") or ():
        for field in ("secret", "configMap", "downwardAPI", "projected"):
            if (source := volume.get(field)) is not None:
                parts = source.get("sources") or () if field == "projected" else [{field: source}]
                hollow = any("serviceAccountToken" in part for part in parts)
                sources = [_source(kind, entry, hollow) for part in parts for kind, entry in part.items()]
                mode = source.get("defaultMode") or DEFAULT_MODE
                found.append(FileVolume(volume["name"], mode, tuple(filter(None, sources))))
    return found


def _source(field: str, entry: Object, hollow: bool) -> FileSource | None:
    items = entry.get("items")
    if field == "downwardAPI":
        fields = [(item["fieldRef"]["fieldPath"], item["path"]) for item in items or () if "fieldRef" in item]
        return FileSource("DownwardAPI", paths=tuple(fields))
    if field not in ("secret", "configMap"):
        return None
    paths = None if items is None else tuple((item["key"], item["path"]) for item in items)
    name = entry.get("secretName") or entry.get("name", "")
    kind: Literal["Secret", "ConfigMap"] = "Secret" if field == "secret" else "ConfigMap"
    return FileSource(kind, name, paths, optional=hollow or bool(entry.get("optional")))


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
                f'volume "{name}" ({kind}) is not supported by the local kubelet: use an emptyDir, Secret or ConfigMap'
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
