"""What the API warns of in an object that it takes nevertheless."""

from collections.abc import Callable, Iterator
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.encoded import decoded
from simulator.kube.builtin.metadata_rules import finalizer_warnings
from simulator.kube.builtin.quantities import parse_quantity
from simulator.kube.builtin.service_address_rules import HEADLESS
from simulator.kube.kinds import (
    DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
)

_DEPRECATED_LABELS: Final = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_IN_POD_NAMES: Final = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is "
    "recommended"
)
_IN_HOSTNAME: Final = (
    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is "
    "recommended"
)
_NO_SELECTOR: Final = "labelSelector: a null labelSelector results in matching no pod"
_REQUIRED_TERMS: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED_TERMS: Final = "preferredDuringSchedulingIgnoredDuringExecution"
_PARTS: Final = ("initContainers", "containers", "ephemeralContainers")


def builtin_warnings(kind: Kind, new: Object, old: Object | None) -> list[str]:
    """The warnings about an object that is to be created, or to replace `old`."""
    if kind.custom:
        return finalizer_warnings(new["metadata"], {} if old is None else old["metadata"])
    rules = _RULES.get(kind)
    return [] if rules is None else rules(new, old)


def _pod_warnings(pod: Object, old: Object | None) -> list[str]:
    if old is not None:
        return []
    return [*_name_warnings(pod, _IN_HOSTNAME), *_spec_warnings(pod["spec"], "spec")]


def _secret_warnings(secret: Object, _old: Object | None) -> list[str]:
    """Of a pair of keys that no server could use; the texts are those of Go's reader."""
    if secret.get("type") != "kubernetes.io/tls":
        return []
    for field, what in (("tls.crt", "certificate"), ("tls.key", "key")):
        if b"-----BEGIN " not in decoded((secret.get("data") or {}).get(field) or ""):
            return [f"tls: failed to find any PEM data in {what} input"]
    return []


def _workload_warnings(workload: Object, old: Object | None) -> list[str]:
    if old is None:
        return [*_name_warnings(workload, _IN_POD_NAMES), *_template_warnings(workload)]
    return [] if workload["spec"] == old["spec"] else _template_warnings(workload)


def _stateful_set_warnings(stateful_set: Object, old: Object | None) -> list[str]:
    changed = old is None or stateful_set["spec"] != old["spec"]
    warnings = _template_warnings(stateful_set) if changed else []
    if stateful_set["spec"].get("revisionHistoryLimit", 0) < 0:
        problem = "a negative value retains all historical revisions; a value >= 0 is recommended"
        warnings.append(f"spec.revisionHistoryLimit: {problem}")
    return warnings


def _claim_warnings(claim: Object, _old: Object | None) -> list[str]:
    return list(_fraction_warnings(claim["spec"].get("resources") or {}, "spec.resources", ("storage",)))


def _service_warnings(service: Object, _old: Object | None) -> list[str]:
    spec = service["spec"]
    warnings = []
    outside = spec.get("externalIPs")
    if spec["type"] == "ClusterIP" and spec.get("clusterIP") == HEADLESS:
        ignored = {
            "spec.loadBalancerIP": spec.get("loadBalancerIP"),
            "spec.externalIPs": outside,
            "spec.SessionAffinity": spec["sessionAffinity"] != "None",
        }
        warnings += [f"{name} is ignored for headless services" for name, is_set in ignored.items() if is_set]
    elif outside and spec["type"] != "ExternalName":
        warnings.append("spec.externalIPs is deprecated and may no longer be implemented in some clusters")
    if outside and spec["type"] == "ExternalName":
        warnings.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if spec.get("externalName") and spec["type"] != "ExternalName":
        warnings.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        warnings.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return warnings


def _name_warnings(obj: Object, problem: str) -> list[str]:
    problems = formats.label(obj["metadata"].get("name") or "")
    return [f"{problem}: [{' '.join(problems)}]"] if problems else []


def _template_warnings(workload: Object) -> list[str]:
    return _spec_warnings(workload["spec"]["template"]["spec"], "spec.template.spec")


def _spec_warnings(spec: Object, field: str) -> list[str]:
    warnings = [
        f"{field}.nodeSelector[{name}]: {_DEPRECATED_LABELS[name]}"
        for name in spec.get("nodeSelector") or ()
        if name in _DEPRECATED_LABELS
    ]
    warnings += _spread_warnings(spec, field)
    warnings += _repeated_warnings(spec, field)
    for item, container in _containers(spec, field):
        resources = container.get("resources") or {}
        warnings += _fraction_warnings(resources, f"{item}.resources", ("memory", "ephemeral-storage"))
        warnings += _hidden_variable_warnings(container.get("env") or [], f"{item}.env")
    warnings += _port_warnings(spec, field)
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        problem = "must be >= 0; negative values are invalid and will be treated as 1"
        warnings.append(f"{field}.terminationGracePeriodSeconds: {problem}")
    return [*warnings, *_affinity_warnings(spec.get("affinity") or {}, f"{field}.affinity")]


def _spread_warnings(spec: Object, field: str) -> Iterator[str]:
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        item, key = f"{field}.topologySpreadConstraints[{index}]", constraint["topologyKey"]
        if key in _DEPRECATED_LABELS:
            yield f"{item}.topologyKey: {key} is {_DEPRECATED_LABELS[key]}"
        if constraint.get("labelSelector") is None:
            yield f"{item}.{_NO_SELECTOR}"


def _affinity_warnings(affinity: Object, field: str) -> Iterator[str]:
    for part in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(part) or {}
        for index, term in enumerate(terms.get(_REQUIRED_TERMS) or ()):
            if term.get("labelSelector") is None:
                yield f"{field}.{part}.{_REQUIRED_TERMS}[{index}].{_NO_SELECTOR}"
        for index, term in enumerate(terms.get(_PREFERRED_TERMS) or ()):
            if term["podAffinityTerm"].get("labelSelector") is None:
                yield f"{field}.{part}.{_PREFERRED_TERMS}[{index}].podAffinityTerm.{_NO_SELECTOR}"


def _containers(spec: Object, field: str) -> Iterator[tuple[str, Object]]:
    for part in _PARTS:
        for index, container in enumerate(spec.get(part) or ()):
            yield f"{field}.{part}[{index}]", container


def _repeated_warnings(spec: Object, field: str) -> Iterator[str]:
    for part, name, shown in (("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")):
        seen = set()
        for index, item in enumerate(spec.get(part) or ()):
            value = item.get(name, "")
            if value in seen:
                yield f'{field}.{part}[{index}].{name}: duplicate {shown} "{value}"'
            seen.add(value)
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{field}.imagePullSecrets[{index}].name: invalid empty name ""'


def _fraction_warnings(resources: Object, field: str, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        for part in ("limits", "requests"):
            amount = (resources.get(part) or {}).get(name)
            if amount is not None and not parse_quantity(amount).is_whole:
                yield f'{field}.{part}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'


def _hidden_variable_warnings(variables: list[Object], field: str) -> Iterator[str]:
    seen = set()
    for index, variable in enumerate(variables):
        name, value, reference = variable["name"], variable.get("value", ""), f"$({variable['name']})"
        if name in seen and ("valueFrom" in variable or value == reference or reference not in value):
            yield f'{field}[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _port_warnings(spec: Object, field: str) -> list[str]:
    warnings, named = [], []
    known: dict[tuple[int, str], list[tuple[str, Object]]] = {}
    names: dict[str, str] = {}
    for container_field, container in _containers(spec, field):
        for index, port in enumerate(container.get("ports") or ()):
            item = f"{container_field}.ports[{index}]"
            others = known.setdefault((port["containerPort"], port["protocol"]), [])
            warnings += [f"{item}: {relation} with {other}" for other, relation in _relations(port, others)]
            others.append((item, port))
            name = port.get("name")
            if name in names:
                first = names[name]
                use = f"services and probes that select ports by name will use {first}"
                named.append(f'{item}: duplicate port name "{name}" with {first}, {use}')
            elif name:
                names[name] = item
    return [*warnings, *named]


def _relations(port: Object, others: list[tuple[str, Object]]) -> Iterator[tuple[str, str]]:
    host_port, host = port.get("hostPort", 0), port.get("hostIP", "")
    for field, other in others:
        other_port, other_host = other.get("hostPort", 0), other.get("hostIP", "")
        if (host, host_port) == (other_host, other_port):
            yield field, "duplicate port definition"
        elif not host_port or not other_port:
            yield field, "overlapping port definition"
        elif host_port == other_port and bool(host) != bool(other_host):
            yield field, "dangerously ambiguous port definition"


_RULES: Final[dict[Kind, Callable[[Object, Object | None], list[str]]]] = {
    DEPLOYMENT: _workload_warnings,
    REPLICA_SET: _workload_warnings,
    STATEFUL_SET: _stateful_set_warnings,
    POD: _pod_warnings,
    PERSISTENT_VOLUME_CLAIM: _claim_warnings,
    SECRET: _secret_warnings,
    SERVICE: _service_warnings,
}
