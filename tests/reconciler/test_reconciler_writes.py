"""What the running reconciler writes, and what of others it leaves: on an API that fills in defaults (C2, C10)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from simulator.gpuunit import UNIT_LABEL
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, NETWORK_POLICY, POD, SERVICE, Object
from simulator.reconciler.settings import ReconcilerSettings

if TYPE_CHECKING:
    from tests.reconciler.conftest import MakeUnit, World

NAMESPACE = "runtime-instance"
KEY = (NAMESPACE, "u1")
SPEC: dict[str, Any] = {
    "memory": "1024Mi",
    "gpu": 1,
    "serverless": {"requestID": "tts"},
    "template": {"ports": [{"name": "http", "port": 8080}], "envs": [{"name": "A", "value": ""}]},
}
ALL = ((GPUUNIT, "u1"), (SERVICE, "unit-u1"), (NETWORK_POLICY, "egress-u1"), (DEPLOYMENT, "u1"))


def deployment_where(holds: Callable[[Object], bool]) -> Callable[[Informer], Object | None]:
    def find(deployments: Informer) -> Object | None:
        deployment = deployments.get(*KEY)
        return deployment if deployment and holds(deployment) else None

    return find


async def test_a_unit_is_made_with_as_few_writes_as_can_be(world: "World", make_unit: "MakeUnit") -> None:
    """C2: one apply for each object, and a status when it changes."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    assert [write for write in world.cluster.writes if write != ("create", GPUUNIT)] == [
        ("apply", SERVICE),
        ("apply", NETWORK_POLICY),
        ("apply", DEPLOYMENT),
        ("patch status", GPUUNIT),
    ]


async def test_resyncs_write_nothing(world: "World", make_unit: "MakeUnit", settings: ReconcilerSettings) -> None:
    """C2, C3: not though defaults were filled in, nor though others added things; every version and time stays."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.make_available()
    before = await world.unit_with("UnitReady")
    note = {"metadata": {"annotations": {"note": "by hand"}}}
    for kind, name in ALL:
        await world.cluster.patch(kind, name, note, NAMESPACE)
    versions = await world.versions(ALL)
    written = [await world.writes_of_another_reconciler(settings, *KEY) for _ in range(3)]
    assert written == [[], [], []]
    assert await world.versions(ALL) == versions
    after = await world.cluster.get(GPUUNIT, "u1", NAMESPACE)
    assert after["status"] == before["status"]


async def test_what_others_add_outlives_a_change_of_the_unit(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    tolerations = [{"key": "gpu", "operator": "Exists"}]
    restarted = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    added = {"template": {**restarted, "spec": {"tolerations": tolerations}}}
    await world.cluster.patch(DEPLOYMENT, "u1", {"metadata": {"annotations": {"a": "b"}}, "spec": added}, NAMESPACE)
    await world.cluster.patch(GPUUNIT, "u1", {"spec": {"image": "example/tts:4"}}, NAMESPACE)
    deployment = await world.object_with(DEPLOYMENT, deployment_where(lambda live: "tts:4" in str(live["spec"])))
    assert deployment["metadata"]["annotations"]["a"] == "b"
    template = deployment["spec"]["template"]
    assert template["metadata"]["annotations"] == restarted["metadata"]["annotations"]
    assert template["spec"]["tolerations"] == tolerations


@pytest.mark.parametrize(
    "strategy", [{"type": "RollingUpdate"}, {"rollingUpdate": {"maxSurge": 2}, "type": "RollingUpdate"}]
)
async def test_a_deployment_that_is_to_roll_is_put_right(
    world: "World", make_unit: "MakeUnit", strategy: Object
) -> None:
    """C10: two pods at once would share a worker's identity; what the server adds for rolling goes, too."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    rolls = await world.cluster.patch(DEPLOYMENT, "u1", {"spec": {"strategy": strategy}}, NAMESPACE)
    assert rolls["spec"]["strategy"]["rollingUpdate"]
    recreated = deployment_where(lambda live: live["spec"]["strategy"] == {"type": "Recreate"})
    assert await world.object_with(DEPLOYMENT, recreated)


async def test_status_that_others_wrote_is_written_over(
    world: "World", make_unit: "MakeUnit", settings: ReconcilerSettings
) -> None:
    await world.create(make_unit(**SPEC))
    wanted = (await world.unit_with("UnitProgressing"))["status"]
    foreign = {"phase": "Ready", "accessURL": None, "serverless": {"phase": "Ready", "dispatchSubject": "other"}}
    await world.cluster.patch_status(GPUUNIT, "u1", {"status": foreign}, NAMESPACE)

    def restored(units: Informer) -> Object | None:
        unit = units.get(*KEY)
        return unit if unit and unit["status"] | {"lastSyncTime": ""} == wanted | {"lastSyncTime": ""} else None

    assert await world.units.wait_for(restored, 10)
    assert await world.writes_of_another_reconciler(settings, *KEY) == []


async def test_no_pod_of_a_unit_has_a_token(world: "World", make_unit: "MakeUnit") -> None:
    """An API with admission adds one to every pod that does not say no: user code is to have none."""
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitProgressing")
    await world.make_pod({"phase": "Pending"})
    pod = await world.cluster.get(POD, "u1-pod", NAMESPACE)
    assert pod["spec"]["serviceAccountName"] == "default"  # admission was there
    assert "serviceaccount" not in str(pod["spec"]["containers"] + pod["spec"]["initContainers"]).lower()
    assert not [volume for volume in pod["spec"]["volumes"] if "projected" in volume]

    other = {"metadata": {"name": "other", "namespace": NAMESPACE}, "spec": {"containers": pod["spec"]["containers"]}}
    other["spec"]["volumes"] = pod["spec"]["volumes"]
    assert "projected" in str(await world.cluster.create(POD, other))  # which it gets else


async def test_an_object_of_a_foreign_owner_is_never_taken_over(world: "World", make_unit: "MakeUnit") -> None:
    """Not even one that bears the unit's label, and would let itself be applied over."""
    labels = {UNIT_LABEL: "u1"}
    foreign = {
        "metadata": {"name": "unit-u1", "namespace": NAMESPACE, "labels": labels},
        "spec": {"ports": [{"port": 1}]},
    }
    before = await world.cluster.create(SERVICE, foreign)
    await world.create(make_unit(**SPEC))
    await world.unit_with("UnitServiceSyncFailed")
    assert await world.cluster.get(SERVICE, "unit-u1", NAMESPACE) == before
