"""The resource kinds that the platform knows, and the JSON form in which it handles their objects."""

from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as its JSON: `apiVersion`, `kind`, `metadata`, and what the kind adds."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource kind, and in what the real API treats it differently from others; its group and plural identify it.

    `group` is empty for the core group. `custom` marks the kinds of a CustomResourceDefinition; `has_generation` that
    `metadata.generation` counts spec changes; `graceful` that a delete gives the object time to end;
    `returns_deleted` that a delete is answered with the object rather than with a Status; `categories` are the names
    such as `all` that stand for it in kubectl; `has_scale` that it has the subresource `scale`.
    """

    group: str
    version: str = field(compare=False)  # a definition may change all but the name under which objects are stored
    kind: str = field(compare=False)
    plural: str
    namespaced: bool = field(default=True, compare=False)
    short_names: tuple[str, ...] = field(default=(), compare=False)
    has_status: bool = field(default=True, compare=False)
    custom: bool = field(default=False, compare=False)
    has_generation: bool = field(default=True, compare=False)
    graceful: bool = field(default=False, compare=False)
    returns_deleted: bool = field(default=False, compare=False)
    categories: tuple[str, ...] = field(default=(), compare=False)
    has_scale: bool = field(default=False, compare=False)

    @property
    def api_version(self) -> str:
        """`group/version`, or the bare version in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Kind in messages: `Deployment.apps`, `Pod`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def resource(self) -> str:
        """Name in messages: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def shown(self, obj: Object) -> Object:
        """An object of any version in this one; there is no conversion but of the name."""
        return obj if obj["apiVersion"] == self.api_version else {**obj, "apiVersion": self.api_version}


GPUUNIT = Kind("runtime.lokiwager.io", "v1alpha1", "GPUUnit", "gpuunits", short_names=("gpuu",), custom=True)
DEPLOYMENT = Kind(
    "apps", "v1", "Deployment", "deployments", short_names=("deploy",), categories=("all",), has_scale=True
)
REPLICA_SET = Kind("apps", "v1", "ReplicaSet", "replicasets", short_names=("rs",), categories=("all",), has_scale=True)
STATEFUL_SET = Kind(
    "apps", "v1", "StatefulSet", "statefulsets", short_names=("sts",), categories=("all",), has_scale=True
)
SERVICE = Kind(
    "",
    "v1",
    "Service",
    "services",
    short_names=("svc",),
    has_generation=False,
    returns_deleted=True,
    categories=("all",),
)
NETWORK_POLICY = Kind(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",), has_status=False
)
POD = Kind("", "v1", "Pod", "pods", short_names=("po",), graceful=True, returns_deleted=True, categories=("all",))
EVENT = Kind("", "v1", "Event", "events", short_names=("ev",), has_status=False, has_generation=False)
SECRET = Kind("", "v1", "Secret", "secrets", has_status=False, has_generation=False)
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps", short_names=("cm",), has_status=False, has_generation=False)
SERVICE_ACCOUNT = Kind(
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    short_names=("sa",),
    has_status=False,
    has_generation=False,
    returns_deleted=True,
)
PERSISTENT_VOLUME_CLAIM = Kind(
    "",
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    short_names=("pvc",),
    has_generation=False,
    returns_deleted=True,
)
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases", has_status=False, has_generation=False)
POD_DISRUPTION_BUDGET = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", short_names=("pdb",))
ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles", has_status=False, has_generation=False)
ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings", has_status=False, has_generation=False
)
CLUSTER_ROLE = Kind(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRole",
    "clusterroles",
    namespaced=False,
    has_status=False,
    has_generation=False,
)
CLUSTER_ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io",
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    namespaced=False,
    has_status=False,
    has_generation=False,
)
NODE = Kind("", "v1", "Node", "nodes", namespaced=False, short_names=("no",), has_generation=False)
NAMESPACE = Kind(
    "",
    "v1",
    "Namespace",
    "namespaces",
    namespaced=False,
    short_names=("ns",),
    has_generation=False,
    returns_deleted=True,
)
CUSTOM_RESOURCE_DEFINITION = Kind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
)

BUILT_IN_KINDS = (
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    LEASE,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    CLUSTER_ROLE_BINDING,
    CLUSTER_ROLE,
    ROLE_BINDING,
    ROLE,
)
"""What the embedded cluster serves by itself, group by group in the order of discovery."""

ALL_KINDS = (*BUILT_IN_KINDS, GPUUNIT)
"""What it serves with the platform's CustomResourceDefinition."""

UNCONDITIONAL_UPDATE_REFUSED = frozenset({LEASE, POD_DISRUPTION_BUDGET, CUSTOM_RESOURCE_DEFINITION})
"""Built-in kinds whose updates must say which version they were made from, as those of custom resources."""

CREATED_BY_UPDATE = frozenset({SERVICE, LEASE, EVENT, ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING})
"""Kinds of which an update makes an object that is not there."""
