"""Kubernetes' functions of IP addresses and of networks."""

import ipaddress
import re

from simulator.kube.cel.function import CIDR, IP, NO_OVERLOAD, CelError, Function, accepted_by, function
from simulator.kube.go_text import go_quoted

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_MAX_OCTET = 255


def _address(text: str) -> _Address:
    """The address.

    Raises:
        CelError: it is none, or one of a form that is not allowed.
    """
    quoted = go_quoted(text)
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        problem = f"ParseAddr({quoted}): {_problem(text)}"
        raise CelError(f"IP Address {quoted} parse error during conversion from string: {problem}") from error
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise CelError(f"IP address {quoted} with zone value is not allowed")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        raise CelError(f"IPv4-mapped IPv6 address {quoted} is not allowed")
    return address


def _problem(text: str) -> str:
    octets = text.split(".")
    if len(octets) > 1 and all(octet.isdecimal() for octet in octets):
        if any(len(octet) > 1 and octet.startswith("0") for octet in octets):
            return "IPv4 field has octet with leading zero"
        if any(len(octet) > len("255") or int(octet) > _MAX_OCTET for octet in octets):
            return "IPv4 field has value >255"
        return "IPv4 address too short" if len(octets) < len("....") else "IPv4 address too long"
    return "unable to parse IP"


def _network(text: str) -> str:
    """The network in its canonical form, with the address that was given."""
    quoted, begins = go_quoted(text), "network address parse error during conversion from string: "
    address, slash, bits = text.rpartition("/")
    if not slash:
        raise CelError(f"{begins}{begins}netip.ParsePrefix({quoted}): no '/'")
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError as error:
        problem = "prefix length out of range" if _is_ip(address) else _problem(address)
        if not re.fullmatch(r"\d+", bits):
            problem = f"bad bits after slash: {go_quoted(bits)}"
        raise CelError(f"{begins}{begins}netip.ParsePrefix({quoted}): {problem}") from error
    if isinstance(interface, ipaddress.IPv6Interface) and interface.ip.ipv4_mapped:
        raise CelError(f"{begins}IPv4-mapped IPv6 address {quoted} is not allowed")
    return f"{interface.ip}/{interface.network.prefixlen}"


_is_ip = accepted_by(_address)


def _contains_ip(network: str, address: str) -> bool:
    try:
        return _address(address) in ipaddress.ip_interface(network).network
    except CelError as error:
        raise CelError(NO_OVERLOAD) from error


def _contains_network(network: str, other: str) -> bool:
    try:
        inner = ipaddress.ip_interface(_network(other)).network
    except CelError as error:
        raise CelError(NO_OVERLOAD) from error
    outer = ipaddress.ip_interface(network).network
    return inner.version == outer.version and outer.overlaps(inner) and outer.prefixlen <= inner.prefixlen


def _masked(network: str) -> str:
    return str(ipaddress.ip_interface(network).network)


def _is_global_unicast(text: str) -> bool:
    address = _address(text)
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not (special or text == "255.255.255.255")


def _is_link_local_multicast(text: str) -> bool:
    address = _address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address in ipaddress.IPv4Network("224.0.0.0/24")
    return (int(address) >> 112) & 0xFF0F == 0xFF02


FUNCTIONS = (
    function("ip", ("string",), IP, lambda text: str(_address(text))),
    function("isIP", ("string",), "bool", _is_ip),
    function("ip.isCanonical", ("string",), "bool", lambda text: str(_address(text)) == text),
    function("string", (IP,), "string", str),
    Function("family", (IP,), "int", lambda ip: _address(ip).version),
    Function("isUnspecified", (IP,), "bool", lambda ip: _address(ip).is_unspecified),
    Function("isLoopback", (IP,), "bool", lambda ip: _address(ip).is_loopback),
    Function("isLinkLocalMulticast", (IP,), "bool", _is_link_local_multicast),
    Function(
        "isLinkLocalUnicast", (IP,), "bool", lambda ip: _address(ip).is_link_local and not _address(ip).is_multicast
    ),
    Function("isGlobalUnicast", (IP,), "bool", _is_global_unicast),
    function("cidr", ("string",), CIDR, _network),
    function("isCIDR", ("string",), "bool", accepted_by(_network)),
    function("string", (CIDR,), "string", str),
    Function("containsIP", (CIDR, "string"), "bool", _contains_ip),
    Function("containsIP", (CIDR, IP), "bool", _contains_ip),
    Function("containsCIDR", (CIDR, "string"), "bool", _contains_network),
    Function("containsCIDR", (CIDR, CIDR), "bool", _contains_network),
    Function("ip", (CIDR,), IP, lambda network: network.rpartition("/")[0]),
    Function("prefixLength", (CIDR,), "int", lambda network: int(network.rpartition("/")[2])),
    Function("masked", (CIDR,), CIDR, _masked),
)
