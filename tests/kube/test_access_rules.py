"""Who asks, what for, and whether he may: the pure functions behind authentication and authorisation."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from simulator.kube.access.aggregation import aggregated
from simulator.kube.access.attributes import Attributes, UnreadablePathError, attributes_of
from simulator.kube.access.default_roles import AGGREGATE_TO, default_access, rule
from simulator.kube.access.impersonation import impersonated, wanted_user
from simulator.kube.access.rbac import Grants, grants_of, rule_allows
from simulator.kube.access.users import (
    ADMIN,
    ANONYMOUS,
    AUTHENTICATED,
    NODES,
    User,
    bearer_token,
    certificate_user,
    service_account,
)
from simulator.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, Kind, Object
from simulator.kube.status import ApiFailure, forbidden

PODS = Attributes("get", resource="pods")
BOB = service_account("ns", "bob")


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/version", {}, Attributes("get")),
        ("POST", "/apis/apps/v1", {}, Attributes("post")),
        ("GET", "/api/v1/pods", {}, Attributes("list", resource="pods")),
        ("HEAD", "/api/v1/pods", {}, Attributes("list", resource="pods")),
        ("GET", "/api/v1/pods", {"watch": "true"}, Attributes("watch", resource="pods")),
        ("GET", "/api/v1/pods", {"watch": ""}, Attributes("watch", resource="pods")),
        ("GET", "/api/v1/pods", {"watch": "0"}, Attributes("list", resource="pods")),
        ("GET", "/api/v1/pods", {"watch": "False"}, Attributes("list", resource="pods")),
        (
            "GET",
            "/api/v1/pods",
            {"fieldSelector": "a=b,metadata.name==p"},
            Attributes("list", resource="pods", name="p"),
        ),
        ("GET", "/api/v1/pods", {"fieldSelector": "metadata.name!=p"}, Attributes("list", resource="pods")),
        ("GET", "/api/v1/pods", {"fieldSelector": "metadata.name=a/b"}, Attributes("list", resource="pods")),
        ("DELETE", "/api/v1/namespaces/n/pods", {}, Attributes("deletecollection", resource="pods", namespace="n")),
        ("DELETE", "/api/v1/namespaces/n/pods/p", {}, Attributes("delete", "", "pods", "", "n", "p")),
        ("PUT", "/api/v1/namespaces/n/pods/p/status", {}, Attributes("update", "", "pods", "status", "n", "p")),
        ("PATCH", "/apis/x.io/v1/namespaces/n/foos/f/a/b", {}, Attributes("patch", "x.io", "foos", "a", "n", "f")),
        ("GET", "/api/v1/namespaces", {}, Attributes("list", resource="namespaces")),
        ("GET", "/api/v1/namespaces/n", {}, Attributes("get", "", "namespaces", "", "n", "n")),
        ("PUT", "/api/v1/namespaces/n/finalize", {}, Attributes("update", "", "namespaces", "finalize", "n", "n")),
        ("GET", "/api/v1/watch/namespaces/n/pods/p", {}, Attributes("watch", "", "pods", "", "n", "p")),
        ("GET", "/api/v1/nodes/n/proxy/a/b", {}, Attributes("get", "", "nodes", "proxy", "", "n")),
        ("OPTIONS", "/api/v1/pods", {}, Attributes("", resource="pods")),
    ],
)
def test_what_a_request_asks_for(method: str, path: str, query: dict[str, str], expected: Attributes) -> None:
    assert attributes_of(method, path, query) == replace(expected, path=path)


@pytest.mark.parametrize("path", ["/api/v1/watch", "/apis/apps/v1/proxy"])
def test_a_verb_in_the_path_wants_a_resource(path: str) -> None:
    with pytest.raises(UnreadablePathError, match=f"unable to determine kind and namespace from url, {path}"):
        attributes_of("GET", path, {})


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer a", "a"), ("bearer a b", "a"), ("Bearer", ""), ("Bearer  a", ""), ("Basic a", ""), ("", "")],
)
def test_tokens_in_headers(header: str, token: str) -> None:
    assert bearer_token(header) == token


def test_users_of_certificates() -> None:
    subject = ((("organizationName", "a"),), (("organizationName", "b"),), (("commonName", "jane"),))
    assert certificate_user(subject) == User("jane", ("a", "b", AUTHENTICATED))
    assert certificate_user(subject[:2]) is None


@pytest.mark.parametrize(
    ("given", "attributes", "allowed"),
    [
        (rule(["get"], [""], ["pods"]), PODS, True),
        (rule(["list"], [""], ["pods"]), PODS, False),
        (rule(["*"], ["*"], ["*"]), PODS, True),
        (rule(["get"], ["apps"], ["pods"]), PODS, False),
        (rule(["get"], [""], ["pods"]), replace(PODS, subresource="log"), False),
        (rule(["get"], [""], ["pods/log"]), replace(PODS, subresource="log"), True),
        (rule(["get"], [""], ["*/log"]), replace(PODS, subresource="log"), True),
        (rule(["get"], [""], ["pods/log"]), PODS, False),
        (rule(["get"], [""], ["pods"]) | {"resourceNames": ["a"]}, replace(PODS, name="a"), True),
        (rule(["get"], [""], ["pods"]) | {"resourceNames": ["a"]}, PODS, False),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, Attributes("get", path="/api/v1"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, Attributes("get", path="/api"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, PODS, False),
        (rule(["*"], ["*"], ["*"]), Attributes("get", path="/api"), False),
    ],
)
def test_rules(given: Object, attributes: Attributes, allowed: bool) -> None:
    assert rule_allows(given, attributes) is allowed


def role(name: str, *rules: Object, namespace: str = "") -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "rules": list(rules)}


def binding(name: str, to: tuple[str, str], *subjects: Object) -> Object:
    return {"metadata": {"name": name}, "subjects": list(subjects), "roleRef": {"kind": to[0], "name": to[1]}}


def granted(user: User, namespace: str, objects: Mapping[Any, list[Object]]) -> Grants:
    def listed(kind: Kind, within: str | None = None) -> Iterable[Object]:
        return objects.get((kind, within), [])

    return grants_of(user, namespace, listed)


GET_PODS = rule(["get"], [""], ["pods"])
SUBJECT_BOB = {"kind": "ServiceAccount", "name": "bob", "namespace": "ns"}


def test_a_binding_in_a_namespace_holds_there_only() -> None:
    objects = {
        (ROLE_BINDING, "ns"): [binding("b", ("ClusterRole", "r"), {"kind": "ServiceAccount", "name": "bob"})],
        (CLUSTER_ROLE, None): [role("r", GET_PODS)],
    }
    inside = granted(BOB, "ns", objects)
    assert inside.allow(PODS)
    assert inside.reason(PODS) == ('RBAC: allowed by RoleBinding "b/ns" of ClusterRole "r" to ServiceAccount "bob/ns"')
    assert not granted(BOB, "other", objects).allow(PODS)
    assert not granted(BOB, "", objects).allow(PODS)
    assert not granted(User("bob", ()), "ns", objects).allow(PODS)


@pytest.mark.parametrize(
    ("subject", "user"),
    [
        ({"kind": "User", "name": "jane"}, User("jane")),
        ({"kind": "Group", "name": "devs"}, User("x", ("devs",))),
        (SUBJECT_BOB, BOB),
    ],
)
def test_subjects_of_a_binding_in_the_cluster(subject: Object, user: User) -> None:
    objects = {
        (CLUSTER_ROLE_BINDING, None): [binding("b", ("ClusterRole", "r"), subject)],
        (CLUSTER_ROLE, None): [role("r", GET_PODS)],
    }
    assert granted(user, "", objects).allow(PODS)
    assert not granted(User("somebody", ("else",)), "", objects).allow(PODS)


def test_a_role_that_is_not_there_is_told() -> None:
    objects = {(ROLE_BINDING, "ns"): [binding("b", ("Role", "r"), SUBJECT_BOB)], (ROLE, "ns"): [role("other")]}
    reason = granted(BOB, "ns", objects).reason(PODS)
    assert reason == 'RBAC: role.rbac.authorization.k8s.io "r" not found'
    message = forbidden(replace(PODS, namespace="ns"), BOB.name, reason).body["message"]
    assert message.endswith(f'cannot get resource "pods" in API group "" in the namespace "ns": {reason}')


def test_what_the_default_roles_allow() -> None:
    objects: dict[tuple[Kind, str | None], list[Object]] = {}
    for kind, obj in default_access():
        objects.setdefault((kind, None), []).append(obj)
    known = User("jane", (AUTHENTICATED,))
    for user, path, allowed in [
        (ANONYMOUS, "/version", True),
        (ANONYMOUS, "/healthz", True),
        (ANONYMOUS, "/apis", False),
        (known, "/apis/apps/v1", True),
        (known, "/openapi/v3", True),
        (known, "/metrics", False),
        (ADMIN, "/metrics", True),
    ]:
        assert granted(user, "", objects).allow(Attributes("get", path=path)) is allowed, (user.name, path)
    assert not granted(known, "ns", objects).allow(PODS)


def test_admin_has_what_edit_has_and_edit_what_view_has() -> None:
    roles = {obj["metadata"]["name"]: obj for kind, obj in default_access() if kind == CLUSTER_ROLE}

    def may(name: str, verb: str, resource: str, group: str = "") -> bool:
        return any(rule_allows(given, Attributes(verb, group, resource)) for given in roles[name]["rules"])

    assert [name for name in ("view", "edit", "admin") if may(name, "list", "pods")] == ["view", "edit", "admin"]
    assert [name for name in ("view", "edit", "admin") if may(name, "get", "secrets")] == ["edit", "admin"]
    rbac = "rbac.authorization.k8s.io"
    assert [name for name in ("view", "edit", "admin") if may(name, "create", "roles", rbac)] == ["admin"]
    assert all(aggregated(given, roles.values()) is None for given in roles.values())


def test_a_role_is_put_together_from_those_with_its_labels() -> None:
    labelled = role("more", GET_PODS) | {"metadata": {"name": "more", "labels": {f"{AGGREGATE_TO}view": "true"}}}
    selector = {"matchLabels": {f"{AGGREGATE_TO}view": "true"}}
    view = role("view") | {"aggregationRule": {"clusterRoleSelectors": [selector]}}
    found = aggregated(view, [view, labelled, role("other", GET_PODS)])
    assert found is not None
    assert found["rules"] == [GET_PODS]
    assert aggregated(found, [found, labelled]) is None
    assert aggregated(labelled, [view, labelled]) is None


def test_nobody_is_impersonated_without_a_header() -> None:
    assert wanted_user([("Accept", "x")]) is None
    with pytest.raises(ApiFailure, match="without impersonating a user name") as caught:
        wanted_user([("Impersonate-Group", "g")])
    assert caught.value.code == 400
    assert 'Groups:[]string{"g"}' in caught.value.body["message"]


HEADERS = [
    ("impersonate-user", "jane"),
    ("Impersonate-Group", "a"),
    ("Impersonate-Group", "b"),
    ("Impersonate-Uid", "7"),
    ("Impersonate-Extra-Some%2fThing", "x"),
]


def test_the_wanted_user_is_read_from_headers() -> None:
    assert wanted_user(HEADERS) == User("jane", ("a", "b"), "7", (("some/thing", ("x",)),))


@pytest.mark.parametrize(
    ("wanted", "groups"),
    [
        (User("jane"), (AUTHENTICATED,)),
        (User("jane", ("a",)), ("a", AUTHENTICATED)),
        (User("system:anonymous"), ("system:unauthenticated",)),
        (User("system:serviceaccount:n:a"), ("system:serviceaccounts", "system:serviceaccounts:n", AUTHENTICATED)),
        (User("system:serviceaccount:n:a", ("g",)), ("g", AUTHENTICATED)),
        (User("system:node:n1"), (NODES, AUTHENTICATED)),
    ],
)
def test_groups_of_the_impersonated(wanted: User, groups: tuple[str, ...]) -> None:
    assert impersonated("admin", wanted, PODS, lambda _: True).groups == groups


def test_each_thing_that_is_impersonated_takes_a_right() -> None:
    asked: list[tuple[str, str, str]] = []

    def allows(attributes: Attributes) -> bool:
        asked.append((attributes.verb, attributes.resource, attributes.name))
        return attributes.verb == "impersonate"

    wanted = wanted_user(HEADERS)
    assert wanted is not None
    assert impersonated("admin", wanted, PODS, allows).name == "jane"
    assert asked == [
        ("impersonate-on:user-info:get", "pods", ""),
        ("impersonate", "users", "jane"),
        ("impersonate", "uids", "7"),
        ("impersonate", "groups", "a"),
        ("impersonate", "groups", "b"),
        ("impersonate", "userextras", "x"),
    ]


@pytest.mark.parametrize(
    ("rights", "refused"),
    [
        ({"impersonate:serviceaccount", "impersonate-on:serviceaccount:get"}, ""),
        ({"impersonate:serviceaccount"}, "cannot impersonate-on:serviceaccount:get resource"),
        ({"impersonate-on:serviceaccount:get"}, 'cannot impersonate:serviceaccount resource "serviceaccounts"'),
        (set[str](), "cannot impersonate-on:serviceaccount:get resource"),
    ],
)
def test_the_right_to_be_a_service_account_for_one_thing(rights: set[str], refused: str) -> None:
    def attempt() -> Any:
        wanted = User("system:serviceaccount:n:a")
        return impersonated("bob", wanted, PODS, lambda attributes: attributes.verb in rights)

    if not refused:
        assert attempt().name == "system:serviceaccount:n:a"
        return
    with pytest.raises(ApiFailure) as caught:
        attempt()
    assert refused in caught.value.body["message"]


def test_nobody_becomes_a_master_by_the_rights_for_one_thing() -> None:
    with pytest.raises(ApiFailure):
        impersonated("bob", User("x", ("system:masters",)), PODS, lambda needed: needed.verb != "impersonate")
