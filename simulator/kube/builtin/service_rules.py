"""The rules for Services."""

import ipaddress
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import choice, duplicate, each, invalid, unsupported
from simulator.kube.builtin.container_rules import PROTOCOLS
from simulator.kube.builtin.defaults import is_externally_accessible
from simulator.kube.builtin.metadata_rules import label_causes
from simulator.kube.builtin.network_policy_rules import network_problems
from simulator.kube.builtin.probe_rules import port_causes
from simulator.kube.builtin.service_address_rules import address_causes, address_change_causes, is_headless
from simulator.kube.builtin.service_addresses import needs_health_check
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES: Final = ("ClientIP", "None")
_POLICIES: Final = ("Cluster", "Local")
_DISTRIBUTIONS: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")
_MAX_AFFINITY_SECONDS: Final = 86400
_FOR_BALANCERS: Final = "may only be used when `type` is 'LoadBalancer'"


def service_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a Service, but for its metadata."""
    spec = new["spec"]
    old_spec = None if old is None else old["spec"]
    causes = [] if old_spec is None else address_change_causes(spec, old_spec)
    if old_spec is not None and _changes_health_check(spec, old_spec):
        causes.append(forbidden_value("spec.healthCheckNodePort", "field is immutable"))
    if not spec.get("ports") and not is_headless(spec) and spec["type"] != "ExternalName":
        causes.append(required("spec.ports", ""))
    causes += _type_causes(spec)
    causes += _port_list_causes(spec.get("ports") or [])
    causes += label_causes(spec.get("selector"), "spec.selector")
    causes += _affinity_causes(spec)
    if spec["type"] != "ExternalName":
        causes += address_causes(spec, old_spec)
    causes += _external_address_causes(spec.get("externalIPs") or [], (old_spec or {}).get("externalIPs") or [])
    causes += choice("spec.type", spec["type"], _TYPES)
    causes += _duplicate_causes(spec)
    causes += _balancer_causes(spec)
    return [*causes, *_traffic_causes(spec)]


def without_unused_fields(spec: Object, old: Object) -> Object:
    """The specification without what was of use for the type that the Service had, unless the client changed it."""
    unused = set()
    if spec["type"] == "ExternalName" and old["type"] != "ExternalName":
        same_addresses = all(spec.get(name) == old.get(name) for name in ("clusterIP", "clusterIPs"))
        unused |= {"clusterIP", "clusterIPs"} if same_addresses else set()
        unused |= {name for name in ("ipFamilies", "ipFamilyPolicy") if spec.get(name) == old.get(name)}
    if old["type"] == "LoadBalancer" and spec["type"] != "LoadBalancer":
        balanced = ("allocateLoadBalancerNodePorts", "loadBalancerClass")
        unused |= {name for name in balanced if spec.get(name) == old.get(name)}
    if needs_health_check(old) and not needs_health_check(spec):
        unused |= {"healthCheckNodePort"} & {name for name in spec if spec[name] == old.get(name)}
    if is_externally_accessible(old) and not is_externally_accessible(spec):
        unused |= {"externalTrafficPolicy"} & {name for name in spec if spec[name] == old.get(name)}
    kept = {name: value for name, value in spec.items() if name not in unused}
    return _without_node_ports(kept, old) if "ports" in kept else kept


def _without_node_ports(spec: Object, old: Object) -> Object:
    exposed = ("NodePort", "LoadBalancer")
    before = {port.get("nodePort") for port in old.get("ports") or ()}
    wanted = {port["nodePort"] for port in spec["ports"] if port.get("nodePort")}
    if spec["type"] in exposed or old["type"] not in exposed or not wanted <= before:
        return spec
    ports = [{name: value for name, value in port.items() if name != "nodePort"} for port in spec["ports"]]
    return {**spec, "ports": ports}


def _changes_health_check(spec: Object, old: Object) -> bool:
    checked = needs_health_check(spec) and needs_health_check(old)
    return checked and spec.get("healthCheckNodePort") != old.get("healthCheckNodePort")


def _type_causes(spec: Object) -> list[Cause]:
    kind = spec["type"]
    if kind in ("LoadBalancer", "NodePort"):
        if not is_headless(spec):
            return []
        return [invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")]
    if kind != "ExternalName":
        return []
    problem = "may not be set for ExternalName services"
    names = ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
    causes = [forbidden_value(f"spec.{name}", problem) for name in names if spec.get(name)]
    domain = (spec.get("externalName") or "").removesuffix(".")
    if not domain:
        return [*causes, required("spec.externalName", "")]
    return [*causes, *each("spec.externalName", domain, formats.subdomain(domain))]


def _port_list_causes(ports: list[Object]) -> list[Cause]:
    causes = []
    names = set()
    for index, port in enumerate(ports):
        item, name = f"spec.ports[{index}]", port.get("name") or ""
        if name:
            causes += each(f"{item}.name", name, formats.label(name))
            if name in names:
                causes.append(duplicate(f"{item}.name", name))
            names.add(name)
        elif len(ports) > 1:
            causes.append(required(f"{item}.name", ""))
        causes += each(f"{item}.port", port["port"], formats.port_number(port["port"]))
        causes += choice(f"{item}.protocol", port["protocol"], PROTOCOLS)
        causes += port_causes(port["targetPort"], f"{item}.targetPort")
        if "appProtocol" in port:
            causes += each(f"{item}.appProtocol", port["appProtocol"], formats.qualified_name(port["appProtocol"]))
    return causes


def _duplicate_causes(spec: Object) -> list[Cause]:
    """Ports that are there twice, and ports of nodes where there can be none."""
    causes, ports = [], spec.get("ports") or []
    if spec["type"] == "ClusterIP":
        problem = "may not be used when `type` is 'ClusterIP'"
        used = [index for index, port in enumerate(ports) if port.get("nodePort")]
        causes += [forbidden_value(f"spec.ports[{index}].nodePort", problem) for index in used]
    seen = set()
    for index, port in enumerate(ports):
        key = (port["protocol"], port.get("nodePort"))
        if port.get("nodePort") and key in seen:
            causes.append(duplicate(f"spec.ports[{index}].nodePort", port["nodePort"]))
        seen.add(key)
    served = set()
    for index, port in enumerate(ports):
        pair = (port["protocol"], port["port"])
        if pair in served:
            causes.append(duplicate(f"spec.ports[{index}]", _shown_port(*pair)))
        served.add(pair)
    return causes


def _shown_port(protocol: str, port: int) -> Object:
    """A port as the real server holds it, of which a message shows everything."""
    empty = {"Name": "", "Protocol": protocol, "AppProtocol": None}
    return {**empty, "Port": port, "TargetPort": 0, "NodePort": 0}


def _affinity_causes(spec: Object) -> list[Cause]:
    affinity = spec["sessionAffinity"]
    causes = choice("spec.sessionAffinity", affinity, _AFFINITIES)
    if affinity == "ClientIP":
        seconds = spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"]
        if not 0 < seconds <= _MAX_AFFINITY_SECONDS:
            problem = f"must be greater than 0 and less than {_MAX_AFFINITY_SECONDS}"
            causes.append(invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, problem))
    return causes


def _external_address_causes(addresses: list[str], known: list[str]) -> list[Cause]:
    causes = []
    for index, address in enumerate(addresses):
        field = f"spec.externalIPs[{index}]"
        problems = [] if address in known else formats.ip_address(address)
        causes += each(field, address, problems or _special_address_problems(address))
    return causes


def _special_address_problems(text: str) -> list[str]:
    address = ipaddress.ip_address(text)
    problems = {
        f"may not be unspecified ({text})": address.is_unspecified,
        "may not be in the loopback range (127.0.0.0/8, ::1/128)": address.is_loopback,
        "may not be in the link-local range (169.254.0.0/16, fe80::/10)": address.is_link_local,
    }
    return [problem for problem, is_so in problems.items() if is_so]


def _balancer_causes(spec: Object) -> list[Cause]:
    balanced = spec["type"] == "LoadBalancer"
    causes = []
    ranges = spec.get("loadBalancerSourceRanges") or []
    if ranges and not balanced:
        causes.append(forbidden_value("spec.LoadBalancerSourceRanges", _FOR_BALANCERS))
    for index, text in enumerate(ranges):
        causes += each(f"spec.LoadBalancerSourceRanges[{index}]", text.strip(), network_problems(text.strip()))
    for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if name in spec and not balanced:
            causes.append(forbidden_value(f"spec.{name}", _FOR_BALANCERS))
    if balanced and "loadBalancerClass" in spec:
        name = spec["loadBalancerClass"]
        causes += each("spec.loadBalancerClass", name, formats.qualified_name(name))
    return causes


def _traffic_causes(spec: Object) -> list[Cause]:
    external = spec.get("externalTrafficPolicy")
    causes = []
    if is_externally_accessible(spec):
        causes += choice("spec.externalTrafficPolicy", external, _POLICIES)
    elif external:
        problem = "may only be set for externally-accessible services"
        causes.append(invalid("spec.externalTrafficPolicy", external, problem))
    port = spec.get("healthCheckNodePort", 0)
    if needs_health_check(spec):
        causes += each("spec.healthCheckNodePort", port, formats.port_number(port))
    elif port:
        problem = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        causes.append(invalid("spec.healthCheckNodePort", port, problem))
    internal, distribution = spec.get("internalTrafficPolicy"), spec.get("trafficDistribution")
    causes += choice("spec.internalTrafficPolicy", internal, _POLICIES)
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        causes.append(unsupported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return causes
