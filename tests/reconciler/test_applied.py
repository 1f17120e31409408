"""What was applied stays as it is, and only that: told by the fields' owners, on an API that fills in defaults (C2)."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from simulator.errors import ConflictError
from simulator.kube.client import Cluster
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, NETWORK_POLICY, SERVICE, Kind, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.reconciler.applied_fields import is_as_applied
from simulator.reconciler.deployment import deployment_for
from simulator.reconciler.network_policy import network_policy_for
from simulator.reconciler.objects import FIELD_MANAGER, must_write
from simulator.reconciler.service import service_for
from simulator.reconciler.settings import ReconcilerSettings

NAMESPACE = "runtime-instance"
FULL: dict[str, Any] = {
    "memory": "1024Mi",
    "gpu": 1,
    "serverless": {"requestID": "tts"},
    "storageMounts": [{"name": "models", "mountPath": "/models"}],
    "template": {
        "ports": [{"name": "http", "port": 8080}],
        "envs": [{"name": "A", "value": ""}, {"name": "SERVERLESS_REQUEST_ID", "value": "mine"}],
    },
}
QUEUE = ReconcilerSettings(nats_url="nats://10.0.0.7:4222", worker_credentials=True)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        async with Cluster(tmp_path / "kubeconfig", field_manager="somebody") as client:
            yield client


@pytest.fixture
async def unit(cluster: Cluster) -> Object:
    """A unit that is there: objects without an owner would be collected."""
    metadata = {"name": "u1", "namespace": NAMESPACE}
    return await cluster.create(GPUUNIT, {"metadata": metadata, "spec": {"specName": "g1.1", **FULL}})


def with_spec(unit: Object, change: dict[str, Any]) -> Object:
    return {**unit, "spec": {**unit["spec"], **change}}


def children(unit: Object) -> list[tuple[Kind, Object]]:
    service = service_for(unit)
    assert service is not None
    return [
        (SERVICE, service),
        (NETWORK_POLICY, network_policy_for(unit, QUEUE)),
        (DEPLOYMENT, deployment_for(unit, QUEUE)),
    ]


async def apply(cluster: Cluster, kind: Kind, obj: Object) -> Object:
    return await cluster.apply(kind, obj, manager=FIELD_MANAGER, force=True)


async def test_what_the_server_adds_is_no_difference(cluster: Cluster, unit: Object) -> None:
    """C2: defaults, quantities in another form and empty values that were left out: nothing of it is written anew."""
    filled_in = []
    for kind, desired in children(unit):
        live = await apply(cluster, kind, desired)
        filled_in += [kind] if live["spec"] != desired["spec"] else []
        assert not must_write(live, desired), kind
        again = await apply(cluster, kind, desired)
        assert again["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    assert filled_in == [SERVICE, DEPLOYMENT]


async def test_what_was_applied_has_one_owner(cluster: Cluster, unit: Object) -> None:
    for kind, desired in children(unit):
        [entry] = (await apply(cluster, kind, desired))["metadata"]["managedFields"]
        assert (entry["manager"], entry["operation"]) == ("gpuunit-reconciler", "Apply")


@pytest.mark.parametrize(
    "change",
    [
        {"memory": "2Gi"},
        {"image": "other:1"},
        {"template": {"ports": [{"name": "http", "port": 8081}]}},
        {"serverless": {"requestID": "tts", "framework": {"invokePath": "/run"}}},
        {"serverless": {}},
    ],
)
async def test_another_wish_is_written(cluster: Cluster, unit: Object, change: dict[str, Any]) -> None:
    """C2: any change of the unit that shows in the Deployment, and nothing is left of the former wish."""
    live = await apply(cluster, DEPLOYMENT, deployment_for(unit, QUEUE))
    desired = deployment_for(with_spec(unit, change), QUEUE)
    assert must_write(live, desired)
    fresh = {**desired, "metadata": {**desired["metadata"], "name": "fresh"}}
    assert (await apply(cluster, DEPLOYMENT, desired))["spec"] == (await apply(cluster, DEPLOYMENT, fresh))["spec"]


def pod(change: Object) -> Object:
    return {"spec": {"template": {"spec": change}}}


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"replicas": 3}},
        {"metadata": {"labels": {"app.kubernetes.io/name": None}}},
        {"metadata": {"annotations": None}},
        {"metadata": {"managedFields": [{}]}},
        pod({"automountServiceAccountToken": True}),
        pod({"initContainers": None}),
        pod({"securityContext": {"fsGroup": 0}}),
    ],
    ids=str,
)
async def test_what_others_change_is_put_right(cluster: Cluster, unit: Object, patch: Object) -> None:
    """C10 holds against a hand that scales the Deployment, or has it roll, too."""
    desired = deployment_for(unit, QUEUE)
    before = await apply(cluster, DEPLOYMENT, desired)
    changed = await cluster.patch(DEPLOYMENT, "u1", patch, NAMESPACE)
    assert must_write(changed, desired)
    after = await apply(cluster, DEPLOYMENT, desired)
    assert not must_write(after, desired)
    assert after["spec"] == before["spec"]


@pytest.mark.parametrize(
    "patch",
    [
        {"metadata": {"annotations": {"team": "vision"}, "labels": {"team": "vision"}}},
        {"spec": {"minReadySeconds": 3}},
        {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "today"}}}}},
        pod({"tolerations": [{"key": "gpu", "operator": "Exists"}]}),
        pod({"nodeSelector": {"gpu": "a100"}}),
    ],
    ids=str,
)
async def test_what_others_add_stays(cluster: Cluster, unit: Object, patch: Object) -> None:
    """An annotation of kubectl's, a restart by `kubectl rollout restart`: no reason to write, and kept when we do."""
    await apply(cluster, DEPLOYMENT, deployment_for(unit, QUEUE))
    changed = await cluster.patch(DEPLOYMENT, "u1", patch, NAMESPACE)
    assert not must_write(changed, deployment_for(unit, QUEUE))
    after = await apply(cluster, DEPLOYMENT, deployment_for(with_spec(unit, {"image": "other:1"}), QUEUE))
    assert covers(after, patch)


def covers(obj: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(covers(obj[name], value) for name, value in part.items())
    return bool(obj == part)


async def test_an_apply_is_for_the_very_object_that_was_seen(cluster: Cluster, unit: Object) -> None:
    """The name may be another's by now: neither that one is taken over, nor is one made."""
    desired = deployment_for(unit, QUEUE)
    await apply(cluster, DEPLOYMENT, desired)
    for name in ("u1", "absent"):
        metadata = {**desired["metadata"], "name": name, "uid": "of-an-earlier-one"}
        with pytest.raises(ConflictError):
            await apply(cluster, DEPLOYMENT, {**desired, "metadata": metadata})
    assert [obj["metadata"]["name"] for obj in await cluster.list(DEPLOYMENT)] == ["u1"]


async def test_without_force_anothers_field_is_a_conflict(cluster: Cluster, unit: Object) -> None:
    desired = deployment_for(unit, QUEUE)
    await apply(cluster, DEPLOYMENT, desired)
    changed = {**desired, "spec": {**desired["spec"], "replicas": 2}}
    with pytest.raises(ConflictError, match="gpuunit-reconciler"):
        await cluster.apply(DEPLOYMENT, changed, manager="somebody-else")


METADATA = {"labels": {"a": "1"}}


def owner_of(fields: Object, **entry: Any) -> Object:
    whole = {"manager": "m", "operation": "Apply", "fieldsV1": fields, **entry}
    return {"metadata": {"managedFields": [whole]}}


LABEL: Object = {"f:metadata": {"f:labels": {"f:a": {}}}}


@pytest.mark.parametrize(
    ("live", "spec", "same"),
    [
        pytest.param({"metadata": {}}, {}, False, id="nobody-applied-it"),
        pytest.param(owner_of(LABEL), {}, True, id="all"),
        pytest.param(owner_of(LABEL, operation="Update"), {}, False, id="an-update-is-no-apply"),
        pytest.param(owner_of(LABEL, subresource="status"), {}, False, id="nor-is-a-status"),
        pytest.param(owner_of(LABEL, manager="n"), {}, False, id="nor-is-anothers"),
        pytest.param(owner_of({"f:metadata": {"f:labels": {".": {}}}}), {}, False, id="a-label-was-lost"),
        pytest.param(owner_of({**LABEL, "f:spec": {"f:b": {}}}), {"a": ""}, True, id="an-empty-value-needs-no-owner"),
        pytest.param(owner_of(LABEL), {"a": 0}, False, id="zero-does"),
        pytest.param(owner_of({**LABEL, "f:spec": {"f:a": {}}}), {"a": {"b": [1]}}, True, id="a-whole"),
        pytest.param(
            owner_of({**LABEL, "f:spec": {"f:a": {'k:{"n":"x"}': {"f:n": {}}}}}), {"a": [{"n": "x"}]}, True, id="item"
        ),
        pytest.param(
            owner_of({**LABEL, "f:spec": {"f:a": {'k:{"n":"y"}': {"f:n": {}}}}}), {"a": [{"n": "x"}]}, False, id="lost"
        ),
        pytest.param(owner_of({**LABEL, "f:spec": {"f:a": {'v:"x"': {}}}}), {"a": ["x"]}, True, id="a-set's"),
        pytest.param(owner_of({**LABEL, "f:spec": {"f:a": {'v:"x"': {}}}}), {"a": ["y"]}, False, id="not-in-the-set"),
        pytest.param(owner_of({**LABEL, "f:spec": {"f:a": {"f:b": {}}}}), {"a": 1}, False, id="another-type"),
    ],
)
def test_owned_fields(live: Object, spec: Object, same: bool) -> None:
    assert is_as_applied(live, {"metadata": METADATA, "spec": spec}, "m") is same
