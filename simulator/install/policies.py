"""Who may connect to whom, and how many of each part a drained node may take away."""

from typing import Final

from simulator.gpuunit import MANAGED_LABELS, UNIT_NAMESPACES
from simulator.install.names import (
    API,
    API_PORT,
    NATS,
    NATS_PORT,
    PARTS,
    PLATFORM_LABELS,
    selector,
)
from simulator.install.objects import framed
from simulator.install.settings import InstallSettings
from simulator.kube.kinds import NETWORK_POLICY, POD_DISRUPTION_BUDGET, Object
from simulator.reconciler.network_policy import DNS_PORT, NAMESPACE_LABEL

API_SERVER_PORTS: Final = (443, 6443)
"""Where API servers listen. Their addresses are not known beforehand, and no label picks them."""


def network_policies(settings: InstallSettings) -> list[Object]:
    """What is not named here is closed. The kubelet, which probes, is never kept out by a policy."""
    parts = [_part_policy(part.name, settings.namespace, uses_cluster=part.uses_cluster) for part in PARTS]
    return [
        _nothing_else(settings.namespace),
        _queue_policy(settings),
        *parts,
        *(_unit_policy(namespace) for namespace in UNIT_NAMESPACES),
    ]


def disruption_budgets(settings: InstallSettings) -> list[Object]:
    """One of each at a time: what is alone may go too, it comes back elsewhere and nothing is lost meanwhile."""
    names = {NATS: NATS} | {part.name: part.deployment for part in PARTS}
    return [
        framed(
            POD_DISRUPTION_BUDGET,
            name,
            of,
            settings.namespace,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": selector(of)}},
        )
        for of, name in names.items()
    ]


def _nothing_else(namespace: str) -> Object:
    return _policy("deny-all", "policies", namespace, {}, ["Ingress", "Egress"])


def _queue_policy(settings: InstallSettings) -> Object:
    parts = {"podSelector": {"matchLabels": dict(PLATFORM_LABELS)}}
    units = [_pods_of_units(namespace) for namespace in UNIT_NAMESPACES]
    rule: Object = {"ports": [_tcp(NATS_PORT)]}
    if settings.nats_node_port is None:
        rule["from"] = [parts, *units]
    # From outside a node's port is reached under the node's address, which no label picks: the queue asks who it is.
    return _policy(NATS, NATS, settings.namespace, selector(NATS), ["Ingress", "Egress"], ingress=[rule], egress=[])


def _part_policy(name: str, namespace: str, *, uses_cluster: bool) -> Object:
    egress = [_dns(), {"to": [{"podSelector": {"matchLabels": selector(NATS)}}], "ports": [_tcp(NATS_PORT)]}]
    if uses_cluster:
        egress.append({"ports": [_tcp(port) for port in API_SERVER_PORTS]})
    ingress = [{"ports": [_tcp(API_PORT)]}] if name == API.name else []
    return _policy(name, name, namespace, selector(name), ["Ingress", "Egress"], ingress=ingress, egress=egress)


def _unit_policy(namespace: str) -> Object:
    """Units reach nothing until the reconciler's own policy for each says what, and no unit reaches another."""
    others = {"key": NAMESPACE_LABEL, "operator": "NotIn", "values": list(UNIT_NAMESPACES)}
    ingress = [{"from": [{"namespaceSelector": {"matchExpressions": [others]}}]}]
    return _policy("units", "policies", namespace, {}, ["Ingress", "Egress"], ingress=ingress, egress=[])


def _policy(
    name: str, of: str, namespace: str, pods: dict[str, str], types: list[str], **rules: list[Object]
) -> Object:
    picked = {"matchLabels": pods} if pods else {}
    # Clusters drop empty lists: applied again, one would be a change each time.
    named = {direction: allowed for direction, allowed in rules.items() if allowed}
    spec = {"podSelector": picked, "policyTypes": types, **named}
    return framed(NETWORK_POLICY, f"gpuunit-sim-{name}", of, namespace, spec=spec)


def _pods_of_units(namespace: str) -> Object:
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}},
        "podSelector": {"matchLabels": dict(MANAGED_LABELS)},
    }


def _dns() -> Object:
    to = [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "kube-system"}}}]
    return {"to": to, "ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("TCP", "UDP")]}


def _tcp(port: int) -> Object:
    return {"protocol": "TCP", "port": port}
