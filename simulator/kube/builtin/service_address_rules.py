"""The rules for the addresses of Services within the cluster, and for how they may change."""

import ipaddress
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import choice, duplicate, each, invalid, unsupported
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, required

HEADLESS: Final = "None"
FAMILIES: Final = ("IPv4", "IPv6")
_POLICIES: Final = ("PreferDualStack", "RequireDualStack", "SingleStack")
_FIXED: Final = "may not change once set"
_MAX_ADDRESSES: Final = 2


def is_headless(spec: Object) -> bool:
    """Whether the Service wants no address, only names for its pods."""
    return spec.get("clusterIPs") == [HEADLESS]


def family_of(address: str) -> str:
    """The family of an IP address."""
    return "IPv6" if ":" in address else "IPv4"


def address_causes(spec: Object, old: Object | None) -> list[Cause]:
    """What is wrong with the addresses of a Service that may have some."""
    single, plural = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    causes = _agreement_causes(single, plural)
    seen = set()
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in FAMILIES:
            causes.append(unsupported(f"spec.ipFamilies[{index}]", family, FAMILIES))
        if family in seen:
            causes.append(duplicate(f"spec.ipFamilies[{index}]", family))
        seen.add(family)
    causes += choice("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), _POLICIES)
    known = (old or {}).get("clusterIPs") or []
    wrong = _format_causes(plural, known)
    causes += wrong
    if len(plural) > _MAX_ADDRESSES:
        causes.append(invalid("spec.clusterIPs", plural, "may only hold up to 2 values"))
    return causes if wrong else [*causes, *_family_causes(spec, plural)]


def address_change_causes(spec: Object, old: Object) -> list[Cause]:
    """What of a Service's addresses must not be changed."""
    if "ExternalName" in (spec["type"], old["type"]) or (is_headless(spec) and is_headless(old)):
        return []
    causes = _address_change_causes(spec, old)
    if is_headless(spec) or is_headless(old):
        return causes
    new_families, old_families = spec.get("ipFamilies") or [], old.get("ipFamilies") or []
    if len(new_families) == len(old_families):
        changed = sum(one != other for one, other in zip(new_families, old_families, strict=True))
        return [*causes, *([invalid("spec.ipFamilies[0]", new_families, _FIXED)] * changed)]
    if new_families and old_families and new_families[0] != old_families[0]:
        causes.append(invalid("spec.ipFamilies[0]", spec.get("clusterIPs"), _FIXED))
    return causes


def _address_change_causes(spec: Object, old: Object) -> list[Cause]:
    new_addresses, old_addresses = spec.get("clusterIPs") or [], old.get("clusterIPs") or []
    if len(new_addresses) == len(old_addresses):
        return [
            invalid(f"spec.clusterIPs[{index}]", new_addresses, _FIXED)
            for index, address in enumerate(old_addresses)
            if new_addresses[index] != address
        ]
    if old_addresses and not new_addresses:
        return [invalid("spec.clusterIPs[0]", None, "primary clusterIP can not be unset")]
    if old_addresses and new_addresses[0] != old_addresses[0]:
        return [invalid("spec.clusterIPs[0]", new_addresses, _FIXED)]
    return []


def _agreement_causes(single: str, plural: list[str]) -> list[Cause]:
    if not single:
        if not plural:
            return []
        return [invalid("spec.clusterIPs", plural, "must be empty when `clusterIP` is not specified")]
    if not plural:
        return [required("spec.clusterIPs", "")]
    return [] if plural[0] == single else [invalid("spec.clusterIPs", plural, "first value must match `clusterIP`")]


def _format_causes(addresses: list[str], known: list[str]) -> list[Cause]:
    causes = []
    for index, address in enumerate(addresses):
        if index == 0 and address == HEADLESS:
            if len(addresses) > 1:
                causes.append(invalid("spec.clusterIPs", addresses, "'None' must be the first and only value"))
        elif address not in known:
            causes += each(f"spec.clusterIPs[{index}]", address, formats.ip_address(address))
    return causes


def _family_causes(spec: Object, addresses: list[str]) -> list[Cause]:
    if not addresses or is_headless(spec):
        return []
    causes = []
    versions = [ipaddress.ip_address(address).version for address in addresses]
    if len(versions) != len(set(versions)):
        causes.append(invalid("spec.clusterIPs", addresses, "may specify no more than one IP for each IP family"))
    for index, (address, family) in enumerate(zip(addresses, spec.get("ipFamilies") or (), strict=False)):
        if family in FAMILIES and family_of(address) != family:
            problem = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            causes.append(invalid(f"spec.clusterIPs[{index}]", address, problem))
    return causes
