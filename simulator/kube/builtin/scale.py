"""The scale subresource of workloads: their number of pods as an object of its own."""

from typing import Final

from simulator.kube.builtin.causes import negative
from simulator.kube.builtin.metadata_rules import create_metadata_causes
from simulator.kube.builtin.selector_rules import selector_text
from simulator.kube.kinds import Kind, Object
from simulator.kube.status import Cause

SCALE: Final = Kind("autoscaling", "v1", "Scale", "scales")
"""The kind of the subresource's objects; they are not stored."""
_SHOWN: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Object) -> Object:
    """The Scale of a Deployment, a ReplicaSet or a StatefulSet."""
    spec, status = obj["spec"], obj.get("status") or {}
    selector = selector_text(spec.get("selector"))
    replicas = spec.get("replicas", 0)
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {name: obj["metadata"][name] for name in _SHOWN if name in obj["metadata"]},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {"replicas": status.get("replicas", 0), **({"selector": selector} if selector else {})},
    }


def with_scale(obj: Object, scale: Object) -> Object:
    """The object with the number of pods of a Scale.

    The resource version is that of the Scale, which may have none, so that a stale one is a conflict.
    """
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    version = (scale.get("metadata") or {}).get("resourceVersion")
    return {
        **obj,
        "metadata": {**metadata, **({"resourceVersion": version} if version else {})},
        "spec": {**obj["spec"], "replicas": (scale.get("spec") or {}).get("replicas") or 0},
    }


def scale_causes(scale: Object) -> list[Cause]:
    """What is wrong with a Scale; the failure names the kind `SCALE` and the object's own name."""
    replicas = (scale.get("spec") or {}).get("replicas")
    return [*create_metadata_causes(SCALE, scale.get("metadata") or {}), *negative("spec.replicas", replicas)]
