"""What the API itself sets in an object of a built-in kind when it is written, and what it keeps from before.

The arguments are complete (`with_builtin_defaults`) and have their metadata; the results share parts with them.
"""

from collections.abc import Callable
from typing import Any, Final

from simulator.kube.builtin.admission import with_default_tolerations
from simulator.kube.builtin.canonical import canonical, drops_empty
from simulator.kube.builtin.quality import quality_class
from simulator.kube.builtin.service_rules import without_unused_fields
from simulator.kube.kinds import (
    DEPLOYMENT,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    Kind,
    Object,
)

_GATED: Final = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def prepare_builtin_create(kind: Kind, new: Object) -> Object:
    """The object with the status and the other fields that the server sets at its creation."""
    if kind == POD:
        return {**new, "status": _pod_status(new)}
    if kind == NAMESPACE:
        finalizers = new["spec"].get("finalizers") or []
        kept = finalizers if "kubernetes" in finalizers else [*finalizers, "kubernetes"]
        return {**new, "spec": {**new["spec"], "finalizers": kept}, "status": {"phase": "Active"}}
    if kind == PERSISTENT_VOLUME_CLAIM:
        return {**new, "spec": _with_data_sources(new["spec"]), "status": {"phase": "Pending"}}
    if not kind.has_status or kind == NODE:
        return new
    return {**new, "status": canonical(kind, {})["status"]}


def prepare_builtin_update(kind: Kind, new: Object, old: Object) -> Object:
    """The object with what an update of its main resource leaves as it was."""
    prepare = _UPDATES.get(kind)
    prepared = new if prepare is None else prepare(new, old)
    return {**prepared, "status": old["status"]} if kind.has_status and "status" in old else prepared


def prepare_builtin_status(kind: Kind, new: Object, old: Object) -> Object:
    """The object with what an update of its status leaves as it was.

    `new` is complete; of it, the status and the metadata that the real server takes over count.
    """
    prepared = {**new, "spec": old["spec"]} if "spec" in old else new
    metadata, before = dict(new["metadata"]), old["metadata"]
    kept = ("labels",) if kind == DEPLOYMENT else ("ownerReferences",) if kind == POD else ()
    for name in kept:
        metadata.pop(name, None)
        if name in before:
            metadata[name] = before[name]
    prepared = {**prepared, "metadata": metadata}
    return {**prepared, "status": _pod_status_update(new, old)} if kind == POD else prepared


def counts_as_change(kind: Kind, new: Object, old: Object, sent: Object) -> bool:
    """Whether the difference is one that `metadata.generation` counts, of a kind that has one.

    `sent` is the new object as the client has it.
    """
    if kind == NETWORK_POLICY and drops_empty(sent.get("spec"), new["spec"]):
        return True  # of this kind only, an empty list is another value than none, which is what gets stored
    if kind == DEPLOYMENT and (new["metadata"].get("annotations") or {}) != (old["metadata"].get("annotations") or {}):
        return True  # they are copied to the replica sets
    return bool(new.get("spec") != old.get("spec"))


def _pod_status(pod: Object) -> Object:
    condition = {**_GATED, "lastTransitionTime": pod["metadata"].get("creationTimestamp")}
    gated = {"conditions": [condition]} if pod["spec"].get("schedulingGates") else {}
    return {"phase": "Pending", **gated, "qosClass": quality_class(pod["spec"])}


def _with_data_sources(spec: Object) -> Object:
    """A claim's data source has two fields, an older and a newer: each stands for the other."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is None and reference is not None and not reference.get("namespace"):
        return {**spec, "dataSource": reference}
    return {**spec, "dataSourceRef": source} if source is not None and reference is None else spec


def _update_claim(new: Object, _old: Object) -> Object:
    return {**new, "spec": _with_data_sources(new["spec"])}


def _update_namespace(new: Object, old: Object) -> Object:
    return {**new, "spec": old["spec"]}


def _update_pod(new: Object, old: Object) -> Object:
    """What admission put into a pod stays, though the client may not know of it."""
    kept = {name: old["spec"][name] for name in ("priority", "preemptionPolicy") if name in old["spec"]}
    tolerations = with_default_tolerations(new["spec"].get("tolerations") or [])
    return {**new, "spec": {**kept, **new["spec"], "tolerations": tolerations}}


def _update_secret(new: Object, old: Object) -> Object:
    return new if new.get("type") else {**new, "type": old.get("type", "Opaque")}


def _update_service(new: Object, old: Object) -> Object:
    return {**new, "spec": without_unused_fields(new["spec"], old["spec"])}


def _pod_status_update(new: Object, old: Object) -> Object:
    """What a writer of the status leaves out stays: the quality of service, the generations that were observed."""
    before: dict[str, Any] = old.get("status") or {}
    kept: Object = {name: before[name] for name in ("qosClass", "observedGeneration") if name in before}
    status = _with_addresses({**kept, **new["status"]})
    generations: dict[str, list[int]] = {}
    for condition in before.get("conditions") or ():
        generations.setdefault(condition["type"], []).append(condition.get("observedGeneration", 0))
    conditions = []
    for condition in status.get("conditions") or ():
        known = generations.get(condition["type"]) or [0]
        generation = known.pop(0)
        observed = {"observedGeneration": generation} if generation else {}
        conditions.append({**observed, **condition})
    return {**status, "conditions": conditions} if conditions else status


def _with_addresses(status: Object) -> Object:
    """A pod's address has two fields, an older one and a list whose first it is."""
    address, addresses = status.get("podIP"), status.get("podIPs")
    if address and (not addresses or addresses[0].get("ip") != address):
        return {**status, "podIPs": [{"ip": address}]}
    return {**status, "podIP": addresses[0].get("ip", "")} if addresses else status


_UPDATES: Final[dict[Kind, Callable[[Object, Object], Object]]] = {
    NAMESPACE: _update_namespace,
    PERSISTENT_VOLUME_CLAIM: _update_claim,
    POD: _update_pod,
    SECRET: _update_secret,
    SERVICE: _update_service,
}
