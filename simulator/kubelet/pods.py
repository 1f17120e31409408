"""Which pods a Deployment wants: pure functions of the Deployment and the pods that it has.

There are no ReplicaSets: a pod belongs to the Deployment itself and carries the hash of the template it was made of.
"""

import copy
import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulator.kube.kinds import Object

NODE_NAME = "local-node"
HASH_LABEL = "pod-template-hash"
MAX_SURGE = 1
"""Pods beyond the wanted number while a RollingUpdate replaces old ones."""

_SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""What Kubernetes makes random names of: no vowels, so no words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next: so many new pods, and these deletions (names)."""

    create: int = 0
    delete: tuple[str, ...] = ()


def template_hash(deployment: Object) -> str:
    """Ten letters that stand for the Deployment's pod template."""
    template = json.dumps(deployment["spec"]["template"], sort_keys=True).encode()
    digest = hashlib.sha256(template).digest()
    return "".join(_SAFE_LETTERS[byte % len(_SAFE_LETTERS)] for byte in digest[:10])


def new_pod(deployment: Object) -> Object:
    """Return a pod of the Deployment's template, already assigned to this node."""
    metadata, template = deployment["metadata"], copy.deepcopy(deployment["spec"]["template"])
    digest = template_hash(deployment)
    own = template.get("metadata") or {}
    suffix = "".join(secrets.choice(_SAFE_LETTERS) for _ in range(5))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-{digest}-{suffix}",
            "generateName": f"{metadata['name']}-{digest}-",
            "namespace": metadata["namespace"],
            "labels": {**(own.get("labels") or {}), HASH_LABEL: digest},
            **({"annotations": own["annotations"]} if own.get("annotations") else {}),
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {**template["spec"], "nodeName": NODE_NAME},
    }


def owned_by(deployment: Object, pods: Iterable[Object]) -> list[Object]:
    """The pods that belong to the Deployment, oldest first."""
    uid = deployment["metadata"]["uid"]
    return sorted((pod for pod in pods if controller_uid(pod) == uid), key=_age)


def controller_uid(pod: Object) -> str:
    """The uid of the object that controls the pod, "" if none does."""
    references = pod["metadata"].get("ownerReferences") or ()
    return next((str(reference["uid"]) for reference in references if reference.get("controller")), "")


def is_active(pod: Object) -> bool:
    """Whether the pod counts as a replica: it neither ended nor is being deleted."""
    return not is_terminating(pod) and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def is_terminating(pod: Object) -> bool:
    """Whether the pod is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_ready(pod: Object) -> bool:
    """Whether the pod's `Ready` condition is True."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def plan_pods(deployment: Object, pods: Sequence[Object]) -> Plan:
    """Return what brings the Deployment's pods nearer to what it wants.

    `Recreate`: no new pod before every old one is gone. `RollingUpdate`: one pod more than wanted at most, and an old
    one goes only when the wanted number is ready without it.
    """
    wanted, digest = wanted_replicas(deployment), template_hash(deployment)
    active = [pod for pod in pods if is_active(pod)]
    new = [pod for pod in active if _hash(pod) == digest]
    old = [pod for pod in active if _hash(pod) != digest]
    recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
    if recreate and (outdated := [pod for pod in pods if _hash(pod) != digest]):
        return Plan(delete=_names(pod for pod in outdated if not is_terminating(pod)))
    surplus = _expendable(new)[: max(0, len(new) - wanted)]
    kept = [pod for pod in new if pod not in surplus]
    room = wanted + (MAX_SURGE if old else 0) - len(active)
    create = max(0, min(wanted - len(new), room))
    return Plan(create, _names(surplus) + _names(_replaceable(old, kept, wanted)))


def wanted_replicas(deployment: Object) -> int:
    """`spec.replicas`, 1 if it is not set."""
    replicas: int | None = deployment["spec"].get("replicas")
    return 1 if replicas is None else replicas


def _replaceable(old: Sequence[Object], new: Sequence[Object], wanted: int) -> list[Object]:
    """Old pods that may go while `wanted` ready ones, or as many as can become ready, remain."""
    ready_new = sum(map(is_ready, new))
    spare = len(old) + ready_new - wanted
    return _expendable(old)[: max(0, spare)]


def _expendable(pods: Sequence[Object]) -> list[Object]:
    """Those to give up first: not ready before ready, young before old."""
    return sorted(sorted(pods, key=_age, reverse=True), key=is_ready)


def _age(pod: Object) -> tuple[str, str]:
    return pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]


def _hash(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def _names(pods: Iterable[Object]) -> tuple[str, ...]:
    return tuple(pod["metadata"]["name"] for pod in pods)


def updated_pods(deployment: Object, pods: Iterable[Object]) -> list[Object]:
    """The active pods of the Deployment's present template."""
    digest = template_hash(deployment)
    return [pod for pod in pods if is_active(pod) and _hash(pod) == digest]
