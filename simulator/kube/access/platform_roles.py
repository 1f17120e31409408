"""What each part of the platform may do in the cluster, as roles and bindings: no more than it does, and only there.

They are stored in the embedded cluster, and are the manifests for a real one, where each part is a service account in
the platform's namespace; there the kubelet, the scheduler and the controllers are the cluster's own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from simulator.gpuunit import ACTIVE_NAMESPACE, UNIT_NAMESPACES
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
class Grant:
    """Rules, and the namespaces where they hold; with none they hold in the whole cluster.

    `name` tells a part's grants apart.
    """

    rules: tuple[Rule, ...]
    namespaces: tuple[str, ...] = ()
    name: str = ""


RECONCILER_LEASE: Final = "gpuunit-reconciler"
"""The Lease by which one of several reconcilers leads."""

_UNITS: Final = (GPUUNIT.group,)
_LOOK: Final = ("list", "watch")
_APPLY: Final = ("get", "create", "patch")
"""Server-side apply patches what is there, and creates what is not."""
_EVENTS: Final = rule(["create", "patch"], [""], ["events"])
_OWN: Final = rule(["update"], _UNITS, ["gpuunits/finalizers"])
"""What a unit owns blocks its deletion: some clusters ask for a right to say so."""

ACCESS: Final = {
    Part.RECONCILER: (
        Grant(
            (
                rule(_LOOK, _UNITS, ["gpuunits"]),
                rule(["patch"], _UNITS, ["gpuunits/status"]),
                rule(_LOOK, [""], ["pods", "services"]),
                rule(_LOOK, ["apps"], ["deployments"]),
                rule(_LOOK, ["networking.k8s.io"], ["networkpolicies"]),
            )
        ),
        Grant(
            (
                _OWN,
                rule(_APPLY, ["apps"], ["deployments"]),
                rule(_APPLY, ["networking.k8s.io"], ["networkpolicies"]),
                rule([*_APPLY, "delete"], [""], ["services"]),
                _EVENTS,
            ),
            UNIT_NAMESPACES,
            "units",
        ),
        Grant(
            (
                rule(["create"], ["coordination.k8s.io"], ["leases"]),  # a name cannot be asked for before it is there
                rule(["get", "update"], ["coordination.k8s.io"], ["leases"]) | {"resourceNames": [RECONCILER_LEASE]},
            ),
            (ACTIVE_NAMESPACE,),
            "lease",
        ),
    ),
    Part.ACTIVATOR: (
        Grant(
            (rule([*_LOOK, "create", "patch", "delete"], _UNITS, ["gpuunits"]), rule(_LOOK, [""], ["pods"])),
            (ACTIVE_NAMESPACE,),
        ),
    ),
    Part.API: (Grant((rule([*READ, "create", "update", "delete"], _UNITS, ["gpuunits"]),), (ACTIVE_NAMESPACE,)),),
    Part.ISSUER: (
        Grant(
            (
                _OWN,
                rule(_LOOK, _UNITS, ["gpuunits"]),
                rule(_LOOK, [""], ["pods"]),
                rule([*READ, "create", "update", "delete"], [""], ["secrets"]),
            ),
            (ACTIVE_NAMESPACE,),
        ),
    ),
    # Stands for what kubelets, the scheduler and the controllers of Deployments may do between them.
    Part.KUBELET: (
        Grant(
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
    for part in Part:
        yield from part_access(part, namespace)
    yield from people_access()


def part_access(part: Part, namespace: str) -> Iterator[tuple[Kind, Object]]:
    """The roles of one part, each with its bindings to the service account in `namespace`."""
    for grant in ACCESS[part]:
        name = f"{ROLE_PREFIX}{part}-{grant.name}".removesuffix("-")
        yield CLUSTER_ROLE, _cluster_role(name, grant.rules, {})
        if not grant.namespaces:
            yield CLUSTER_ROLE_BINDING, _binding(CLUSTER_ROLE_BINDING, name, {}, part, namespace)
        for within in grant.namespaces:
            yield ROLE_BINDING, _binding(ROLE_BINDING, name, {"namespace": within}, part, namespace)


def people_access() -> Iterator[tuple[Kind, Object]]:
    """The roles that add units to what `admin`, `edit` and `view` may handle."""
    for name, (roles, allowed) in _PEOPLE.items():
        labels = {f"{AGGREGATE_TO}{role}": "true" for role in roles}
        yield CLUSTER_ROLE, _cluster_role(f"{ROLE_PREFIX}{name}", [allowed], labels)


def _cluster_role(name: str, rules: Sequence[Rule], labels: dict[str, str]) -> Object:
    return {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.kind,
        "metadata": {"name": name, **({"labels": labels} if labels else {})},
        "rules": list(rules),
    }


def _binding(kind: Kind, name: str, scope: dict[str, str], part: Part, namespace: str) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, **scope},
        "subjects": [{"kind": "ServiceAccount", "name": part.value, "namespace": namespace}],
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": CLUSTER_ROLE.kind, "name": name},
    }
