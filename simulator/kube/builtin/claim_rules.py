"""The rules for PersistentVolumeClaims."""

from fractions import Fraction
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import IMMUTABLE, choice, each, invalid, unsupported
from simulator.kube.builtin.quantities import parse_quantity
from simulator.kube.builtin.selector_rules import selector_causes
from simulator.kube.kinds import Object
from simulator.kube.status import Cause, forbidden_value, required

_ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def claim_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a PersistentVolumeClaim, but for its metadata."""
    causes = claim_spec_causes(new["spec"], "spec")
    if old is None:
        return causes
    if _fixed(new, old) != _fixed(old, old):
        problem = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        causes.append(forbidden_value("spec", problem))
    if _size(new["spec"]) < _size(old["spec"]) and _size(new["spec"]) <= _capacity(old):
        problem = "field can not be less than status.capacity"
        causes.append(forbidden_value("spec.resources.requests.storage", problem))
    if new["spec"].get("volumeMode") != old["spec"].get("volumeMode"):
        causes.append(invalid("volumeMode", new["spec"].get("volumeMode"), IMMUTABLE))
    return causes


def claim_spec_causes(spec: Object, field: str) -> list[Cause]:
    """What is wrong with what a claim asks for."""
    modes = spec.get("accessModes") or []
    causes = [] if modes else [required(f"{field}.accessModes", "at least 1 access mode is required")]
    causes += selector_causes(spec.get("selector"), f"{field}.selector")
    for mode in modes:
        if mode not in _ACCESS_MODES:
            causes.append(unsupported(f"{field}.accessModes", mode, _ACCESS_MODES))
    if "ReadWriteOncePod" in modes and set(modes) & set(_ACCESS_MODES) != {"ReadWriteOncePod"}:
        problem = "may not use ReadWriteOncePod with other access modes"
        causes.append(forbidden_value(f"{field}.accessModes", problem))
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        causes.append(required(f"{field}.resources[storage]", ""))
    elif parse_quantity(storage).amount <= 0:
        causes.append(invalid(f"{field}.resources[storage]", storage, "must be greater than zero"))
    for name in ("storageClassName", "volumeAttributesClassName"):
        if spec.get(name):
            causes += each(f"{field}.{name}", spec[name], formats.subdomain(spec[name]))
    return [*causes, *choice(f"{field}.volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))]


def _fixed(claim: Object, old: Object) -> Object:
    """What of a claim may not be changed."""
    spec = dict(claim["spec"])
    if not old["spec"].get("volumeName"):
        spec.pop("volumeName", None)
    if "storageClassName" not in old["spec"]:
        spec.pop("storageClassName", None)
    if (claim.get("status") or {}).get("phase") == "Bound":
        spec.pop("volumeAttributesClassName", None)
        resources = dict(spec.get("resources") or {})
        resources.pop("requests", None)
        spec["resources"] = resources
    return spec


def _size(spec: Object) -> Fraction:
    return parse_quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")).amount


def _capacity(claim: Object) -> Fraction:
    return parse_quantity(((claim.get("status") or {}).get("capacity") or {}).get("storage", "0")).amount
