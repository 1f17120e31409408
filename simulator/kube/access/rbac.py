"""Which rules roles and bindings give a user, and whether they allow a request. Pure functions of the RBAC objects.

As in a real cluster, what no rule allows is refused, and the group `system:masters` needs no rule.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from simulator.kube.access.attributes import Attributes
from simulator.kube.access.users import MASTERS, User, as_service_account
from simulator.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, Kind, Object

Objects = Callable[[Kind, str | None], Iterable[Object]]
"""The objects of a kind in a namespace, or of all (None)."""

Rule = dict[str, Any]
"""An entry of a role's `rules`."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A rule, and by which binding the user has it, in words."""

    rule: Rule
    source: str


@dataclass(frozen=True, slots=True)
class Grants:
    """What a user may do in a namespace, or in none. `problems` are bindings to roles that are not there."""

    user: User
    grants: tuple[Grant, ...] = ()
    problems: tuple[str, ...] = ()

    def allow(self, attributes: Attributes) -> bool:
        """Whether the user may do this."""
        return MASTERS in self.user.groups or self.covering(attributes) is not None

    def covering(self, attributes: Attributes) -> Grant | None:
        """The first that allows this, None if none does."""
        return next((grant for grant in self.grants if rule_allows(grant.rule, attributes)), None)

    def reason(self, attributes: Attributes) -> str:
        """Why the user may do this, or why perhaps not; "" where there is nothing to say."""
        if MASTERS in self.user.groups:
            return ""
        grant = self.covering(attributes)
        if grant is not None:
            return f"RBAC: allowed by {grant.source}"
        problems = list(dict.fromkeys(self.problems))
        if len(problems) > 1:
            return f"RBAC: [{', '.join(problems)}]"
        return f"RBAC: {problems[0]}" if problems else ""


def grants_of(user: User, namespace: str, objects: Objects) -> Grants:
    """What is bound to the user, in the cluster and, unless it is empty, in the namespace."""
    bindings = [(binding, "") for binding in objects(CLUSTER_ROLE_BINDING, None)]
    if namespace:
        bindings += [(binding, namespace) for binding in objects(ROLE_BINDING, namespace)]
    grants: list[Grant] = []
    problems: list[str] = []
    for binding, scope in bindings:
        subject = _subject(binding, user, scope)
        if subject is None:
            continue
        role = _role(binding["roleRef"], scope, objects)
        if role is None:
            problems.append(_missing(binding["roleRef"]))
        else:
            source = _source(binding, subject, scope)
            grants += (Grant(rule, source) for rule in role.get("rules") or ())
    return Grants(user, tuple(grants), tuple(problems))


def rule_allows(rule: Rule, attributes: Attributes) -> bool:
    """Whether the rule covers the request."""
    if not _has(rule, "verbs", attributes.verb):
        return False
    if not attributes.resource:
        return any(_path_matches(pattern, attributes.path) for pattern in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames") or ()
    return (
        _has(rule, "apiGroups", attributes.group)
        and _covers_resource(rule, attributes)
        and (not names or attributes.name in names)
    )


def _has(rule: Rule, field: str, value: str) -> bool:
    values = rule.get(field) or ()
    return "*" in values or value in values


def _covers_resource(rule: Rule, attributes: Attributes) -> bool:
    resources = rule.get("resources") or ()
    if not attributes.subresource:
        return "*" in resources or attributes.resource in resources
    full = f"{attributes.resource}/{attributes.subresource}"
    return "*" in resources or full in resources or f"*/{attributes.subresource}" in resources


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern.rstrip("*"))
    return path == pattern


def _subject(binding: Object, user: User, scope: str) -> Object | None:
    """The first subject of the binding that is the user."""
    return next((subject for subject in binding.get("subjects") or () if _is(subject, user, scope)), None)


def _is(subject: Object, user: User, scope: str) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject.get("name") == user.name)
        case "Group":
            return subject.get("name") in user.groups
        case "ServiceAccount":
            return as_service_account(user.name) == (subject.get("namespace") or scope, subject.get("name"))
    return False


def _role(reference: Object, scope: str, objects: Objects) -> Object | None:
    kind, namespace = (ROLE, scope) if reference["kind"] == ROLE.kind else (CLUSTER_ROLE, None)
    return next((role for role in objects(kind, namespace) if role["metadata"]["name"] == reference["name"]), None)


def _missing(reference: Object) -> str:
    return f'{reference["kind"].lower()}.rbac.authorization.k8s.io "{reference["name"]}" not found'


def _source(binding: Object, subject: Object, scope: str) -> str:
    name, shown = binding["metadata"]["name"], subject["name"]
    if subject["kind"] == "ServiceAccount":
        shown = f"{shown}/{subject.get('namespace') or scope}"
    bound = f'RoleBinding "{name}/{scope}"' if scope else f'ClusterRoleBinding "{name}"'
    reference = binding["roleRef"]
    return f'{bound} of {reference["kind"]} "{reference["name"]}" to {subject["kind"]} "{shown}"'
