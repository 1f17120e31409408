"""The roles and bindings that a cluster has from the start, as a real one has them.

`admin`, `edit` and `view` cover the built-in kinds that are served here. Others can be added to them by a cluster role
with their label (`rbac.authorization.k8s.io/aggregate-to-view: "true"`).
"""

from collections.abc import Iterator, Sequence
from typing import Final

from simulator.kube.access.aggregation import aggregated
from simulator.kube.access.rbac import Rule
from simulator.kube.access.users import AUTHENTICATED, MASTERS, UNAUTHENTICATED
from simulator.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, Object

RBAC_GROUP: Final = "rbac.authorization.k8s.io"
AGGREGATE_TO: Final = "rbac.authorization.k8s.io/aggregate-to-"
"""Start of the label that adds a cluster role's rules to `admin`, `edit` or `view`."""

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")
READ_AND_WRITE: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

_AUTHORIZATION: Final = "authorization.k8s.io"
_HEALTH: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY: Final = (
    *("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz"),
    *("/version", "/version/"),
)
_REPLICATED: Final = ("deployments", "replicasets", "statefulsets")
_POD_STREAMS: Final = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy")


def rule(verbs: Sequence[str], groups: Sequence[str], resources: Sequence[str]) -> Rule:
    """The rule that allows the verbs on the resources (such as `pods` or `pods/status`) of API groups."""
    return {"verbs": list(verbs), "apiGroups": list(groups), "resources": list(resources)}


def _paths(verbs: Sequence[str], paths: Sequence[str]) -> Rule:
    return {"verbs": list(verbs), "nonResourceURLs": list(paths)}


_VIEW: Final = (
    rule(
        READ,
        [""],
        [
            *("configmaps", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods", "serviceaccounts"),
            *("services", "services/status"),
        ],
    ),
    rule(READ, [""], ["namespaces/status", "pods/log", "pods/status"]),
    rule(READ, [""], ["namespaces"]),
    rule(READ, ["", "events.k8s.io"], ["events"]),
    rule(READ, ["apps"], [f"{plural}{part}" for plural in _REPLICATED for part in ("", "/scale", "/status")]),
    rule(READ, ["policy"], ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
    rule(READ, ["networking.k8s.io"], ["networkpolicies"]),
)
_EDIT: Final = (
    rule(READ, [""], [*_POD_STREAMS, "secrets", "services/proxy"]),
    rule(["impersonate"], [""], ["serviceaccounts"]),
    rule(WRITE, [""], ["pods", *_POD_STREAMS]),
    rule(["create"], [""], ["pods/eviction"]),
    rule(
        WRITE,
        [""],
        ["configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services", "services/proxy"],
    ),
    rule(["create"], [""], ["serviceaccounts/token"]),
    rule(WRITE, ["", "events.k8s.io"], ["events"]),
    rule(WRITE, ["apps"], [f"{plural}{part}" for plural in _REPLICATED for part in ("", "/scale")]),
    rule(WRITE, ["policy"], ["poddisruptionbudgets"]),
    rule(WRITE, ["networking.k8s.io"], ["networkpolicies"]),
    rule(READ_AND_WRITE, ["coordination.k8s.io"], ["leases"]),
)
_ADMIN: Final = (
    rule(["create"], [_AUTHORIZATION], ["localsubjectaccessreviews"]),
    rule(READ_AND_WRITE, [RBAC_GROUP], ["rolebindings", "roles"]),
)
_ROLES: Final = {
    "cluster-admin": (rule(["*"], ["*"], ["*"]), _paths(["*"], ["*"])),
    "system:basic-user": (
        rule(["create"], [_AUTHORIZATION], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
    ),
    "system:discovery": (_paths(["get"], _DISCOVERY),),
    "system:public-info-viewer": (_paths(["get"], _HEALTH),),
}
_PARTS: Final = {"admin": _ADMIN, "edit": _EDIT, "view": _VIEW}
"""What each of the roles for people has beyond the next one."""
_WITHIN: Final = {"edit": "admin", "view": "edit"}
_BINDINGS: Final = {
    "cluster-admin": (MASTERS,),
    "system:basic-user": (AUTHENTICATED,),
    "system:discovery": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
}
"""The groups that have a role in the whole cluster."""


def default_access() -> Iterator[tuple[Kind, Object]]:
    """The roles and bindings, with their kinds."""
    roles = [_role(name, {}, rules) for name, rules in _ROLES.items()]
    parts = [_role(f"system:aggregate-to-{name}", _label(name), rules) for name, rules in _PARTS.items()]
    whole: list[Object] = []
    for name in ("view", "edit", "admin"):  # each is made of the one before
        labels = _label(_WITHIN[name]) if name in _WITHIN else {}
        selector = {"matchLabels": _label(name)}
        role = _role(name, labels, ()) | {"aggregationRule": {"clusterRoleSelectors": [selector]}}
        whole.append(aggregated(role, [*parts, *whole]) or role)
    yield from ((CLUSTER_ROLE, role) for role in (*roles, *parts, *whole))
    yield from ((CLUSTER_ROLE_BINDING, _binding(name, groups)) for name, groups in _BINDINGS.items())


def _label(role: str) -> dict[str, str]:
    return {f"{AGGREGATE_TO}{role}": "true"}


def _metadata(name: str, labels: dict[str, str]) -> Object:
    return {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults", **labels},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }


def _role(name: str, labels: dict[str, str], rules: Sequence[Rule]) -> Object:
    return {
        "apiVersion": CLUSTER_ROLE.api_version,
        "kind": CLUSTER_ROLE.kind,
        "metadata": _metadata(name, labels),
        "rules": list(rules),
    }


def _binding(name: str, groups: Sequence[str]) -> Object:
    return {
        "apiVersion": CLUSTER_ROLE_BINDING.api_version,
        "kind": CLUSTER_ROLE_BINDING.kind,
        "metadata": _metadata(name, {}),
        "subjects": [{"kind": "Group", "apiGroup": RBAC_GROUP, "name": group} for group in groups],
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": name},
    }
