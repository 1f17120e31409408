"""The resource kinds that the platform knows, and the JSON form in which it handles their objects."""

from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
"""A Kubernetes object as its JSON: `apiVersion`, `kind`, `metadata`, and what the kind adds."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource kind, and in what the real API treats it differently from others.

    `group` is empty for the core group. `custom` marks the kinds of a CustomResourceDefinition; `has_generation` that
    `metadata.generation` counts spec changes; `graceful` that a delete gives the object time to end;
    `returns_deleted` that a delete is answered with the object rather than with a Status.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    has_status: bool = True
    custom: bool = False
    has_generation: bool = True
    graceful: bool = False
    returns_deleted: bool = False

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


GPUUNIT = Kind("runtime.lokiwager.io", "v1alpha1", "GPUUnit", "gpuunits", short_names=("gpuu",), custom=True)
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", short_names=("deploy",))
SERVICE = Kind("", "v1", "Service", "services", short_names=("svc",), has_generation=False, returns_deleted=True)
NETWORK_POLICY = Kind(
    "networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",), has_status=False
)
POD = Kind("", "v1", "Pod", "pods", short_names=("po",), graceful=True, returns_deleted=True)
EVENT = Kind("", "v1", "Event", "events", short_names=("ev",), has_status=False, has_generation=False)
SECRET = Kind("", "v1", "Secret", "secrets", has_status=False, has_generation=False)
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

ALL_KINDS = (GPUUNIT, DEPLOYMENT, SERVICE, NETWORK_POLICY, POD, SECRET, EVENT, NAMESPACE)
