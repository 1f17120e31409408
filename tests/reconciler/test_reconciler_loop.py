"""The reconciler against the embedded API server: objects appear, follow, heal and go (contract 6)."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from simulator.errors import NotFoundError, PlatformError
from simulator.gpuunit import DRAINING_ANNOTATION, is_draining
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, NETWORK_POLICY, POD, SERVICE, Kind, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.reconciler import controller
from simulator.reconciler.controller import Reconciler
from simulator.reconciler.settings import ReconcilerSettings

if TYPE_CHECKING:
    from tests.reconciler.conftest import MakeUnit, World

NAMESPACE = "runtime-instance"
KEY = (NAMESPACE, "u1")
TIMEOUT_S = 10.0
SPEC: dict[str, Any] = {
    "serverless": {"requestID": "tts"},
    "template": {"ports": [{"name": "http", "port": 8080}]},
}
CHILDREN = ((SERVICE, "unit-u1"), (NETWORK_POLICY, "egress-u1"), (DEPLOYMENT, "u1"))


def container_status(state: Object, name: str = "serverless-sidecar") -> Object:
    """What a kubelet reports of a container."""
    fixed = {"image": "i:1", "imageID": "", "ready": False, "restartCount": 0}
    return {"name": name, "state": state, **fixed}


def successor(name: str, old: Object) -> Callable[[Informer], Object | None]:
    """Finds the object of this name that is not the old one, nor of the old one's owner."""

    def find(informer: Informer) -> Object | None:
        obj = informer.get(NAMESPACE, name)
        return obj if obj and old["metadata"]["uid"] not in str(obj["metadata"]) else None

    return find


async def test_a_unit_gets_its_objects(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SPEC))
    unit = await world.unit_with("UnitProgressing")
    for kind, name in CHILDREN:
        obj = await world.cluster.get(kind, name, NAMESPACE)
        [owner] = obj["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"]) == ("GPUUnit", "u1", unit["metadata"]["uid"])
        assert owner["controller"] is True
    assert unit["status"]["serviceName"] == "unit-u1"
    assert unit["status"]["serverless"]["phase"] == "Pending"


async def test_an_available_deployment_makes_the_unit_ready(world: "World", make_unit: "MakeUnit") -> None:
    """C2: on the way there, the status is written twice and no more."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.make_available()
    unit = await world.unit_with("UnitReady")
    assert unit["status"]["serverless"]["phase"] == "Ready"
    assert world.phases == ["", "Progressing", "Ready"]
    assert [write for write in world.cluster.writes if write[0] == "update"] == []


async def test_nothing_is_written_when_nothing_changed(
    world: "World", make_unit: "MakeUnit", settings: ReconcilerSettings
) -> None:
    """C2: looking again at a unit that is as it should be writes nothing and leaves every resource version alone."""
    await world.create(make_unit(**SPEC, memory="1024Mi"))
    await world.unit_with("UnitProgressing")
    await world.make_available()
    await world.unit_with("UnitReady")
    versions = await world.versions(((GPUUNIT, "u1"), *CHILDREN))
    assert await world.writes_of_another_reconciler(settings, *KEY) == []
    assert await world.versions(((GPUUNIT, "u1"), *CHILDREN)) == versions


async def test_a_failed_pod_fails_the_unit(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    await world.make_pod({"phase": "Running", "initContainerStatuses": [container_status(state)]})
    unit = await world.unit_with("PodStartupFailed")
    assert unit["status"]["phase"] == "Failed"
    assert unit["status"]["serverless"]["phase"] == "Failed"
    await world.cluster.delete(POD, "u1-pod", NAMESPACE, grace_period_s=0)
    await world.unit_with("UnitProgressing")


async def test_a_wrong_spec_fails_the_unit_until_it_is_corrected(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(serverless={"enabled": True}))
    unit = await world.unit_with("ServerlessConfigInvalid")
    assert unit["status"]["phase"] == "Failed"
    assert "requestID" in unit["status"]["conditions"][0]["message"]
    for kind, name in CHILDREN:
        with pytest.raises(NotFoundError):
            await world.cluster.get(kind, name, NAMESPACE)
    await world.cluster.patch(GPUUNIT, "u1", {"spec": SPEC}, NAMESPACE)
    unit = await world.unit_with("UnitProgressing")
    assert unit["status"]["observedGeneration"] == 2


async def test_a_changed_spec_reaches_the_deployment(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.cluster.patch(GPUUNIT, "u1", {"spec": {"image": "example/tts:4"}}, NAMESPACE)

    def with_new_image(deployments: Informer) -> Object | None:
        deployment = deployments.get(*KEY)
        return deployment if deployment and "example/tts:4" in str(deployment["spec"]) else None

    deployment = await world.object_with(DEPLOYMENT, with_new_image)
    assert deployment["metadata"]["generation"] == 2


async def test_a_scaled_deployment_is_put_right(world: "World", make_unit: "MakeUnit") -> None:
    """C10: not even by hand do two pods share a worker's identity."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.cluster.patch(DEPLOYMENT, "u1", {"spec": {"replicas": 3}}, NAMESPACE)

    def put_right(deployments: Informer) -> Object | None:
        deployment = deployments.get(*KEY)
        return deployment if deployment and deployment["metadata"]["generation"] == 3 else None

    assert (await world.object_with(DEPLOYMENT, put_right))["spec"]["replicas"] == 1


@pytest.mark.parametrize(("kind", "name"), CHILDREN, ids=lambda value: getattr(value, "kind", ""))
async def test_a_deleted_object_comes_back(world: "World", make_unit: "MakeUnit", kind: Kind, name: str) -> None:
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    old = await world.cluster.get(kind, name, NAMESPACE)
    await world.cluster.delete(kind, name, NAMESPACE)

    assert await world.object_with(kind, successor(name, old))


async def test_a_worker_becomes_a_template_and_a_worker_again(world: "World", make_unit: "MakeUnit") -> None:
    """A template runs no pod and has no address; its NetworkPolicy stays for the pod that may still be ending."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.make_available()
    await world.unit_with("UnitReady")
    await world.cluster.patch(GPUUNIT, "u1", {"spec": {"serverless": {"templateOnly": True}}}, NAMESPACE)
    unit = await world.unit_with("TemplateOnly")
    assert (unit["status"]["phase"], unit["status"]["serverless"]["phase"]) == ("Empty", "Disabled")
    assert not {"serviceName", "accessURL"} & unit["status"].keys()
    await world.gone(SERVICE, "unit-u1")
    deployment = await world.cluster.get(DEPLOYMENT, "u1", NAMESPACE)
    assert deployment["spec"]["replicas"] == 0
    await world.cluster.get(NETWORK_POLICY, "egress-u1", NAMESPACE)
    await world.make_unavailable()
    await world.cluster.patch(GPUUNIT, "u1", {"spec": {"serverless": {"templateOnly": None}}}, NAMESPACE)
    await world.unit_with("UnitProgressing")
    assert (await world.cluster.get(DEPLOYMENT, "u1", NAMESPACE))["spec"]["replicas"] == 1


async def test_a_draining_unit_keeps_its_pod(
    world: "World", make_unit: "MakeUnit", settings: ReconcilerSettings
) -> None:
    """A11: it is given no new work; what it runs goes on until it is deleted."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.make_available()
    await world.unit_with("UnitReady")
    draining = {"metadata": {"annotations": {DRAINING_ANNOTATION: "2026-03-04T05:06:07Z"}}}
    await world.cluster.patch(GPUUNIT, "u1", draining, NAMESPACE)
    versions = await world.versions(((GPUUNIT, "u1"), *CHILDREN))
    assert await world.writes_of_another_reconciler(settings, *KEY) == []
    assert await world.versions(((GPUUNIT, "u1"), *CHILDREN)) == versions
    unit = await world.cluster.get(GPUUNIT, "u1", NAMESPACE)
    assert (unit["status"]["phase"], is_draining(unit)) == ("Ready", True)


async def test_without_ports_the_service_goes(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.cluster.patch(GPUUNIT, "u1", {"spec": {"template": {"ports": None}}}, NAMESPACE)
    await world.gone(SERVICE, "unit-u1")

    def without_address(units: Informer) -> Object | None:
        unit = units.get(*KEY)
        return unit if unit and "accessURL" not in unit["status"] else None

    assert await world.units.wait_for(without_address, TIMEOUT_S)


async def test_a_deleted_units_objects_go_with_it(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.cluster.delete(GPUUNIT, "u1", NAMESPACE)
    for kind, name in ((GPUUNIT, "u1"), *CHILDREN):
        await world.gone(kind, name)


async def test_a_unit_of_the_same_name_gets_its_own_objects(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SPEC))
    old = await world.unit_with("UnitProgressing")
    await world.cluster.delete(GPUUNIT, "u1", NAMESPACE)
    await world.create(make_unit(**SPEC))

    for kind, name in CHILDREN:
        assert await world.object_with(kind, successor(name, old))


@pytest.mark.parametrize(
    ("kind", "reason", "made"),
    [
        (SERVICE, "UnitServiceSyncFailed", []),
        (NETWORK_POLICY, "UnitNetworkPolicySyncFailed", [SERVICE]),
        (DEPLOYMENT, "UnitDeploymentSyncFailed", [SERVICE, NETWORK_POLICY]),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
async def test_an_object_that_is_refused(
    world: "World", make_unit: "MakeUnit", kind: Kind, reason: str, made: list[Kind]
) -> None:
    """No Deployment without its policy; and it is tried again without anybody asking."""
    world.cluster.refused = frozenset({kind})
    await world.create(make_unit(**SPEC))
    unit = await world.unit_with(reason)
    assert unit["status"]["phase"] == unit["status"]["serverless"]["phase"] == "Failed"
    assert unit["status"]["conditions"][0]["message"] == f"no {kind.kind} today"
    assert [other for other, _ in CHILDREN if await world.cluster.list(other, NAMESPACE)] == made
    world.cluster.refused = frozenset()
    await world.unit_with("UnitProgressing")


async def test_somebody_elses_deployment_is_left_alone(
    world: "World", make_unit: "MakeUnit", settings: ReconcilerSettings
) -> None:
    foreign = {
        "metadata": {"name": "u1", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": {"app": "mine"}},
            "template": {
                "metadata": {"labels": {"app": "mine"}},
                "spec": {"containers": [{"name": "c", "image": "mine:1"}]},
            },
        },
    }
    before = await world.cluster.create(DEPLOYMENT, foreign)
    await world.create(make_unit(**SPEC))
    unit = await world.unit_with("UnitDeploymentSyncFailed")
    assert "does not belong to this unit" in unit["status"]["conditions"][0]["message"]
    assert await world.cluster.get(DEPLOYMENT, "u1", NAMESPACE) == before
    await world.cluster.delete(DEPLOYMENT, "u1", NAMESPACE)
    await world.unit_with("UnitProgressing")


async def test_no_api_server(tmp_path: Path, settings: ReconcilerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
    monkeypatch.setattr(controller, "SYNC_TIMEOUT_S", 0.1)
    async with Cluster(tmp_path / "kubeconfig", field_manager="test") as cluster:
        with pytest.RaisesGroup(pytest.RaisesExc(PlatformError, match="check that it runs")):
            await Reconciler(cluster, settings).run()
