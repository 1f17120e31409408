"""What each part of the platform may do in the cluster: what it does, and nothing else."""

import asyncio
from pathlib import Path

import pytest

from simulator.cluster_access import ClusterAccess, grant_access
from simulator.errors import KubeError
from simulator.gpuunit import ACTIVE_NAMESPACE, STOCK_NAMESPACE
from simulator.kube.access.attributes import Attributes
from simulator.kube.access.authorization import Authorizer
from simulator.kube.access.default_roles import default_access
from simulator.kube.access.platform_roles import (
    ACCESS,
    PLATFORM_NAMESPACE,
    RECONCILER_LEASE,
    Part,
    part_user,
    platform_access,
)
from simulator.kube.access.rbac import rule_allows
from simulator.kube.access.users import AUTHENTICATED, User
from simulator.kube.kinds import CLUSTER_ROLE, GPUUNIT, POD, ROLE_BINDING, SECRET
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.platform import Platform

UNITS = ("runtime.lokiwager.io", "gpuunits")
ELSEWHERE = "default"


@pytest.fixture
def authorizer() -> Authorizer:
    store = ResourceStore()
    for kind, obj in default_access():
        store.create(kind, obj)
    grant_access(store)
    return Authorizer(store)


GROUPS = {
    "gpuunits": UNITS[0],
    "deployments": "apps",
    "networkpolicies": "networking.k8s.io",
    "leases": "coordination.k8s.io",
}


def may(
    authorizer: Authorizer, part: Part, verb: str, resource: str, namespace: str = ACTIVE_NAMESPACE, name: str = ""
) -> bool:
    """Whether a part may do something with a resource such as `deployments` or `pods/status`."""
    plural, _, subresource = resource.partition("/")
    attributes = Attributes(verb, GROUPS.get(plural, ""), plural, subresource, namespace, name)
    return authorizer.allows(part_user(part), attributes)


@pytest.mark.parametrize(
    ("verb", "resource", "parts"),
    [
        ("get", "secrets", {Part.ISSUER, Part.KUBELET}),
        ("create", "secrets", {Part.ISSUER}),
        ("create", "pods", {Part.KUBELET}),
        ("update", "pods/status", {Part.KUBELET}),
        ("create", "pods/exec", set()),
        ("watch", "gpuunits", {Part.RECONCILER, Part.ACTIVATOR, Part.API, Part.ISSUER}),
        ("create", "gpuunits", {Part.ACTIVATOR, Part.API}),
        ("patch", "gpuunits", {Part.ACTIVATOR}),
        ("update", "gpuunits", {Part.API}),
        ("patch", "gpuunits/status", {Part.RECONCILER}),
        ("create", "deployments", {Part.RECONCILER}),
        ("delete", "services", {Part.RECONCILER}),
        ("delete", "networkpolicies", set()),
        ("delete", "deployments", set()),
        ("update", "deployments", {Part.KUBELET}),
        ("create", "serviceaccounts/token", set()),
        ("get", "configmaps", {Part.KUBELET}),
        ("deletecollection", "gpuunits", set()),
        ("create", "clusterroles", set()),
        ("impersonate", "users", set()),
        ("delete", "namespaces", set()),
    ],
)
def test_who_may(authorizer: Authorizer, verb: str, resource: str, parts: set[Part]) -> None:
    assert {part for part in Part if may(authorizer, part, verb, resource)} == parts


@pytest.mark.parametrize("part", [Part.ACTIVATOR, Part.API])
def test_some_may_in_one_namespace_only(authorizer: Authorizer, part: Part) -> None:
    for namespace, allowed in ((ACTIVE_NAMESPACE, True), (ELSEWHERE, False), ("", False)):
        assert may(authorizer, part, "list", "gpuunits", namespace) is allowed


@pytest.mark.parametrize("namespace", [PLATFORM_NAMESPACE, "kube-system", ELSEWHERE, ""])
def test_where_no_units_are_the_platform_looks_on(authorizer: Authorizer, namespace: str) -> None:
    """Nobody reaches the platform's own keys there, neither by reading Secrets nor by a pod that mounts them."""
    written = ("deployments", "services", "networkpolicies", "secrets", "events", "leases", "pods", "gpuunits")
    verbs = ("create", "update", "patch", "delete", "deletecollection")
    wanted = [(verb, resource) for verb in verbs for resource in written]
    wanted += [(verb, "secrets") for verb in ("get", "list", "watch")]
    for part in set(Part) - {Part.KUBELET}:
        assert [each for each in wanted if may(authorizer, part, *each, namespace)] == [], part
    assert may(authorizer, Part.RECONCILER, "patch", "gpuunits/status", namespace)  # it says why nothing happens


def test_stock_is_no_affair_of_those_who_serve_calls(authorizer: Authorizer) -> None:
    assert may(authorizer, Part.RECONCILER, "create", "deployments", STOCK_NAMESPACE)
    for part in (Part.ACTIVATOR, Part.API, Part.ISSUER):
        assert not may(authorizer, part, "list", "gpuunits", STOCK_NAMESPACE)
    assert not may(authorizer, Part.ISSUER, "get", "secrets", STOCK_NAMESPACE)


def test_the_reconciler_has_one_lease(authorizer: Authorizer) -> None:
    def allowed(verb: str, name: str) -> bool:
        return may(authorizer, Part.RECONCILER, verb, "leases", name=name)

    assert [verb for verb in ("get", "update", "patch", "delete") if allowed(verb, RECONCILER_LEASE)] == [
        "get",
        "update",
    ]
    assert [verb for verb in ("get", "list", "update") if allowed(verb, "another")] == []


def test_no_part_has_a_rule_for_everything() -> None:
    rules = [given for grants in ACCESS.values() for grant in grants for given in grant.rules]
    assert not [given for given in rules if any("*" in values for values in given.values())]


def test_the_service_accounts_are_in_the_namespace_that_is_named() -> None:
    bindings = [obj for kind, obj in platform_access("elsewhere") if "subjects" in obj]
    assert {subject["name"] for obj in bindings for subject in obj["subjects"]} == set(Part)
    assert {subject["namespace"] for obj in bindings for subject in obj["subjects"]} == {"elsewhere"}
    local = [obj for kind, obj in platform_access() if kind == ROLE_BINDING]
    assert {obj["metadata"]["namespace"] for obj in local} == {ACTIVE_NAMESPACE, STOCK_NAMESPACE}


async def test_people_with_the_usual_roles_may_handle_units() -> None:
    store = ResourceStore()
    grant_access(store)
    async with KubeServer(store):
        for role, verb, allowed in [
            ("view", "list", True),
            ("view", "create", False),
            ("edit", "create", True),
            ("admin", "delete", True),
        ]:
            await asyncio.sleep(0)  # the roles are put together
            rules = store.get(CLUSTER_ROLE, role)["rules"]
            assert any(rule_allows(given, Attributes(verb, *UNITS)) for given in rules) is allowed, (role, verb)


async def test_a_part_that_oversteps_is_refused(tmp_path: Path) -> None:
    store = ResourceStore()
    grant_access(store)
    async with KubeServer(store) as server:
        access = ClusterAccess(server, tmp_path / "kubeconfigs")
        async with access.connect(Part.API) as api:
            await api.list(GPUUNIT, ACTIVE_NAMESPACE)
            refused = (
                'secrets is forbidden: User "system:serviceaccount:gpuunit-sim:api" cannot list resource "secrets" in '
                f'API group "" in the namespace "{ACTIVE_NAMESPACE}"'
            )
            with pytest.raises(KubeError) as caught:
                await api.list(SECRET, ACTIVE_NAMESPACE)
            assert str(caught.value) == refused
            for attempt in (api.list(GPUUNIT), api.delete(POD, "p", ACTIVE_NAMESPACE), api.get(SECRET, "s", "default")):
                with pytest.raises(KubeError, match="is forbidden"):
                    await attempt
        jane = User("jane", (AUTHENTICATED,))
        for part in Part:
            assert server.credentials.token(part_user(part)) != server.credentials.token(jane)
        assert len({access.kubeconfig(part).read_text() for part in Part}) == len(Part)
        assert {access.kubeconfig(part).stat().st_mode & 0o777 for part in Part} == {0o600}


@pytest.mark.e2e
@pytest.mark.platform(activators=0)
async def test_the_kubeconfig_of_a_part_is_not_the_administrators(platform: Platform) -> None:
    assert platform.kubeconfig_for("api") != platform.kubeconfig
    assert str(platform.kubeconfig_for("activator")).startswith(str(platform.directory))
    with pytest.raises(ValueError, match="administrator"):
        platform.kubeconfig_for("administrator")
