"""`unitsim kube install` and `uninstall` on the embedded API: what they do, leave alone, and complain of."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulator.errors import ConflictError, KubeError, UsageError, WaitTimeoutError
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.install.installation import apply_all, platform_objects, wait_ready
from simulator.install.manifests import manifests, namespaces
from simulator.install.names import PART_OF_LABEL, PLATFORM
from simulator.install.removal import find_remains, remove
from simulator.install.settings import InstallSettings
from simulator.install.target import TargetCluster, target_cluster
from simulator.kube.client import Cluster
from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    NAMESPACE,
    SECRET,
    Object,
)
from tests.install.embedded import CONTEXT, applies_definitions, embedded_cluster, everything_runs
from tests.install.fixed_keys import fixed_keys

pytestmark = pytest.mark.timeout(100)

SETTINGS = InstallSettings()


def silent(_text: str) -> None:
    """Tell nobody."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with embedded_cluster(tmp_path / "kubeconfig") as cluster:
        yield cluster


@pytest.fixture
async def target(cluster: Cluster, tmp_path: Path) -> AsyncIterator[TargetCluster]:
    async with target_cluster(tmp_path / "kubeconfig", CONTEXT) as target:
        yield target


def some_objects() -> list[Object]:
    """All but the GPUUnit resource."""
    return [obj for obj in manifests(SETTINGS, fixed_keys()) if obj["kind"] != CUSTOM_RESOURCE_DEFINITION.kind]


async def test_an_object_is_created_then_left_alone_then_changed(target: TargetCluster) -> None:
    objects = [*namespaces(SETTINGS), some_objects()[-1]]
    for expected in ("created", "unchanged"):
        outcomes = {applied.object: applied.outcome for applied in await apply_all(target, objects, silent)}
        assert outcomes["poddisruptionbudget/gpuunit-sim-results"] == expected
    objects[-1]["spec"]["maxUnavailable"] = 2
    assert (await apply_all(target, objects, silent))[-1].outcome == "changed"


async def test_a_dry_run_keeps_nothing(target: TargetCluster) -> None:
    done = await apply_all(target, some_objects(), silent, dry_run=True)
    counted = Counter(applied.outcome for applied in done)
    assert counted["unchecked"] > 30
    assert counted["created"] > 5
    assert await target.list(DEPLOYMENT) == []
    assert not [role for role in await target.list(CLUSTER_ROLE) if role["metadata"]["name"].startswith(PLATFORM)]


async def test_a_dry_run_over_what_is_there_checks_all_of_it(target: TargetCluster) -> None:
    await apply_all(target, some_objects(), silent)
    done = await apply_all(target, some_objects(), silent, dry_run=True)
    assert {applied.outcome for applied in done} == {"unchanged"}


async def test_the_keys_that_are_there_stay(target: TargetCluster) -> None:
    await apply_all(target, some_objects(), silent)
    again = await platform_objects(target, SETTINGS)
    assert [obj for obj in again if obj["kind"] == "Secret"] == [
        obj for obj in manifests(SETTINGS, fixed_keys()) if obj["kind"] == "Secret"
    ]


async def test_a_field_of_somebody_else_is_not_taken_unless_wanted(target: TargetCluster, cluster: Cluster) -> None:
    objects = some_objects()
    await apply_all(target, objects, silent)
    name, namespace = "gpuunit-sim-kubeconfig", SETTINGS.namespace
    await cluster.patch(CONFIG_MAP, name, {"data": {"kubeconfig": "theirs"}}, namespace)
    with pytest.raises(ConflictError) as refused:
        await apply_all(target, objects, silent)
    assert f"configmap/{name}" in str(refused.value)
    assert "--force-conflicts" in str(refused.value)
    await apply_all(target, objects, silent, force=True)
    assert (await target.get(CONFIG_MAP, name, namespace))["data"]["kubeconfig"] != "theirs"


async def test_a_refusal_names_the_object(target: TargetCluster) -> None:
    objects = some_objects()
    objects[-1]["spec"]["maxUnavailable"] = []
    with pytest.raises(KubeError, match=r"^poddisruptionbudget/gpuunit-sim-results: "):
        await apply_all(target, objects, silent)


async def test_a_namespace_of_somebody_else_is_not_touched(target: TargetCluster, cluster: Cluster) -> None:
    await cluster.patch(NAMESPACE, ACTIVE_NAMESPACE, {"metadata": {"labels": {PART_OF_LABEL: None}}})
    with pytest.raises(UsageError) as refused:
        await platform_objects(target, SETTINGS)
    assert f"kubectl label namespace {ACTIVE_NAMESPACE} {PART_OF_LABEL}={PLATFORM}" in str(refused.value)


async def test_there_is_one_platform_in_a_cluster(target: TargetCluster) -> None:
    await apply_all(target, namespaces(SETTINGS), silent)
    with pytest.raises(UsageError, match="already, in namespace gpuunit-sim"):
        await platform_objects(target, InstallSettings(namespace="another"))


async def test_keys_that_are_none_are_not_replaced(target: TargetCluster, cluster: Cluster) -> None:
    await apply_all(target, some_objects(), silent)
    await cluster.patch(SECRET, "gpuunit-sim-keys", {"data": {"operator.nk": None}}, SETTINGS.namespace)
    with pytest.raises(UsageError, match="does not hold them"):
        await platform_objects(target, SETTINGS)


async def test_it_is_waited_for_until_all_runs(target: TargetCluster, cluster: Cluster) -> None:
    told: list[str] = []
    async with everything_runs(cluster):
        await apply_all(target, some_objects(), silent)
        await wait_ready(target, some_objects(), told.append, 30)
    ready = {line.split()[1] for line in told if line.startswith("ready ")}
    assert ready == {
        "statefulset/nats",
        *(f"deployment/gpuunit-sim-{part}" for part in ("api", "activator", "reconciler", "issuer", "results")),
    }


async def test_what_runs_already_is_not_told_as_missing_first(target: TargetCluster, cluster: Cluster) -> None:
    told: list[str] = []
    async with everything_runs(cluster):
        await apply_all(target, some_objects(), silent)
        await wait_ready(target, some_objects(), silent, 30)
    await wait_ready(target, some_objects(), told.append, 30)
    assert len(told) == 6
    assert all(line.startswith("ready ") for line in told)


async def test_what_does_not_come_to_run_is_named(target: TargetCluster) -> None:
    await apply_all(target, some_objects(), silent)
    with pytest.raises(WaitTimeoutError) as refused:
        await wait_ready(target, some_objects(), silent, 0.5)
    assert "deployment/gpuunit-sim-api (" in str(refused.value)
    assert "what is there stays" in str(refused.value)


@applies_definitions
async def test_installed_and_taken_out_nothing_is_left(target: TargetCluster, cluster: Cluster) -> None:
    before = {obj["metadata"]["name"] for obj in await cluster.list(CLUSTER_ROLE)}
    async with everything_runs(cluster):
        objects = await platform_objects(target, SETTINGS)
        done = await apply_all(target, objects, silent)
        await wait_ready(target, objects, silent, 30)
    assert Counter(applied.outcome for applied in done) == {"created": len(objects) - 2, "changed": 2}
    assert {applied.outcome for applied in await apply_all(target, objects, silent)} == {"unchanged"}
    remains = await find_remains(target)
    names = list(remains.names())
    assert {"namespace/gpuunit-sim", "customresourcedefinition/gpuunits.runtime.lokiwager.io"} <= set(names)
    told: list[str] = []
    await remove(target, remains, told.append, 30)
    assert [line.split()[1] for line in told] == names
    assert list((await find_remains(target)).names()) == []
    assert {obj["metadata"]["name"] for obj in await cluster.list(CLUSTER_ROLE)} == before
    assert await cluster.list(SECRET, SETTINGS.namespace) == []
    assert await cluster.list(DEPLOYMENT) == []


async def test_where_nothing_is_there_is_nothing_to_take_out(target: TargetCluster, cluster: Cluster) -> None:
    await cluster.patch(NAMESPACE, ACTIVE_NAMESPACE, {"metadata": {"labels": {PART_OF_LABEL: None}}})
    assert list((await find_remains(target)).names()) == []
