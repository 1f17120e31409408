"""The smallest objects that the real server takes, of every kind."""

import copy
from typing import Any, Final

from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    EVENT,
    GPUUNIT,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Kind,
    Object,
)

NS: Final = "runtime-instance"
_POD_SPEC: Final = {"containers": [{"name": "c", "image": "busybox"}]}
_WORKLOAD: Final = {
    "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": _POD_SPEC},
    }
}
_GRANT: Final = {"subjects": [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]}
_ROLE_REF: Final = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
_CONTENT: Final[dict[Kind, Object]] = {
    CLUSTER_ROLE: {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    CLUSTER_ROLE_BINDING: {**_GRANT, "roleRef": _ROLE_REF},
    CONFIG_MAP: {"data": {"a": "1"}},
    CUSTOM_RESOURCE_DEFINITION: {
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}},
                }
            ],
        }
    },
    DEPLOYMENT: _WORKLOAD,
    EVENT: {"involvedObject": {"kind": "Pod", "name": "p", "namespace": NS}, "reason": "Tested", "type": "Normal"},
    GPUUNIT: {"spec": {"specName": "s", "gpu": 1}},
    LEASE: {"spec": {"holderIdentity": "me", "leaseDurationSeconds": 15}},
    NAMESPACE: {},
    NETWORK_POLICY: {"spec": {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress"]}},
    NODE: {},
    PERSISTENT_VOLUME_CLAIM: {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    POD: {"spec": _POD_SPEC},
    POD_DISRUPTION_BUDGET: {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}},
    REPLICA_SET: _WORKLOAD,
    ROLE: {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    ROLE_BINDING: {**_GRANT, "roleRef": _ROLE_REF},
    SECRET: {"data": {"a": "Yg=="}},
    SERVICE: {"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}},
    SERVICE_ACCOUNT: {},
    STATEFUL_SET: {"spec": {**_WORKLOAD["spec"], "serviceName": "s"}},
}


def sample(kind: Kind, name: str = "x", **metadata: Any) -> Object:
    """A valid object; a definition has the only name that it may have."""
    named = "things.example.com" if kind == CUSTOM_RESOURCE_DEFINITION else name
    content = copy.deepcopy(_CONTENT[kind])
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": named, **metadata}, **content}


def pod_spec(**fields: Any) -> Object:
    """The `spec` of a pod of one container."""
    return {**copy.deepcopy(_POD_SPEC), **fields}
