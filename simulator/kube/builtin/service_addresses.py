"""Which addresses and node ports a Service gets: those it asks for, or free ones.

The choice depends on nothing but the Service's name and what is taken, so that two runs of a scenario agree.
"""

import ipaddress
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from simulator.kube.builtin.causes import invalid
from simulator.kube.builtin.service_address_rules import HEADLESS, address_causes, family_of, is_headless
from simulator.kube.kinds import SERVICE, Object
from simulator.kube.status import Cause
from simulator.kube.status import invalid as invalid_object

ADDRESSES: Final = ipaddress.IPv4Network("10.96.0.0/16")
_NO_HOSTS: Final = (str(ADDRESSES.network_address), str(ADDRESSES.broadcast_address))
NODE_PORTS: Final = range(30000, 32768)
_FAMILY: Final = "IPv4"


@dataclass(frozen=True, slots=True)
class Taken:
    """The addresses and the node ports that Services have, but for the one that is being written."""

    addresses: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset()


def taken_by(services: Iterable[Object]) -> Taken:
    """What these Services have."""
    addresses, ports = set(), set()
    for service in services:
        spec = service["spec"]
        addresses |= {address for address in spec.get("clusterIPs") or () if address != HEADLESS}
        ports |= {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}
        ports |= {spec["healthCheckNodePort"]} if spec.get("healthCheckNodePort") else set()
    return Taken(frozenset(addresses), frozenset(ports))


def with_addresses(new: Object, old: Object | None, taken: Taken) -> Object:
    """The Service, which has its defaults, with its addresses and node ports; `old` is what it replaces.

    Raises:
        ApiFailure: 422; it asks for an address or a port that it cannot have.
    """
    spec = {**new["spec"], "ports": [dict(port) for port in new["spec"].get("ports") or ()]}
    if not spec["ports"]:
        del spec["ports"]
    before = None if old is None else old["spec"]
    if before is not None:
        _keep_allocated(spec, before)
    _agree(spec, before)
    if spec["type"] == "ExternalName":
        return {**new, "spec": _without_fields(spec, "internalTrafficPolicy")}
    causes = _choose_families(spec, before) or _choose_address(spec, before, new["metadata"], taken)
    if not causes and spec["type"] in ("NodePort", "LoadBalancer"):
        causes = _choose_ports(spec, before, new["metadata"], taken)
    if causes:
        raise invalid_object(SERVICE, new["metadata"].get("name", ""), causes)
    return {**new, "spec": spec}


def _keep_allocated(spec: Object, before: Object) -> None:
    """Take over what was allocated and the client does not mention."""
    if "ExternalName" not in (spec["type"], before["type"]):
        for name in ("clusterIP", "clusterIPs"):
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]
    if _has_node_ports(spec) and _has_node_ports(before):
        used = {port.get("nodePort") for port in spec.get("ports") or ()}
        known = {port.get("name", ""): port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            kept = known.get(port.get("name", ""))
            if not port.get("nodePort") and kept and kept not in used:
                port["nodePort"] = kept
    if before.get("healthCheckNodePort") and needs_health_check(spec):
        spec.setdefault("healthCheckNodePort", before["healthCheckNodePort"])


def _agree(spec: Object, before: Object | None) -> None:
    """Let the list of addresses follow the single one, where only that was changed."""
    single, plural = spec.get("clusterIP"), spec.get("clusterIPs")
    if before is None:
        if single and not plural:
            spec["clusterIPs"] = [single]
    elif single != before.get("clusterIP") and plural == before.get("clusterIPs"):
        if single:
            spec["clusterIPs"] = [single]
        else:
            spec.pop("clusterIPs", None)


def _choose_families(spec: Object, before: Object | None) -> list[Cause]:
    unselective = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    if "ipFamilyPolicy" not in spec:
        inherited = (before or {}).get("ipFamilyPolicy")
        spec["ipFamilyPolicy"] = inherited or ("RequireDualStack" if unselective else "SingleStack")
    policy = spec["ipFamilyPolicy"]
    causes = address_causes(spec, before)
    if causes:
        return causes
    families = list(spec.get("ipFamilies") or ())
    unsaid = (spec.get("clusterIPs") or [])[len(families) :]
    families += [family_of(address) for address in unsaid if address != HEADLESS]
    problem = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    if policy == "SingleStack" and len(spec.get("clusterIPs") or ()) > 1:
        causes.append(invalid("spec.ipFamilyPolicy", policy, problem.format("cluster IPs")))
    if policy == "SingleStack" and len(spec.get("ipFamilies") or ()) > 1:
        causes.append(invalid("spec.ipFamilyPolicy", policy, problem.format("IP families")))
    if unselective:
        families = families or [_FAMILY]
        if len(families) == 1 and policy != "SingleStack":
            families.append("IPv6" if families[0] == _FAMILY else _FAMILY)
    elif not causes:
        causes = _single_stack_causes(policy, families)
    spec["ipFamilies"] = families or [_FAMILY]
    return causes


def _single_stack_causes(policy: str, families: list[str]) -> list[Cause]:
    """What cannot be had in a cluster that has addresses of one family."""
    causes = []
    if policy == "RequireDualStack":
        problem = "this cluster is not configured for dual-stack services"
        causes.append(invalid("spec.ipFamilyPolicy", policy, problem))
    return [
        *causes,
        *(
            invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(families)
            if family != _FAMILY
        ),
    ]


def _choose_address(spec: Object, before: Object | None, metadata: Object, taken: Taken) -> list[Cause]:
    if is_headless(spec) or (before is not None and before["type"] != "ExternalName"):
        return []
    asked = (spec.get("clusterIPs") or [""])[0]
    if asked:
        problem = ""
        if ipaddress.ip_address(asked) not in ADDRESSES or asked in _NO_HOSTS:
            problem = "the provided network does not match the current range"
        elif asked in taken.addresses:
            problem = "provided IP is already allocated"
        if problem:
            return [invalid("spec.clusterIPs", spec["clusterIPs"], f"failed to allocate IP {asked}: {problem}")]
        return []
    count = ADDRESSES.num_addresses - 2
    for step in range(count):
        address = str(ADDRESSES[1 + (_start(metadata) + step) % count])
        if address not in taken.addresses:
            spec["clusterIP"], spec["clusterIPs"] = address, [address]
            return []
    return [invalid("spec.clusterIPs", None, "failed to allocate IP: range is full")]


def _choose_ports(spec: Object, before: Object | None, metadata: Object, taken: Taken) -> list[Cause]:
    own = {port.get("nodePort") for port in (before or {}).get("ports") or ()}
    chosen: dict[int, int] = {}
    used = set(taken.ports)
    for index, port in enumerate(spec.get("ports") or ()):
        asked = port.get("nodePort")
        if not asked or asked == chosen.get(port["port"]):
            continue
        if asked not in own and (causes := _port_causes(asked, used, f"spec.ports[{index}].nodePort")):
            return causes
        chosen[port["port"]] = asked
        used.add(asked)
    for port in spec.get("ports") or ():
        if _has_node_ports(spec) and not port.get("nodePort"):
            port["nodePort"] = chosen.setdefault(port["port"], _free_port(metadata, used))
            used.add(port["nodePort"])
    if needs_health_check(spec) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = _free_port(metadata, used)
    return []


def _port_causes(asked: int, used: set[int], field: str) -> list[Cause]:
    if asked not in NODE_PORTS:
        valid = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
        problem = f"provided port is not in the valid range. The range of valid ports is {valid}"
        return [invalid(field, asked, problem)]
    return [invalid(field, asked, "provided port is already allocated")] if asked in used else []


def _free_port(metadata: Object, used: set[int]) -> int:
    start = _start(metadata)
    ports = (NODE_PORTS[(start + step) % len(NODE_PORTS)] for step in range(len(NODE_PORTS)))
    return next((port for port in ports if port not in used), 0)


def _start(metadata: Object) -> int:
    """Where to look first for something free: spread over the range, the same for the same name."""
    return zlib.crc32(f"{metadata.get('namespace', '')}/{metadata.get('name', '')}".encode())


def _has_node_ports(spec: Object) -> bool:
    return spec["type"] == "NodePort" or (
        spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def needs_health_check(spec: Object) -> bool:
    """Whether the service has a port of its own by which load balancers ask for nodes with endpoints."""
    return spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _without_fields(spec: Object, *names: str) -> Object:
    return {name: value for name, value in spec.items() if name not in names}
