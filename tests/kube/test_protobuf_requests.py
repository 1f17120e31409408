"""Requests with bodies in Protocol Buffers, wherever the API reads one."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from simulator.kube.access.users import AUTHENTICATED, User
from simulator.kube.kinds import CONFIG_MAP, DEPLOYMENT, GPUUNIT, LEASE, NAMESPACE, POD, POD_DISRUPTION_BUDGET, Kind
from simulator.kube.schema.protobuf import MEDIA_TYPE
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from tests.kube.protobuf_bytes import envelope, number, part
from tests.kube.sessions import session_with

NS = "team"
HEADERS = {"Content-Type": MEDIA_TYPE}
LABELS = {"app": "web"}
CONTAINERS = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": CONTAINERS}
WEB = {"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}}
NAMED = part(1, part(1, "web") + part(3, NS))
AUTHORIZATION = "apis/authorization.k8s.io/v1"


@pytest.fixture
async def admin(server: KubeServer, store: ResourceStore) -> AsyncIterator[aiohttp.ClientSession]:
    store.create(NAMESPACE, {"metadata": {"name": NS}})
    async with session_with(server, headers=HEADERS) as session:
        yield session


def path_of(kind: Kind, name: str = "") -> str:
    prefix = "apis" if kind.group else "api"
    return f"{prefix}/{kind.api_version}/namespaces/{NS}/{kind.plural}/{name}".rstrip("/")


async def test_an_update(admin: aiohttp.ClientSession, store: ResourceStore) -> None:
    store.create(CONFIG_MAP, {"metadata": {"name": "web"}, "data": {"a": "b"}}, NS)
    body = envelope("v1", "ConfigMap", NAMED + part(2, part(1, "a") + part(2, "c")))
    async with admin.put(path_of(CONFIG_MAP, "web"), data=body) as response:
        assert response.status == 200
    assert store.get(CONFIG_MAP, "web", NS)["data"] == {"a": "c"}


async def test_a_status(admin: aiohttp.ClientSession, store: ResourceStore) -> None:
    store.create(DEPLOYMENT, WEB, NS)
    body = envelope("apps/v1", "Deployment", NAMED + part(3, number(1, 7) + number(2, 3)))
    async with admin.put(path_of(DEPLOYMENT, "web/status"), data=body) as response:
        assert response.status == 200
    stored = store.get(DEPLOYMENT, "web", NS)
    assert stored["status"] == {"observedGeneration": 7, "replicas": 3}
    assert stored["spec"]["replicas"] == 1


async def test_a_scale(admin: aiohttp.ClientSession, store: ResourceStore) -> None:
    store.create(DEPLOYMENT, WEB, NS)
    body = envelope("autoscaling/v1", "Scale", NAMED + part(2, number(1, 4)))
    async with admin.put(path_of(DEPLOYMENT, "web/scale"), data=body) as response:
        assert (response.status, (await response.json())["spec"]) == (200, {"replicas": 4})
    assert store.get(DEPLOYMENT, "web", NS)["spec"]["replicas"] == 4


async def test_a_binding_and_an_eviction(admin: aiohttp.ClientSession, store: ResourceStore) -> None:
    store.create(POD, {"metadata": {"name": "web", "labels": LABELS}, "spec": CONTAINERS}, NS)
    body = envelope("v1", "Binding", NAMED + part(2, part(1, "Node") + part(3, "node-1")))
    async with admin.post(path_of(POD, "web/binding"), data=body) as response:
        assert response.status == 201
    assert store.get(POD, "web", NS)["spec"]["nodeName"] == "node-1"
    asked = part(2, number(1, 7))  # deleteOptions: gracePeriodSeconds
    async with admin.post(
        path_of(POD, "web/eviction"), data=envelope("policy/v1", "Eviction", NAMED + asked)
    ) as response:
        assert response.status == 201
    assert store.get(POD, "web", NS)["metadata"]["deletionGracePeriodSeconds"] == 7


@pytest.mark.parametrize("kind", [CONFIG_MAP, LEASE, POD_DISRUPTION_BUDGET], ids=lambda kind: kind.kind)
async def test_options_of_a_delete(admin: aiohttp.ClientSession, store: ResourceStore, kind: Kind) -> None:
    store.create(kind, {"metadata": {"name": "web"}}, NS)
    other = envelope("v1", "DeleteOptions", part(2, part(1, "another uid")))
    async with admin.delete(path_of(kind, "web"), data=other) as response:
        assert response.status == 409
    dry = envelope("v1", "DeleteOptions", part(5, "All"))
    async with admin.delete(path_of(kind, "web"), data=dry) as response:
        assert response.status == 200
    assert store.holds(kind, "web", NS)
    async with admin.delete(
        path_of(kind, "web"), data=envelope("v1", "DeleteOptions", part(4, "Background"))
    ) as response:
        assert response.status == 200
    assert not store.holds(kind, "web", NS)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (envelope("v1", "DeleteOptions", part(1, "x")), "proto: wrong wireType = 2 for field GracePeriodSeconds"),
        (
            envelope("v1", "Pod", b""),
            'no kind "Pod" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111"',
        ),
    ],
)
async def test_options_that_cannot_be_read(admin: aiohttp.ClientSession, body: bytes, problem: str) -> None:
    async with admin.delete(path_of(CONFIG_MAP, "web"), data=body) as response:
        assert (response.status, (await response.json())["message"]) == (400, problem)


async def test_custom_resources_have_no_messages(admin: aiohttp.ClientSession) -> None:
    body = envelope(GPUUNIT.api_version, GPUUNIT.kind, NAMED)
    async with admin.post(path_of(GPUUNIT), data=body) as response:
        assert response.status == 415
    async with admin.patch(path_of(CONFIG_MAP, "web"), data=envelope("v1", "ConfigMap", NAMED)) as response:
        assert response.status == 415


async def test_a_review(admin: aiohttp.ClientSession) -> None:
    attributes = part(1, "default") + part(2, "list") + part(5, "pods") + part(7, "")
    extra = part(5, part(1, "k") + part(2, part(1, "v")))
    spec = part(1, attributes) + part(3, "jane") + part(4, "a") + extra
    body = envelope("authorization.k8s.io/v1", "SubjectAccessReview", part(2, spec))
    async with admin.post(f"{AUTHORIZATION}/subjectaccessreviews", data=body) as response:
        answered = await response.json()
        assert response.status == 201
    assert answered["status"] == {"allowed": False}
    assert answered["spec"] == {
        "resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"},
        "user": "jane",
        "groups": ["a"],
        "extra": {"k": ["v"]},
    }


async def test_whoever_may_not_ask_is_not_read(server: KubeServer) -> None:
    jane = User("jane", (AUTHENTICATED,))
    async with (
        session_with(server, jane, headers=HEADERS) as session,
        session.post(f"{AUTHORIZATION}/subjectaccessreviews", data=b"no envelope") as response,
    ):
        assert response.status == 403
