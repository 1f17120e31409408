"""Coming into the embedded API: TLS, tokens, client certificates, roles that are stored, and questions about them."""

import json
import ssl
import stat
from pathlib import Path

import aiohttp
import pytest

from simulator.errors import KubeError
from simulator.kube.access.users import AUTHENTICATED, User
from simulator.kube.client import Cluster
from simulator.kube.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, CONFIG_MAP, POD, SECRET
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.kube.sessions import session_with

NS = "runtime-instance"
JANE = User("jane", ("devs", "ops", AUTHENTICATED))
RBAC = "apis/rbac.authorization.k8s.io/v1"
READER = {
    "metadata": {"name": "reader"},
    "rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]}],
}
BINDING = {
    "metadata": {"name": "reader"},
    "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "ops"}],
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
}


async def status_of(session: aiohttp.ClientSession, path: str, method: str = "GET") -> int:
    async with session.request(method, path) as response:
        await response.read()
        return response.status


@pytest.mark.parametrize("path", ["healthz", "readyz", "livez", "version"])
async def test_health_and_version_are_for_everybody(server: KubeServer, path: str) -> None:
    async with session_with(server, None) as session:
        assert await status_of(session, path) == 200


SECRETS = f"api/v1/namespaces/{NS}/secrets"


@pytest.mark.parametrize("authorization", ["", "Basic eDp5", "Bearer"])
async def test_a_stranger_gets_nothing(server: KubeServer, store: ResourceStore, authorization: str) -> None:
    """C8: the API is on a port that user code can connect to, and holds every worker's credentials."""
    store.create(SECRET, {"metadata": {"name": "s"}, "stringData": {"a": "hush"}}, NS)
    async with session_with(server, None, headers={"Authorization": authorization}) as session:
        for path in ("api", "apis", "api/v1", "api/v1/secrets", SECRETS, f"{SECRETS}/s", f"{SECRETS}?watch=1", ""):
            assert await status_of(session, path) == 403
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert await status_of(session, f"{SECRETS}/s", method) == 403
        async with session.get(f"{SECRETS}/s") as response:
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert (await response.json())["details"] == {"name": "s", "kind": "secrets"}
    assert [obj["metadata"]["name"] for obj in store.list(SECRET)] == ["s"]


@pytest.mark.parametrize("token", ["wrong", "€"])
async def test_a_token_that_is_nobodys(server: KubeServer, token: str) -> None:
    async with session_with(server, None, headers={"Authorization": f"Bearer {token}"}) as session:
        for path in ("api", SECRETS, "version"):
            async with session.get(path) as response:
                assert (response.status, (await response.json())["reason"]) == (401, "Unauthorized")


async def test_nothing_is_served_without_tls(server: KubeServer) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(server.url.replace("https", "http"))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(server.url)  # whoever does not know the authority


async def test_to_make_an_object_by_update_or_apply_takes_the_right_to_create(
    server: KubeServer, store: ResourceStore
) -> None:
    rules = [{"verbs": ["get", "update", "patch", "watch"], "apiGroups": ["*"], "resources": ["*"]}]
    store.create(CLUSTER_ROLE, {**READER, "rules": rules})
    store.create(CLUSTER_ROLE_BINDING, BINDING)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    applied = {"Content-Type": "application/apply-patch+yaml"}
    async with session_with(server, JANE) as session:
        put = await session.put("apis/coordination.k8s.io/v1/namespaces/runtime-instance/leases/l", json=lease)
        patch = await session.patch(
            "api/v1/namespaces/runtime-instance/configmaps/c?fieldManager=m", data=json.dumps(config), headers=applied
        )
        review = await session.post("apis/authentication.k8s.io/v1/watch/tokenreviews", json={})
    assert [put.status, patch.status, review.status] == [403, 403, 405]
    assert not store.holds(CONFIG_MAP, "c", NS)


@pytest.mark.parametrize("certificate", [False, True])
async def test_roles_that_are_stored_hold_at_once(
    server: KubeServer, store: ResourceStore, tmp_path: Path, certificate: bool
) -> None:
    """Also for the groups in a certificate, and only as long as they are there."""
    server.write_kubeconfig(tmp_path / "jane", JANE, certificate=certificate)
    async with Cluster(tmp_path / "jane", field_manager="tests") as cluster:
        with pytest.raises(KubeError, match='User "jane" cannot list resource "configmaps"'):
            await cluster.list(CONFIG_MAP)
        store.create(CLUSTER_ROLE, READER)
        store.create(CLUSTER_ROLE_BINDING, BINDING)
        await cluster.list(CONFIG_MAP)
        for kind in (SECRET, POD):
            with pytest.raises(KubeError, match="is forbidden"):
                await cluster.list(kind)
        store.delete(CLUSTER_ROLE_BINDING, "reader")
        with pytest.raises(KubeError, match="is forbidden"):
            await cluster.list(CONFIG_MAP)


async def test_a_certificate_of_another_server_is_refused(server: KubeServer, tmp_path: Path) -> None:
    own, other = server.credentials.certificate(JANE), KubeServer(ResourceStore()).credentials.certificate(JANE)
    authority = server.credentials.server.authority.decode()
    accepted = []
    for number, pair in enumerate((own, other)):
        file = tmp_path / f"{number}.pem"
        file.write_bytes(pair.key + pair.certificate)
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(file)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            try:
                accepted.append(await status_of(session, f"{server.url}/version"))
            except aiohttp.ClientError:
                accepted.append(0)
    assert accepted == [200, 0]


async def test_an_administrator_can_be_somebody_else(server: KubeServer) -> None:
    headers = {"Impersonate-User": "mallory"}
    async with session_with(server, headers=headers) as mallory, session_with(server, JANE, headers=headers) as jane:
        async with mallory.get(SECRETS) as response:
            assert 'User "mallory" cannot list' in (await response.json())["message"]
        assert await status_of(mallory, "apis") == 200
        async with jane.get("apis") as response:
            assert 'User "jane" cannot impersonate' in (await response.json())["message"]


async def test_an_aggregated_role_follows_its_parts(server: KubeServer, store: ResourceStore) -> None:
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    added = {"verbs": ["get"], "apiGroups": ["x.io"], "resources": ["foos"]}
    async with session_with(server) as session:
        part = {"metadata": {"name": "foos", "labels": label}, "rules": [added]}
        async with session.post(f"{RBAC}/clusterroles", json=part) as response:
            assert response.status == 201
        for name in ("view", "edit", "admin"):
            assert added in store.get(CLUSTER_ROLE, name)["rules"]
        assert await status_of(session, f"{RBAC}/clusterroles/foos", "DELETE") == 200
        assert added not in store.get(CLUSTER_ROLE, "admin")["rules"]


async def test_default_roles_that_were_changed_stay_so(store: ResourceStore) -> None:
    async with KubeServer(store) as first:
        store.delete(CLUSTER_ROLE_BINDING, "system:discovery")
        view = store.get(CLUSTER_ROLE, "view")
        assert {obj["metadata"]["name"] for obj in store.list(CLUSTER_ROLE)} >= {"admin", "cluster-admin", "edit"}
    async with KubeServer(store, credentials=first.credentials):
        assert store.get(CLUSTER_ROLE_BINDING, "system:discovery")["roleRef"]["name"] == "system:discovery"
        assert store.get(CLUSTER_ROLE, "view") == view


async def review(session: aiohttp.ClientSession, path: str, body: object) -> tuple[int, object]:
    async with session.post(path, json=body) as response:
        return response.status, (await response.json()).get("status")


AUTHORIZATION, AUTHENTICATION = "apis/authorization.k8s.io/v1", "apis/authentication.k8s.io/v1"
CAN_LIST = {"resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": NS}}


async def test_questions_about_access(server: KubeServer, store: ResourceStore) -> None:
    store.create(CLUSTER_ROLE, READER)
    store.create(CLUSTER_ROLE_BINDING, BINDING)
    reason = 'RBAC: allowed by ClusterRoleBinding "reader" of ClusterRole "reader" to Group "ops"'
    async with session_with(server, JANE) as jane, session_with(server) as admin:
        self_access = f"{AUTHORIZATION}/selfsubjectaccessreviews"
        assert await review(jane, self_access, {"spec": CAN_LIST}) == (201, {"allowed": True, "reason": reason})
        assert await review(admin, self_access, {"spec": CAN_LIST}) == (201, {"allowed": True})
        spec = {"user": "bob", **CAN_LIST}
        assert await review(jane, f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec}) == (403, "Failure")
        assert await review(admin, f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec}) == (201, {"allowed": False})
        local = f"{AUTHORIZATION}/namespaces/{NS}/localsubjectaccessreviews"
        spec["groups"] = ["ops"]
        assert await review(admin, local, {"spec": spec}) == (201, {"allowed": True, "reason": reason})
        _, rules = await review(jane, f"{AUTHORIZATION}/selfsubjectrulesreviews", {"spec": {"namespace": NS}})
    assert isinstance(rules, dict)
    assert READER["rules"][0] in rules["resourceRules"]  # type: ignore[index]
    assert rules["incomplete"] is False


@pytest.mark.parametrize(
    ("path", "spec", "code", "problem"),
    [
        ("selfsubjectaccessreviews", {}, 422, "exactly one of nonResourceAttributes or resourceAttributes"),
        (
            "selfsubjectaccessreviews",
            CAN_LIST | {"nonResourceAttributes": {}},
            422,
            "cannot be specified in combination",
        ),
        ("subjectaccessreviews", CAN_LIST, 422, "at least one of user or group must be specified"),
        ("namespaces/x/localsubjectaccessreviews", CAN_LIST | {"user": "u"}, 422, "must match metadata.namespace"),
        (
            "namespaces/x/localsubjectaccessreviews",
            {"user": "u", "nonResourceAttributes": {"path": "/", "verb": "get"}},
            422,
            "disallowed on this kind of request",
        ),
        ("selfsubjectrulesreviews", {}, 400, "no namespace on request"),
        ("localsubjectaccessreviews", {}, 404, "could not find"),
        ("namespaces/x/subjectaccessreviews", {}, 404, "could not find"),
    ],
)
async def test_questions_that_are_not_whole(
    server: KubeServer, path: str, spec: object, code: int, problem: str
) -> None:
    async with session_with(server) as admin, admin.post(f"{AUTHORIZATION}/{path}", json={"spec": spec}) as response:
        assert (response.status, problem in (await response.json())["message"]) == (code, True)


async def test_reviews_can_only_be_created(server: KubeServer) -> None:
    async with session_with(server) as admin:
        for method, path, code in [
            ("GET", "tokenreviews", 405),
            ("GET", "tokenreviews/x", 404),
            ("DELETE", "tokenreviews", 405),
        ]:
            assert await status_of(admin, f"{AUTHENTICATION}/{path}", method) == code
        async with admin.get(AUTHENTICATION) as response:
            found = (await response.json())["resources"]
    assert [(entry["name"], entry["verbs"], "storageVersionHash" in entry) for entry in found] == [
        ("selfsubjectreviews", ["create"], False),
        ("tokenreviews", ["create"], False),
    ]


async def test_who_a_client_is(server: KubeServer) -> None:
    info = {"username": "jane", "groups": list(JANE.groups)}
    async with session_with(server, JANE) as jane, session_with(server) as admin:
        assert await review(jane, f"{AUTHENTICATION}/selfsubjectreviews", {}) == (201, {"userInfo": info})
        token = server.credentials.token(JANE)
        _, told = await review(admin, f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": token}})
        assert told == {"authenticated": True, "user": info, "audiences": ["https://kubernetes.default.svc"]}
        for spec in ({"token": "x"}, {"token": token, "audiences": ["other"]}):
            _, told = await review(admin, f"{AUTHENTICATION}/tokenreviews", {"spec": spec})
            assert told == {"user": {}, "error": "invalid bearer token"}
        assert await review(jane, f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": token}}) == (403, "Failure")


@pytest.mark.parametrize("certificate", [False, True])
async def test_only_its_owner_may_read_a_kubeconfig(server: KubeServer, tmp_path: Path, certificate: bool) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    server.write_kubeconfig(path, JANE, certificate=certificate)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = json.loads(path.read_text())
    assert config["clusters"][0]["cluster"]["server"] == server.url
    [user] = config["users"]
    assert user["name"] == "jane"
    expected = {"client-certificate-data", "client-key-data"} if certificate else {"token"}
    assert set(user["user"]) == expected
