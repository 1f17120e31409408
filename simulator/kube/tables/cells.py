"""The rows of the other built-in kinds. Pure functions of objects."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from simulator.kube.builtin.scale import SCALE
from simulator.kube.kinds import (
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Object,
)
from simulator.kube.tables.ages import UNKNOWN, age
from simulator.kube.tables.pods import NONE, pod_cells

Cells = Callable[[Object, datetime], list[Any]]

_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"
_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


def selector_text(selector: Object | None) -> str:
    """A label selector as a client would write it; empty for none and for one that takes everything."""
    selector = selector or {}
    terms = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    terms += [(term.get("key", ""), _expression(term)) for term in selector.get("matchExpressions") or ()]
    return ",".join(text for _, text in sorted(terms, key=lambda term: term[0]))


def _expression(term: Object) -> str:
    key, values = term.get("key", ""), ",".join(sorted(term.get("values") or ()))
    match term.get("operator"):
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "DoesNotExist":
            return f"!{key}"
    return str(key)


def _name(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def _age(obj: Object, now: datetime) -> str:
    return age(obj["metadata"].get("creationTimestamp"), now)


def _containers(obj: Object) -> list[str]:
    containers = _in(obj, "spec", "template", "spec").get("containers") or ()
    return [",".join(str(container.get(field, "")) for container in containers) for field in ("name", "image")]


def _in(obj: Object, *path: str) -> Object:
    for name in path:
        obj = obj.get(name) or {}
    return obj


def _deployment(obj: Object, now: datetime) -> list[Any]:
    spec, status = _in(obj, "spec"), _in(obj, "status")
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    counts = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    return [_name(obj), ready, *counts, _age(obj, now), *_containers(obj), selector_text(spec.get("selector"))]


def _replica_set(obj: Object, now: datetime) -> list[Any]:
    spec, status = _in(obj, "spec"), _in(obj, "status")
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [_name(obj), *counts, _age(obj, now), *_containers(obj), selector_text(spec.get("selector")) or NONE]


def _stateful_set(obj: Object, now: datetime) -> list[Any]:
    ready = f"{_in(obj, 'status').get('readyReplicas', 0)}/{_in(obj, 'spec').get('replicas', 0)}"
    return [_name(obj), ready, _age(obj, now), *_containers(obj)]


def _service(obj: Object, now: datetime) -> list[Any]:
    spec = _in(obj, "spec")
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP") or NONE]
    ports = ",".join(_port(port) for port in spec.get("ports") or ()) or NONE
    labels = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items())) or NONE
    return [_name(obj), spec.get("type", ""), addresses[0], _external_address(obj), ports, _age(obj, now), labels]


def _port(port: Object) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node_port}/{port.get('protocol', '')}"


def _external_address(service: Object) -> str:
    spec = _in(service, "spec")
    external = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(external) or NONE
        case "LoadBalancer":
            ingress = _in(service, "status", "loadBalancer").get("ingress") or ()
            balancers = sorted({entry.get("ip") or entry.get("hostname") or "" for entry in ingress} - {""})
            return ",".join([*balancers, *external]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return UNKNOWN


def _event(obj: Object, now: datetime) -> list[Any]:
    first = age(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = age(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series := obj.get("series"):
        last, count = age(series.get("lastObservedTime"), now), series.get("count", 0)
    target, source = _in(obj, "involvedObject"), _in(obj, "source")
    about = str(target.get("kind", "")).lower() + (f"/{target['name']}" if target.get("name") else "")
    reporter = source.get("component") or obj.get("reportingComponent") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    origin = f"{reporter}, {instance}" if instance else reporter
    message = str(obj.get("message", "")).strip()
    short = [last, obj.get("type", ""), obj.get("reason", ""), about]
    return [*short, target.get("fieldPath", ""), origin, message, first, count, _name(obj)]


def _config_map(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), _age(obj, now)]


def _secret(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), obj.get("type", ""), len(obj.get("data") or ()), _age(obj, now)]


def _namespace(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), _in(obj, "status").get("phase", ""), _age(obj, now)]


def _service_account(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), _age(obj, now)]


def _lease(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), _in(obj, "spec").get("holderIdentity") or "", _age(obj, now)]


def _network_policy(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), selector_text(_in(obj, "spec").get("podSelector")) or NONE, _age(obj, now)]


def _node(obj: Object, now: datetime) -> list[Any]:
    info, labels = _in(obj, "status", "nodeInfo"), obj["metadata"].get("labels") or {}
    states = [
        "Ready" if condition.get("status") == "True" else "NotReady"
        for condition in _in(obj, "status").get("conditions") or ()
        if condition.get("type") == "Ready"
    ][-1:] or ["Unknown"]
    if _in(obj, "spec").get("unschedulable"):
        states.append("SchedulingDisabled")
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles |= {labels.get(_ROLE_LABEL, "")}
    kernel = info.get("kernelVersion") or UNKNOWN
    return [
        _name(obj),
        ",".join(states),
        ",".join(sorted(roles - {""})) or NONE,
        _age(obj, now),
        info.get("kubeletVersion", ""),
        _address(obj, "InternalIP"),
        _address(obj, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        f"{kernel} ({info['architecture']})" if info.get("architecture") else kernel,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _address(node: Object, wanted: str) -> str:
    addresses: Iterable[Object] = _in(node, "status").get("addresses") or ()
    return next((str(entry["address"]) for entry in addresses if entry.get("type") == wanted), NONE)


def _claim(obj: Object, now: datetime) -> list[Any]:
    spec, status = _in(obj, "spec"), _in(obj, "status")
    phase = "Terminating" if "deletionTimestamp" in obj["metadata"] else status.get("phase", "")
    volume = spec.get("volumeName", "")
    modes = [short for mode, short in _ACCESS_MODES.items() if mode in (status.get("accessModes") or ())]
    annotations = obj["metadata"].get("annotations") or {}
    return [
        _name(obj),
        phase,
        volume,
        (_in(status, "capacity").get("storage") or "0") if volume else "",
        ",".join(modes) if volume else "",
        annotations.get(_CLASS_ANNOTATION) or spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or "<unset>",
        _age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def _disruption_budget(obj: Object, now: datetime) -> list[Any]:
    spec = _in(obj, "spec")
    bounds = [str(spec.get(name, "N/A")) for name in ("minAvailable", "maxUnavailable")]
    return [_name(obj), *bounds, _in(obj, "status").get("disruptionsAllowed", 0), _age(obj, now)]


def _role_binding(obj: Object, now: datetime) -> list[Any]:
    role, subjects = _in(obj, "roleRef"), obj.get("subjects") or ()
    named = [
        ", ".join(subject.get("name", "") for subject in subjects if subject.get("kind") == kind)
        for kind in ("User", "Group")
    ]
    accounts = ", ".join(
        f"{subject['namespace']}/{subject.get('name', '')}" if subject.get("namespace") else subject.get("name", "")
        for subject in subjects
        if subject.get("kind") == "ServiceAccount"
    )
    return [_name(obj), f"{role.get('kind', '')}/{role.get('name', '')}", _age(obj, now), *named, accounts]


def _scale(obj: Object, now: datetime) -> list[Any]:
    return [_name(obj), _in(obj, "spec").get("replicas", 0), _in(obj, "status").get("replicas", 0), _age(obj, now)]


CELLS: Mapping[Kind, Cells] = {
    POD: pod_cells,
    DEPLOYMENT: _deployment,
    REPLICA_SET: _replica_set,
    STATEFUL_SET: _stateful_set,
    SERVICE: _service,
    EVENT: _event,
    CONFIG_MAP: _config_map,
    SECRET: _secret,
    NAMESPACE: _namespace,
    NODE: _node,
    SERVICE_ACCOUNT: _service_account,
    PERSISTENT_VOLUME_CLAIM: _claim,
    LEASE: _lease,
    NETWORK_POLICY: _network_policy,
    POD_DISRUPTION_BUDGET: _disruption_budget,
    ROLE_BINDING: _role_binding,
    CLUSTER_ROLE_BINDING: _role_binding,
    SCALE: _scale,
}
"""Of the kinds that have columns of their own, what stands in them."""
