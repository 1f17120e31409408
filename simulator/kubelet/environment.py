"""What a container finds in its environment: what its pod says, translated to this machine, and little else."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simulator.kube.kinds import Object
from simulator.kubelet.env_sources import ConfigError, Sources

HOST_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ")
"""All that a container gets of the environment in which the platform was started."""

POD_IP = "127.0.0.1"
"""Pods share this machine's network, and everything listens on loopback only."""

_REFERENCE = re.compile(r"\$(?:\$|\(([A-Za-z_.][A-Za-z0-9_.-]*)\))")


@dataclass(frozen=True, slots=True)
class Translation:
    """What has another name here than in a container of its own.

    `ports` maps a container port to the one it has here. `moved` are mount paths with the directories that hold
    their volumes, for mounts that the container cannot see at their own path.
    """

    ports: Mapping[int, int] = field(default_factory=dict)
    moved: Sequence[tuple[str, Path]] = ()

    def value(self, name: str, value: str) -> str:
        """Return a variable's value as it has to be here."""
        if name.endswith("_PORT") and value.isdecimal() and int(value) in self.ports:
            return str(self.ports[int(value)])
        for mount_path, directory in self.moved:
            if value == mount_path or value.startswith(f"{mount_path}/"):
                return f"{directory}{value.removeprefix(mount_path)}"
        return value


def container_environment(
    pod: Object,
    container: Object,
    host: Mapping[str, str],
    home: Path,
    translation: Translation,
    sources: Sources | None = None,
) -> dict[str, str]:
    """Return the whole environment of a container, in the order of the pod's own list (later entries win).

    `sources` are the ConfigMaps and Secrets that it is made of.

    Raises:
        ConfigError: a value comes from a source that is not there or not supported.
    """
    sources = sources or Sources(pod["metadata"].get("namespace", ""), {})
    environment = {name: host[name] for name in HOST_VARIABLES if name in host}
    environment["HOME"] = str(home)
    declared: dict[str, str] = {}
    for entry in container.get("envFrom") or ():
        declared |= sources.all_of(entry)
    for entry in container.get("env") or ():
        value = expand(entry.get("value") or "", declared)
        if source := entry.get("valueFrom"):
            taken = (
                sources.one_of(source) if {"configMapKeyRef", "secretKeyRef"} & source.keys() else _field(pod, entry)
            )
            if taken is None:
                continue
            value = taken
        declared[entry["name"]] = translation.value(entry["name"], value)
    return environment | declared


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by the variable's value and `$$` by `$`; a reference to an unknown variable stays as it is."""
    return _REFERENCE.sub(lambda found: variables.get(found[1], found[0]) if found[1] else "$", text)


def pod_field(pod: Object, path: str) -> str | None:
    """The value of a field of the pod, as `fieldRef` names it; None if it is not one that can be had."""
    metadata, spec = pod["metadata"], pod["spec"]
    values = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": POD_IP,
        "status.podIPs": POD_IP,
        "status.hostIP": POD_IP,
        "status.hostIPs": POD_IP,
    }
    if path in values:
        return str(values[path])
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = (metadata.get(path.partition(".")[2]) or {}).items()
        return "\n".join(f"{key}={json.dumps(value)}" for key, value in sorted(entries))
    return None


def _field(pod: Object, entry: Object) -> str:
    source = entry["valueFrom"]
    path = (source.get("fieldRef") or {}).get("fieldPath", "")
    if (value := pod_field(pod, path)) is not None:
        return value
    asked = path or ", ".join(source)
    raise ConfigError(f"variable {entry['name']}: {asked} is not supported by the local kubelet; set a value")
