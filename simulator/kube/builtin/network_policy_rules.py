"""The rules for NetworkPolicies."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import each, invalid, unsupported
from simulator.kube.builtin.selector_rules import selector_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_PROTOCOLS: Final = ("TCP", "UDP", "SCTP")
_DIRECTIONS: Final = (("ingress", "from"), ("egress", "to"))
_TYPES: Final = ("Ingress", "Egress")
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_policy_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a NetworkPolicy, but for its metadata."""
    spec = new["spec"]
    known = frozenset(_networks(old["spec"])) if old is not None else frozenset()
    causes = selector_causes(spec["podSelector"], "spec.podSelector")
    for direction, peers in _DIRECTIONS:
        for index, rule in enumerate(spec.get(direction) or ()):
            item = f"spec.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                causes += _port_causes(port, f"{item}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers) or ()):
                causes += _peer_causes(peer, known, f"{item}.{peers}[{number}]")
    types = spec["policyTypes"]
    if len(types) > len(_TYPES):
        return [*causes, invalid("spec.policyTypes", types, "may not specify more than two policyTypes")]
    wrong = [(index, name) for index, name in enumerate(types) if name not in _TYPES]
    return [*causes, *(unsupported(f"spec.policyTypes[{index}]", name, _TYPES) for index, name in wrong)]


def network_problems(text: str) -> list[str]:
    """What is wrong with a range of addresses such as `10.0.0.0/8`."""
    network = parse_network(text)
    if network is None:
        unpadded = re.sub(r"(?<![0-9a-fA-F:])0+(?=\d)", "", text)
        if parse_network(unpadded) is not None:
            return ["must not have leading 0s in IP or prefix length"]
        return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]
    if re.search(r"/0\d", text):
        return ["must not have leading 0s in IP or prefix length"]
    address = ipaddress.ip_address(text.partition("/")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return ["must not have an IPv4-mapped IPv6 address"]
    return [] if address == network.network_address else ["must not have bits set beyond the prefix length"]


def parse_network(text: str) -> _Network | None:
    """The range of addresses; None if it is none."""
    if not re.fullmatch(r"[0-9a-fA-F:.]+/[0-9]{1,3}", text):
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def network_fields(spec: Object) -> Iterator[tuple[str, str]]:
    """The ranges of addresses in a policy, each with the field that holds it."""
    for direction, peers in _DIRECTIONS:
        for index, rule in enumerate(spec.get(direction) or ()):
            for number, peer in enumerate(rule.get(peers) or ()):
                block, item = peer.get("ipBlock"), f"spec.{direction}[{index}].{peers}[{number}].ipBlock"
                if block is not None:
                    yield f"{item}.cidr", block["cidr"]
                    for position, excepted in enumerate(block.get("except") or ()):
                        yield f"{item}.except[{position}]", excepted


def _networks(spec: Object) -> Iterator[str]:
    return (network for _, network in network_fields(spec))


def _port_causes(port: Object, field: str) -> list[Cause]:
    number, end = port.get("port"), port.get("endPort")
    causes = []
    if port["protocol"] not in _PROTOCOLS:
        causes.append(unsupported(f"{field}.protocol", port["protocol"], _PROTOCOLS))
    if isinstance(number, int):
        causes += each(f"{field}.port", number, formats.port_number(number))
        if end is not None:
            if end < number:
                causes.append(invalid(f"{field}.endPort", number, "must be greater than or equal to `port`"))
            causes += each(f"{field}.endPort", end, formats.port_number(end))
        return causes
    if end is not None:
        reason = "specified" if number is None else "numeric"
        problem = f"may not be specified when `port` is {'not ' if number is None else 'non-'}{reason}"
        causes.append(invalid(f"{field}.endPort", end, problem))
    return causes if number is None else [*causes, *each(f"{field}.port", number, formats.port_name(number))]


def _peer_causes(peer: Object, known: frozenset[str], field: str) -> list[Cause]:
    causes = selector_causes(peer.get("podSelector"), f"{field}.podSelector")
    causes += selector_causes(peer.get("namespaceSelector"), f"{field}.namespaceSelector")
    if "ipBlock" in peer:
        causes += _block_causes(peer["ipBlock"], known, f"{field}.ipBlock")
    if not peer:
        causes.append(required(field, "must specify a peer"))
    elif len(peer) > 1 and "ipBlock" in peer:
        causes.append(forbidden_value(field, "may not specify both ipBlock and another peer"))
    return causes


def _block_causes(block: Object, known: frozenset[str], field: str) -> list[Cause]:
    text = block["cidr"]
    if not text:
        return [required(f"{field}.cidr", "")]
    causes = [] if text in known else each(f"{field}.cidr", text, network_problems(text))
    network = parse_network(text)
    if network is None:
        return causes
    for index, excepted in enumerate(block.get("except") or ()):
        item = f"{field}.except[{index}]"
        causes += [] if excepted in known else each(item, excepted, network_problems(excepted))
        inner = parse_network(excepted)
        if inner is not None and not _is_within(inner, network):
            causes.append(invalid(item, excepted, "must be a strict subset of `cidr`"))
    return causes


def _is_within(inner: _Network, outer: _Network) -> bool:
    return inner.version == outer.version and inner.prefixlen > outer.prefixlen and inner.network_address in outer
