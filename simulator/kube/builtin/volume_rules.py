"""The rules for the volumes of a pod, and for where its containers mount them."""

from collections.abc import Callable
from typing import Any, Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import duplicate, each, invalid, unknown, unsupported
from simulator.kube.builtin.environment_rules import VOLUME_FIELDS, pod_field_causes, resource_field_causes
from simulator.kube.builtin.quantities import parse_quantity
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_MODE_PROBLEM: Final = "must be a number between 0 and 0777 (octal), both inclusive"
_MAX_MODE: Final = 0o777
_ONE_TYPE: Final = "may not specify more than 1 volume type"
_TOKEN_SECONDS: Final = (600, 2**32)
_HOST_PATHS: Final = (
    *("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"),
)
_PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE: Final = ("Disabled", "Enabled", "IfPossible")
_DRIVERS: Final = (
    *("emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi"),
    *("glusterfs", "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc"),
    *("flexVolume", "configMap", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk"),
    *("storageos", "projected", "scaleIO", "csi", "ephemeral", "image"),
)
"""In the order in which the real server looks for them."""


def volume_causes(volumes: list[Object], pod_name: str, field: str) -> tuple[dict[str, Object], list[Cause]]:
    """The volumes that are right by their names, and what is wrong with the others."""
    right: dict[str, Object] = {}
    causes: list[Cause] = []
    own_claims = {f"{pod_name}-{volume['name']}" for volume in volumes if pod_name and "ephemeral" in volume}
    for index, volume in enumerate(volumes):
        item = f"{field}[{index}]"
        wrong = _source_causes(volume, item)
        wrong += _name_causes(volume["name"], f"{item}.name", right)
        if not wrong:
            right[volume["name"]] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in own_claims:
            problem = "must not reference a PVC that gets created for an ephemeral volume"
            wrong.append(invalid(f"{item}.persistentVolumeClaim.claimName", claim, problem))
        causes += wrong
    return right, causes


def mount_causes(container: Object, volumes: dict[str, Object], field: str) -> list[Cause]:
    """What is wrong with the places where a container mounts volumes."""
    causes: list[Cause] = []
    paths = set()
    devices = {device["name"]: device["devicePath"] for device in container.get("volumeDevices") or ()}
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        item, name, path = f"{field}.volumeMounts[{index}]", mount["name"], mount["mountPath"]
        if not name:
            causes.append(required(f"{item}.name", ""))
        if name not in volumes:
            causes.append(unknown(f"{item}.name", name))
        if not path:
            causes.append(required(f"{item}.mountPath", ""))
        if path in paths:
            causes.append(invalid(f"{item}.mountPath", path, "must be unique"))
        paths.add(path)
        if name in devices:
            causes.append(invalid(f"{item}.name", name, "must not already exist in volumeDevices"))
        if path in devices.values():
            problem = "must not already exist as a path in volumeDevices"
            causes.append(invalid(f"{item}.mountPath", path, problem))
        causes += _path_causes(mount, item, f"{field}.volumeMounts")
        causes += _mode_causes(mount, container, f"{field}.volumeMounts")
    return causes


def _path_causes(mount: Object, item: str, field: str) -> list[Cause]:
    causes = []
    path, expression = mount.get("subPath") or "", mount.get("subPathExpr") or ""
    causes += each(f"{field}.subPath", path, formats.relative_path(path))
    if path and expression:
        problem = "subPathExpr and subPath are mutually exclusive"
        causes.append(invalid(f"{item}.subPathExpr", expression, problem))
    return [*causes, *each(f"{field}.subPathExpr", expression, formats.relative_path(expression))]


def _mode_causes(mount: Object, container: Object, field: str) -> list[Cause]:
    causes = []
    propagation, recursive = mount.get("mountPropagation"), mount.get("recursiveReadOnly")
    if propagation is not None and propagation not in _PROPAGATIONS:
        causes.append(unsupported(f"{field}.mountPropagation", propagation, _PROPAGATIONS))
    privileged = (container.get("securityContext") or {}).get("privileged")
    if propagation == "Bidirectional" and not privileged:
        problem = "Bidirectional mount propagation is available only to privileged containers"
        causes.append(forbidden_value(f"{field}.mountPropagation", problem))
    if recursive is not None and recursive not in _RECURSIVE:
        causes.append(unsupported(f"{field}.recursiveReadOnly", recursive, _RECURSIVE))
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            problem = "may only be specified when readOnly is true"
            causes.append(forbidden_value(f"{field}.recursiveReadOnly", problem))
        if propagation not in (None, "None"):
            problem = "may only be specified when mountPropagation is None or not specified"
            causes.append(forbidden_value(f"{field}.recursiveReadOnly", problem))
    return causes


def _name_causes(name: str, field: str, right: dict[str, Object]) -> list[Cause]:
    causes = each(field, name, formats.label(name)) if name else [required(field, "")]
    return [*causes, duplicate(field, name)] if name in right else causes


def _source_causes(volume: Object, field: str) -> list[Cause]:
    first, *others = [driver for driver in _DRIVERS if driver in volume]
    rules = _SOURCES.get(first)
    causes = rules(volume[first], f"{field}.{first}") if rules is not None else []
    return [*causes, *(forbidden_value(f"{field}.{other}", _ONE_TYPE) for other in others)]


def _empty_directory_causes(source: Object, field: str) -> list[Cause]:
    if parse_quantity(source.get("sizeLimit") or "0").amount >= 0:
        return []
    return [forbidden_value(f"{field}.sizeLimit", "SizeLimit field must be a valid resource quantity")]


def _host_path_causes(source: Object, field: str) -> list[Cause]:
    if not source["path"]:
        return [required(f"{field}.path", "")]
    causes = each(f"{field}.path", source["path"], formats.no_backsteps(source["path"]))
    if source["type"] not in _HOST_PATHS:
        causes.append(unsupported(f"{field}.type", source["type"], _HOST_PATHS))
    return causes


def _claim_causes(source: Object, field: str) -> list[Cause]:
    return [] if source["claimName"] else [required(f"{field}.claimName", "")]


def _secret_causes(source: Object, field: str) -> list[Cause]:
    return _files_causes(source, field, "secretName")


def _config_map_causes(source: Object, field: str) -> list[Cause]:
    return _files_causes(source, field, "name")


def _files_causes(source: Object, field: str, name_field: str) -> list[Cause]:
    causes = [] if source.get(name_field) else [required(f"{field}.{name_field}", "")]
    causes += _file_mode_causes(source.get("defaultMode"), f"{field}.defaultMode")
    for index, item in enumerate(source.get("items") or ()):
        causes += _item_causes(item, f"{field}.items[{index}]")
    return causes


def _item_causes(item: Object, field: str) -> list[Cause]:
    causes = [required(f"{field}.{name}", "") for name in ("key", "path") if not item[name]]
    causes += each(f"{field}.path", item["path"], formats.volume_path(item["path"]))
    return [*causes, *_file_mode_causes(item.get("mode"), f"{field}.mode")]


def _downward_causes(source: Object, field: str) -> list[Cause]:
    causes = _file_mode_causes(source.get("defaultMode"), f"{field}.defaultMode")
    for item in source.get("items") or ():
        causes += _downward_item_causes(item, field)
    return causes


def _downward_item_causes(item: Object, field: str) -> list[Cause]:
    causes = [] if item["path"] else [required(f"{field}.path", "")]
    causes += each(f"{field}.path", item["path"], formats.volume_path(item["path"]))
    if "fieldRef" in item:
        causes += pod_field_causes(item["fieldRef"], VOLUME_FIELDS, f"{field}.fieldRef")
        if "resourceFieldRef" in item:
            problem = "fieldRef and resourceFieldRef can not be specified simultaneously"
            causes.append(invalid(field, "resource", problem))
    elif "resourceFieldRef" in item:
        causes += resource_field_causes(item["resourceFieldRef"], f"{field}.resourceFieldRef", in_volume=True)
    else:
        causes.append(required(field, "one of fieldRef and resourceFieldRef is required"))
    return [*causes, *_file_mode_causes(item.get("mode"), f"{field}.mode")]


def _projected_causes(source: Object, field: str) -> list[Cause]:
    causes = _file_mode_causes(source.get("defaultMode"), f"{field}.defaultMode")
    paths: set[str] = set()
    for index, projection in enumerate(source.get("sources") or ()):
        item = f"{field}.sources[{index}]"
        for name in ("secret", "configMap", "downwardAPI"):
            if name in projection:
                causes += _projection_causes(name, projection[name], f"{item}.{name}", paths, field)
        if "serviceAccountToken" in projection:
            causes += _token_causes(projection["serviceAccountToken"], f"{item}.serviceAccountToken", field)
        if len(projection) > 1:
            causes.append(forbidden_value(item, "may not specify more than 1 volume type per source"))
    return causes


def _projection_causes(name: str, source: Object, item: str, paths: set[str], field: str) -> list[Cause]:
    causes = []
    if name != "downwardAPI" and not source.get("name"):
        causes.append(required(f"{item}.name", ""))
    for index, file in enumerate(source.get("items") or ()):
        path = file["path"]
        if name == "downwardAPI":
            causes += _downward_item_causes(file, item)
        else:
            causes += _item_causes(file, f"{item}.items[{index}]")
        if path and path in paths:
            shown = path if name == "downwardAPI" else source.get("name", "")
            causes.append(invalid(field, shown, "conflicting duplicate paths"))
        paths.add(path)
    return causes


def _token_causes(token: Object, item: str, field: str) -> list[Cause]:
    causes = []
    shortest, longest = _TOKEN_SECONDS
    seconds = token["expirationSeconds"]
    if seconds < shortest:
        problem = "may not specify a duration less than 10 minutes"
        causes.append(invalid(f"{item}.expirationSeconds", seconds, problem))
    if seconds > longest:
        problem = "may not specify a duration larger than 2^32 seconds"
        causes.append(invalid(f"{item}.expirationSeconds", seconds, problem))
    path = token["path"]
    return [
        *causes,
        *(each(f"{field}.path", path, formats.volume_path(path)) if path else [required(f"{field}.path", "")]),
    ]


def _file_mode_causes(mode: int | None, field: str) -> list[Cause]:
    return [] if mode is None or 0 <= mode <= _MAX_MODE else [invalid(field, mode, _MODE_PROBLEM)]


_SOURCES: Final[dict[str, Callable[[dict[str, Any], str], list[Cause]]]] = {
    "emptyDir": _empty_directory_causes,
    "hostPath": _host_path_causes,
    "secret": _secret_causes,
    "configMap": _config_map_causes,
    "downwardAPI": _downward_causes,
    "projected": _projected_causes,
    "persistentVolumeClaim": _claim_causes,
}
"""The kinds of volumes whose contents are checked; those of other kinds are taken as they are."""
