"""The NetworkPolicy that says where a unit's pod may connect to (contract 6.4): DNS, the internet, the queue.

It covers the pod, so user code can reach the queue's port too (C8); keeping it out is left to the queue's own accounts.
"""

import ipaddress

from simulator.gpuunit import UNIT_LABEL, network_policy_name
from simulator.kube.kinds import NETWORK_POLICY, Object
from simulator.reconciler.objects import child_of
from simulator.reconciler.queue_url import IPAddress, QueueHost, queue_hosts
from simulator.reconciler.settings import NetworkPolicyTarget, ReconcilerSettings
from simulator.reconciler.spec import read_unit

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
DNS_PORT = 53


def network_policy_for(unit: Object, settings: ReconcilerSettings) -> Object:
    """Return the egress policy that the unit wants.

    A unit that is a template only has one too: what it ran before may still be ending, and must not be let out.

    Raises:
        UnitSpecError: the spec is wrong.
    """
    spec = read_unit(unit)
    egress = [_dns_rule(), _public_rule(settings)]
    if spec.serverless:
        egress += queue_rules(settings)
    return child_of(
        unit,
        NETWORK_POLICY,
        network_policy_name(spec.name),
        {"podSelector": {"matchLabels": {UNIT_LABEL: spec.name}}, "policyTypes": ["Egress"], "egress": egress},
    )


def queue_rules(settings: ReconcilerSettings) -> list[Object]:
    """Return the rules by which the sidecar reaches the queue, without doubles; none if the public rule covers it."""
    rules: list[Object] = []
    for host in queue_hosts(settings.nats_url):
        rule = _queue_rule(host, settings)
        if rule is not None and rule not in rules:
            rules.append(rule)
    return rules


def _queue_rule(host: QueueHost, settings: ReconcilerSettings) -> Object | None:
    peer = _address_peer(host.address, settings) if host.address else _pod_peer(host, settings.network_policy_target)
    return {"to": [peer], "ports": [{"protocol": "TCP", "port": host.port}]} if peer else None


def _address_peer(address: IPAddress, settings: ReconcilerSettings) -> Object | None:
    if address.is_loopback:
        return None
    # The public rule is for IPv4 only, so an IPv6 address always needs a rule of its own (C7).
    blocked = address.version == 6 or any(address in ipaddress.ip_network(cidr) for cidr in settings.blocked_cidrs)
    return {"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}} if blocked else None


def _pod_peer(host: QueueHost, target: NetworkPolicyTarget | None) -> Object | None:
    # Settings were refused if the host is in the cluster and there is no target; another name is a public one.
    if target is None or not target.pod_labels or host.is_loopback:
        return None
    return {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: target.namespace or host.namespace}},
        "podSelector": {"matchLabels": dict(target.pod_labels)},
    }


def _dns_rule() -> Object:
    return {
        "to": [{"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: "kube-system"}}}],
        "ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("TCP", "UDP")],
    }


def _public_rule(settings: ReconcilerSettings) -> Object:
    blocked = [cidr for cidr in settings.blocked_cidrs if ipaddress.ip_network(cidr).version == 4]
    block: Object = {"cidr": "0.0.0.0/0"}
    return {"to": [{"ipBlock": {**block, "except": blocked} if blocked else block}]}
