"""What the API fills in where an object of a built-in kind leaves something open."""

from collections.abc import Callable
from typing import Final

from simulator.kube.builtin.canonical import canonical
from simulator.kube.builtin.encoded import encoded
from simulator.kube.builtin.pod_defaults import complete_claim_spec, complete_pod, complete_pod_spec
from simulator.kube.kinds import (
    CLUSTER_ROLE_BINDING,
    DEPLOYMENT,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    REPLICA_SET,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
)

_HISTORY: Final = 10
_PROGRESS_SECONDS: Final = 600
_AFFINITY_SECONDS: Final = 10800
RBAC_GROUP: Final = "rbac.authorization.k8s.io"


def with_builtin_defaults(kind: Kind, obj: Object) -> Object:
    """The object in canonical form, with the defaults of its kind; the argument is not changed.

    Raises:
        ApiFailure: 400; an amount, a point in time or bytes cannot be read.
    """
    completed = canonical(kind, obj)
    complete = _COMPLETIONS.get(kind)
    if complete is not None:
        complete(completed)
    return completed


def is_externally_accessible(spec: Object) -> bool:
    """Whether a Service can be reached from outside of the cluster."""
    return spec["type"] in ("LoadBalancer", "NodePort") or (
        spec["type"] == "ClusterIP" and bool(spec.get("externalIPs"))
    )


def _complete_deployment(deployment: Object) -> None:
    spec = deployment["spec"]
    spec.setdefault("replicas", 1)
    strategy = spec["strategy"]
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        update = strategy.setdefault("rollingUpdate", {})
        update.setdefault("maxUnavailable", "25%")
        update.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", _HISTORY)
    spec.setdefault("progressDeadlineSeconds", _PROGRESS_SECONDS)
    complete_pod_spec(spec["template"]["spec"])


def _complete_replica_set(replica_set: Object) -> None:
    spec = replica_set["spec"]
    spec.setdefault("replicas", 1)
    complete_pod_spec(spec["template"]["spec"])


def _complete_stateful_set(stateful_set: Object) -> None:
    spec = stateful_set["spec"]
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec["updateStrategy"]
    if "type" not in strategy:
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
        strategy["rollingUpdate"].pop("maxUnavailable", None)  # not switched on in this release
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", _HISTORY)
    complete_pod_spec(spec["template"]["spec"])
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        _complete_claim(claim)


def _complete_claim(claim: Object) -> None:
    complete_claim_spec(claim["spec"])
    claim["status"].setdefault("phase", "Pending")


def _complete_service(service: Object) -> None:
    spec = service["spec"]
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        given = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS if given is None else given}}
    spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    if is_externally_accessible(spec):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if spec["type"] in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in service["status"]["loadBalancer"].get("ingress") or ():
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


def _complete_network_policy(policy: Object) -> None:
    spec = policy["spec"]
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            port.setdefault("protocol", "TCP")
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _complete_binding(binding: Object) -> None:
    binding["roleRef"]["apiGroup"] = binding["roleRef"].get("apiGroup") or RBAC_GROUP
    for subject in binding.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", RBAC_GROUP)


def _complete_lease(lease: Object) -> None:
    for name in ("strategy", "preferredHolder"):  # not switched on in this release
        lease["spec"].pop(name, None)


def _complete_namespace(namespace: Object) -> None:
    metadata = namespace["metadata"]
    if metadata.get("name"):
        labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
        metadata["labels"] = dict(sorted(labels.items()))
    namespace["status"].setdefault("phase", "Active")


def _complete_node(node: Object) -> None:
    status = node["status"]
    if "capacity" in status:
        status.setdefault("allocatable", dict(status["capacity"]))


def _complete_secret(secret: Object) -> None:
    """Texts are sent for convenience only: each becomes data, in place of data under the same key."""
    texts = secret.pop("stringData", None) or {}
    data = {**(secret.get("data") or {}), **{key: encoded(text.encode()) for key, text in texts.items()}}
    if data:
        secret["data"] = dict(sorted(data.items()))
    secret.setdefault("type", "Opaque")


_COMPLETIONS: Final[dict[Kind, Callable[[Object], None]]] = {
    DEPLOYMENT: _complete_deployment,
    REPLICA_SET: _complete_replica_set,
    STATEFUL_SET: _complete_stateful_set,
    POD: complete_pod,
    LEASE: _complete_lease,
    PERSISTENT_VOLUME_CLAIM: _complete_claim,
    SERVICE: _complete_service,
    NETWORK_POLICY: _complete_network_policy,
    ROLE_BINDING: _complete_binding,
    CLUSTER_ROLE_BINDING: _complete_binding,
    NAMESPACE: _complete_namespace,
    NODE: _complete_node,
    SECRET: _complete_secret,
}
