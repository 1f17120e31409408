"""The whole platform as a list of objects, in the order in which a cluster takes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from simulator.gpuunit import UNIT_NAMESPACES
from simulator.install.keys import PlatformKeys
from simulator.install.names import labels
from simulator.install.objects import framed
from simulator.install.policies import disruption_budgets, network_policies
from simulator.install.queue import queue_objects
from simulator.install.rbac import access_objects
from simulator.install.settings import InstallSettings
from simulator.install.workloads import api_service, deployments, kubeconfig_map, secrets_of
from simulator.kube.kinds import NAMESPACE, Object

CRD_FILE: Final = Path(__file__).parents[1] / "kube" / "gpuunit-crd.yaml"
_POD_SECURITY: Final = "pod-security.kubernetes.io/enforce"


def manifests(settings: InstallSettings, keys: PlatformKeys) -> list[Object]:
    """Everything that `unitsim kube install` applies; each object may rely on those before it."""
    return [
        *namespaces(settings),
        unit_definition(),
        *access_objects(settings),
        *network_policies(settings),
        *secrets_of(settings, keys),
        kubeconfig_map(settings),
        *queue_objects(settings, keys),
        *deployments(settings, keys),
        api_service(settings),
        *disruption_budgets(settings),
    ]


def namespaces(settings: InstallSettings) -> list[Object]:
    """The platform's own namespace, and those of the units, whose programs may be anybody's."""
    levels = {settings.namespace: "restricted"} | dict.fromkeys(UNIT_NAMESPACES, "baseline")
    objects = [framed(NAMESPACE, name, "namespaces") for name in levels]
    for obj, level in zip(objects, levels.values(), strict=True):
        obj["metadata"]["labels"][_POD_SECURITY] = level
    return objects


def unit_definition() -> Object:
    """The GPUUnit resource."""
    definition: dict[str, Any] = msgspec.yaml.decode(CRD_FILE.read_bytes())
    definition["metadata"]["labels"] = labels("units")
    return definition


def to_yaml(objects: Sequence[Object]) -> str:
    """The objects as one YAML text, fit for `kubectl apply -f -`."""
    return "".join(f"---\n{msgspec.yaml.encode(obj).decode()}" for obj in objects)
