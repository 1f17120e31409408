"""The rules for the environment variables of containers, and for what refers to the fields of a pod."""

import re
from collections.abc import Collection
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import each, invalid, unsupported
from simulator.kube.builtin.quantities import parse_quantity
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, required

_SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_POD_FIELDS: Final = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
)
VOLUME_FIELDS: Final = (
    *("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"),
)
_KNOWN_FIELDS: Final = frozenset(
    {*_POD_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"}
)
_RESOURCES: Final = (
    *("limits.cpu", "limits.ephemeral-storage", "limits.memory"),
    *("requests.cpu", "requests.ephemeral-storage", "requests.memory"),
)
_CPU_DIVISORS: Final = ("1m", "1")
_BYTE_DIVISORS: Final = (
    "1",
    *(f"1{unit}" for unit in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")),
)
_DIVISORS: Final = {
    "cpu": (_CPU_DIVISORS, "values 1m and 1 are supported with the cpu resource"),
    "memory": (_BYTE_DIVISORS, f"values {', '.join(_BYTE_DIVISORS)} are supported with the memory resource"),
    "ephemeral-storage": (
        _BYTE_DIVISORS,
        f"values {', '.join(_BYTE_DIVISORS)} are supported with the local ephemeral storage resource",
    ),
}


def variable_causes(variables: list[Object], field: str) -> list[Cause]:
    """What is wrong with the environment variables of a container."""
    causes: list[Cause] = []
    for index, variable in enumerate(variables):
        item = f"{field}[{index}]"
        if not variable["name"]:
            causes.append(required(f"{item}.name", ""))
        else:
            causes += each(f"{item}.name", variable["name"], formats.variable_name(variable["name"]))
        if "valueFrom" in variable:
            causes += _source_causes(variable, f"{item}.valueFrom")
    return causes


def variables_from_causes(sources: list[Object], field: str) -> list[Cause]:
    """What is wrong with the ConfigMaps and Secrets that become environment variables as a whole."""
    causes: list[Cause] = []
    for index, source in enumerate(sources):
        item = f"{field}[{index}]"
        if source.get("prefix"):
            causes += each(f"{item}.prefix", source["prefix"], formats.variable_name(source["prefix"]))
        named = [name for name in ("configMapRef", "secretRef") if name in source]
        for name in named:
            causes += _name_causes(source[name].get("name") or "", f"{item}.{name}.name")
        if not named:
            causes.append(invalid(field, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(named) > 1:
            causes.append(invalid(field, "", "may not have more than one field specified at a time"))
    return causes


def pod_field_causes(reference: Object, allowed: Collection[str], field: str) -> list[Cause]:
    """What is wrong with a reference to a field of the pod."""
    path = reference.get("fieldPath") or ""
    if not path:
        return [required(f"{field}.fieldPath", "")]
    subscripted = re.fullmatch(r"(.*)\['(.*)'\]", path)
    if subscripted is None:
        if path not in _KNOWN_FIELDS:
            problem = f"error converting fieldPath: field label not supported: {path}"
            return [invalid(f"{field}.fieldPath", path, problem)]
        return [] if path in allowed else [unsupported(f"{field}.fieldPath", path, sorted(allowed))]
    if subscripted[1] == "metadata.annotations":
        return each(field, subscripted[2].lower(), formats.qualified_name(subscripted[2].lower()))
    if subscripted[1] == "metadata.labels":
        return each(field, subscripted[2], formats.qualified_name(subscripted[2]))
    problem = f"error converting fieldPath: field label does not support subscript: {path}"
    return [invalid(f"{field}.fieldPath", path, problem)]


def resource_field_causes(reference: Object, field: str, *, in_volume: bool) -> list[Cause]:
    """What is wrong with a reference to a container's limit or request."""
    resource = reference.get("resource") or ""
    causes = []
    if in_volume and not reference.get("containerName"):
        causes.append(required(f"{field}.containerName", ""))
    elif not resource:
        causes.append(required(f"{field}.resource", ""))
    elif resource not in _RESOURCES and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
        causes.append(unsupported(f"{field}.resource", resource, _RESOURCES))
    divisor = parse_quantity(reference.get("divisor") or "0")
    supported, problem = _DIVISORS.get(resource.partition(".")[2], ((), ""))
    if divisor.amount and supported and str(divisor) not in supported:
        causes.append(invalid(f"{field}.divisor", resource, f"only divisor's {problem}"))
    return causes


def _source_causes(variable: Object, field: str) -> list[Cause]:
    source = variable["valueFrom"]
    named = [name for name in _SOURCES if name in source]
    causes: list[Cause] = []
    for name in named:
        causes += _reference_causes(name, source[name], f"{field}.{name}")
    if not named:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        causes.append(invalid(field, "", f"must specify one of: {listed}"))
    elif variable.get("value"):
        causes.append(invalid(field, "", "may not be specified when `value` is not empty"))
    elif len(named) > 1:
        causes.append(invalid(field, "", "may not have more than one field specified at a time"))
    return causes


def _reference_causes(name: str, reference: Object, field: str) -> list[Cause]:
    match name:
        case "fieldRef":
            return pod_field_causes(reference, _POD_FIELDS, field)
        case "resourceFieldRef":
            return resource_field_causes(reference, field, in_volume=False)
        case "fileKeyRef":
            return _file_causes(reference, field)
    causes = each(f"{field}.name", reference.get("name", ""), formats.subdomain(reference.get("name", "")))
    key = reference.get("key") or ""
    return [*causes, *(each(f"{field}.key", key, formats.config_key(key)) if key else [required(f"{field}.key", "")])]


def _file_causes(reference: Object, field: str) -> list[Cause]:
    causes: list[Cause] = []
    rules = {"key": formats.variable_name, "volumeName": formats.label, "path": formats.no_backsteps}
    for name, rule in rules.items():
        value = reference.get(name) or ""
        causes += each(f"{field}.{name}", value, rule(value)) if value else [required(f"{field}.{name}", "")]
    return causes


def _name_causes(name: str, field: str) -> list[Cause]:
    if not name:
        return [required(field, "")]
    return each(field, name, formats.subdomain(formats.masked_prefix(name)))
