"""What the installed platform's objects are called, and the labels by which they are found again."""

from dataclasses import dataclass
from typing import Final

PART_OF_LABEL: Final = "app.kubernetes.io/part-of"
NAME_LABEL: Final = "app.kubernetes.io/name"
PLATFORM: Final = "gpuunit-sim"

PLATFORM_LABELS: Final = {PART_OF_LABEL: PLATFORM, "app.kubernetes.io/managed-by": "unitsim"}
"""What marks every object that is installed: by these it is found when all is to go."""

NATS: Final = "nats"
NATS_OUTSIDE: Final = f"{NATS}-outside"
"""The Service with the queue's port of every node, where there is one."""
NATS_PORT: Final = 4222
NATS_MONITOR_PORT: Final = 8222
API_PORT: Final = 8080
HEALTH_PORT: Final = 8081

KEYS_SECRET: Final = f"{PLATFORM}-keys"
KUBECONFIG_MAP: Final = f"{PLATFORM}-kubeconfig"
NATS_CONFIG_MAP: Final = f"{PLATFORM}-nats"


LOCAL_IMAGES: Final = "localhost/"
"""How the names of images that were built here begin: docker, podman and kind agree on it, and no registry has them."""
DEFAULT_IMAGE_PREFIX: Final = f"{LOCAL_IMAGES}gpuunit-sim"

DEFAULT_TAG: Final = "dev"
DEFAULT_NATS_IMAGE: Final = "docker.io/library/nats:2.12-alpine"
DEFAULT_STORAGE: Final = "1Gi"
KIND_CLUSTER: Final = PLATFORM
"""Name of the cluster that `unitsim kind` makes."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the platform. `roles` are its identities at the queue; `uses_cluster` that it calls the cluster's API.

    `replicas` is how many run: more than one where they share the work.
    """

    name: str
    roles: tuple[str, ...] = ()
    uses_cluster: bool = True
    replicas: int = 1

    @property
    def account(self) -> str:
        """Name of its service account, in the platform's namespace."""
        return self.name

    @property
    def deployment(self) -> str:
        """Name of its Deployment."""
        return f"{PLATFORM}-{self.name}"


API: Final = Part("api", ("api",), replicas=2)
ACTIVATOR: Final = Part("activator", ("activator",), replicas=2)
RECONCILER: Final = Part("reconciler", replicas=2)
ISSUER: Final = Part("issuer", ("owner", "accounts"))
RESULTS: Final = Part("results", ("results",), uses_cluster=False)

PARTS: Final = (API, ACTIVATOR, RECONCILER, ISSUER, RESULTS)
PEOPLE: Final = ("admin", "reader")
"""Identities at the queue that no part has: for whoever looks in, and for scenarios."""


def labels(name: str) -> dict[str, str]:
    """Labels of the objects of one part, or of the queue."""
    return {NAME_LABEL: f"{PLATFORM}-{name}", **PLATFORM_LABELS}


def selector(name: str) -> dict[str, str]:
    """The labels that pick the pods of one part, or of the queue."""
    return {NAME_LABEL: f"{PLATFORM}-{name}"}


def credentials_secret(role: str) -> str:
    """Name of the Secret with a role's queue credentials."""
    return f"{PLATFORM}-{role}-nats"


def nats_host(namespace: str) -> str:
    """The queue's name in the cluster's DNS."""
    return f"{NATS}.{namespace}.svc.cluster.local"
