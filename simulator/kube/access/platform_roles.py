"""What each part of the platform may do in the cluster, as roles and bindings: no more than it does.

They are stored in the embedded cluster, and are the manifests for a real one, where each part is a service account in
the platform's namespace; there the kubelet, the scheduler and the controllers are the cluster's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.access.default_roles import AGGREGATE_TO, RBAC_GROUP, READ, WRITE, rule
from simulator.kube.access.rbac import Rule
from simulator.kube.access.users import User, service_account
from simulator.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, GPUUNIT, ROLE_BINDING, Kind, Object

PLATFORM_NAMESPACE: Final = "gpuunit-sim"
"""Where the platform's own service accounts are."""
ROLE_PREFIX: Final = "gpuunit-sim-"


class Part(StrEnum):
    """The parts of the platform that talk to the cluster."""

    RECONCILER = "reconciler"
    ACTIVATOR = "activator"
    API = "api"
    ISSUER = "issuer"
    KUBELET = "kubelet"


@dataclass(frozen=True, slots=True)
class PartAccess:
    """What a part may do. `namespace` is the only one where it may, "" means in all."""

    rules: tuple[Rule, ...]
    namespace: str = ""


_UNITS: Final = (GPUUNIT.group,)
_EVENTS: Final = rule(["create", "patch"], ["", "events.k8s.io"], ["events"])

ACCESS: Final = {
    Part.RECONCILER: PartAccess(
        (
            rule(READ, _UNITS, ["gpuunits"]),
            rule(["patch"], _UNITS, ["gpuunits/status"]),
            rule([*READ, "create", "patch", "delete"], ["apps"], ["deployments"]),
            rule([*READ, "create", "patch", "delete"], [""], ["services"]),
            rule([*READ, "create", "patch", "delete"], ["networking.k8s.io"], ["networkpolicies"]),
            rule(["list", "watch"], [""], ["pods"]),
            rule(["get", "create", "update"], ["coordination.k8s.io"], ["leases"]),
            _EVENTS,
        )
    ),
    Part.ACTIVATOR: PartAccess(
        (
            rule(["list", "watch", "create", "patch", "delete"], _UNITS, ["gpuunits"]),
            rule(["list", "watch"], [""], ["pods"]),
        ),
        ACTIVE_NAMESPACE,
    ),
    Part.API: PartAccess((rule([*READ, "create", "update", "delete"], _UNITS, ["gpuunits"]),), ACTIVE_NAMESPACE),
    Part.ISSUER: PartAccess(
        (
            rule(["list", "watch"], _UNITS, ["gpuunits"]),
            rule(["list", "watch"], [""], ["pods"]),
            rule([*READ, "create", "update", "delete"], [""], ["secrets"]),
        )
    ),
    # Stands for what kubelets, the scheduler and the controllers of Deployments may do between them.
    Part.KUBELET: PartAccess(
        (
            rule([*READ, "create", "patch", "update", "delete"], [""], ["pods"]),
            rule(["patch", "update"], [""], ["pods/status"]),
            rule(["create"], [""], ["pods/binding"]),
            rule(READ, [""], ["configmaps", "secrets"]),
            rule([*READ, "create", "patch", "update", "delete"], [""], ["nodes"]),
            rule(["patch", "update"], [""], ["nodes/status"]),
            rule([*READ, "patch", "update"], ["apps"], ["deployments"]),
            rule([*READ, "create", "patch", "update", "delete"], ["apps"], ["replicasets"]),
            rule(["patch", "update"], ["apps"], ["deployments/status", "replicasets/status"]),
            rule(["get", "create", "patch", "update"], ["coordination.k8s.io"], ["leases"]),
            _EVENTS,
        )
    ),
}
"""What each part does."""

_PEOPLE: Final = {
    "units-edit": (("admin", "edit"), rule(WRITE, _UNITS, ["gpuunits"])),
    "units-view": (("view",), rule(READ, _UNITS, ["gpuunits", "gpuunits/status"])),
}
"""What those may do with units who have `admin`, `edit` or `view`."""


def part_user(part: Part, namespace: str = PLATFORM_NAMESPACE) -> User:
    """The user that a part is."""
    return service_account(namespace, part.value)


def platform_access(namespace: str = PLATFORM_NAMESPACE) -> Iterator[tuple[Kind, Object]]:
    """The roles and bindings, with their kinds; the parts' service accounts are in `namespace`."""
    for part, access in ACCESS.items():
        yield CLUSTER_ROLE, _cluster_role(part.value, access.rules, {})
        yield _binding(part, access.namespace, namespace)
    for name, (roles, allowed) in _PEOPLE.items():
        yield CLUSTER_ROLE, _cluster_role(name, [allowed], {f"{AGGREGATE_TO}{role}": "true" for role in roles})


def _cluster_role(name: str, rules: Sequence[Rule], labels: dict[str, str]) -> Object:
    return {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.kind,
        "metadata": {"name": f"{ROLE_PREFIX}{name}", **({"labels": labels} if labels else {})},
        "rules": list(rules),
    }


def _binding(part: Part, bound_in: str, namespace: str) -> tuple[Kind, Object]:
    kind = ROLE_BINDING if bound_in else CLUSTER_ROLE_BINDING
    name = f"{ROLE_PREFIX}{part.value}"
    return kind, {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **({"namespace": bound_in} if bound_in else {})},
        "subjects": [{"kind": "ServiceAccount", "name": part.value, "namespace": namespace}],
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": CLUSTER_ROLE.kind, "name": name},
    }
