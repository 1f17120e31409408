"""When a live object is written, what is kept of it, and to whom it belongs (C2); the index of a unit's objects."""

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from simulator.errors import ConflictError
from simulator.kube.informer import Informer
from simulator.kube.kinds import Object
from simulator.reconciler.deployment import deployment_for
from simulator.reconciler.network_policy import network_policy_for
from simulator.reconciler.objects import (
    TEMPLATE_HASH_ANNOTATION,
    NameTakenError,
    check_owner,
    is_controlled_by,
    must_write,
    updated,
)
from simulator.reconciler.service import service_for
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.unit_index import UnitIndex

MakeUnit = Callable[..., Object]

UNIT_SPEC: dict[str, Any] = {
    "serverless": {"requestID": "tts"},
    "memory": "1024Mi",
    "template": {"ports": [{"name": "http", "port": 8080}]},
}


@pytest.fixture
def desired(make_unit: MakeUnit, settings: ReconcilerSettings) -> Object:
    return deployment_for(make_unit(**UNIT_SPEC), settings)


@pytest.fixture
def live(desired: Object) -> Object:
    """The Deployment as a real API server gives it back: defaults filled in, quantities and empty values rewritten."""
    live = copy.deepcopy(desired)
    live["metadata"] |= {"uid": "d-1", "resourceVersion": "7", "generation": 1}
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "1"
    live["spec"] |= {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 10}
    pod = live["spec"]["template"]["spec"]
    pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30}
    [runtime] = pod["containers"]
    runtime["terminationMessagePath"] = "/dev/termination-log"
    runtime["resources"] = {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    for entry in runtime["env"]:
        if entry.get("value") == "":
            del entry["value"]
    probe = pod["initContainers"][0]["readinessProbe"]
    probe |= {"timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
    probe["httpGet"]["scheme"] = "HTTP"
    live["status"] = {"availableReplicas": 1}
    return live


def test_what_the_server_adds_is_no_difference(live: Object, desired: Object) -> None:
    """C2: an unchanged Deployment is not written again."""
    assert not must_write(live, desired)


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
def test_another_wish_is_written(
    make_unit: MakeUnit, settings: ReconcilerSettings, live: Object, change: dict[str, Any]
) -> None:
    """C2: any change of the unit that shows in the Deployment changes the hash."""
    assert must_write(live, deployment_for(make_unit(**{**UNIT_SPEC, **change}), settings))


def test_a_wish_taken_back_is_written(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    """C2: a field that is no longer wanted is in no comparison; only the hash tells."""
    live = deployment_for(make_unit(template={"command": ["run"], "args": ["--fast"]}), settings)
    desired = deployment_for(make_unit(template={"args": ["--fast"]}), settings)
    assert must_write(live, desired)
    assert updated(live, desired) == desired


def scale(live: Object) -> None:
    live["spec"]["replicas"] = 2


def add_container(live: Object) -> None:
    live["spec"]["template"]["spec"]["containers"].append({"name": "extra"})


def drop_probe(live: Object) -> None:
    del live["spec"]["template"]["spec"]["initContainers"][0]["readinessProbe"]


def drop_label(live: Object) -> None:
    del live["metadata"]["labels"]["app.kubernetes.io/name"]


def change_strategy(live: Object) -> None:
    live["spec"]["strategy"] = {"type": "RollingUpdate"}


@pytest.mark.parametrize("edit", [scale, add_container, drop_probe, drop_label, change_strategy])
def test_what_somebody_changed_is_put_right(live: Object, desired: Object, edit: Callable[[Object], None]) -> None:
    """C10 holds against a hand that scales the Deployment, too."""
    edit(live)
    assert must_write(live, desired)
    assert not must_write(updated(live, desired), desired)


def test_the_hash_does_not_depend_on_the_owner(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    unit = make_unit(**UNIT_SPEC)
    first = deployment_for(unit, settings)
    unit["metadata"]["generation"] = 99
    assert deployment_for(unit, settings) == first
    assert len(first["metadata"]["annotations"][TEMPLATE_HASH_ANNOTATION]) == 16


def test_update_keeps_what_others_wrote(make_unit: MakeUnit) -> None:
    desired = service_for(make_unit(**UNIT_SPEC))
    assert desired is not None
    live: Object = {
        "metadata": {
            "name": "unit-u1",
            "resourceVersion": "7",
            "labels": {"team": "a"},
            "annotations": {"note": "b", TEMPLATE_HASH_ANNOTATION: "old"},
        },
        "spec": {"clusterIP": "10.0.0.7", "ports": [{"name": "old", "port": 1}]},
        "status": {"loadBalancer": {}},
    }
    untouched = copy.deepcopy(live)
    merged = updated(live, desired)
    assert live == untouched
    assert merged["metadata"]["resourceVersion"] == "7"
    assert merged["metadata"]["labels"] == {"team": "a", **desired["metadata"]["labels"]}
    assert merged["metadata"]["annotations"] == {"note": "b", **desired["metadata"]["annotations"]}
    assert merged["spec"] == {"clusterIP": "10.0.0.7", **desired["spec"]}


def test_the_owner_is_this_very_unit(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    unit = make_unit()
    policy = network_policy_for(unit, settings)
    check_owner(policy, unit)
    assert is_controlled_by(policy, unit)
    assert not is_controlled_by(policy, make_unit(name="u2"))


def test_an_object_of_an_earlier_unit_is_waited_for(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    unit = make_unit()
    policy = network_policy_for(unit, settings)
    unit["metadata"]["uid"] = "another"
    with pytest.raises(ConflictError, match="earlier unit"):
        check_owner(policy, unit)


@pytest.mark.parametrize(
    "owners",
    [
        [],
        [{"kind": "GPUUnit", "name": "u1", "uid": "uid-of-u1"}],
        [{"kind": "GPUUnit", "name": "u2", "uid": "uid-of-u2", "controller": True}],
        [{"kind": "Rollout", "name": "u1", "uid": "uid-3", "controller": True}],
    ],
)
def test_an_object_of_somebody_else_is_not_taken(make_unit: MakeUnit, owners: list[Object]) -> None:
    foreign: Object = {"kind": "Service", "metadata": {"name": "unit-u1", "ownerReferences": owners}}
    with pytest.raises(NameTakenError, match="Service unit-u1 exists"):
        check_owner(foreign, make_unit())


class Copy:
    """Stands for an informer: a copy of objects that tells of changes."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.callbacks: list[Callable[[tuple[str, str]], None]] = []

    def on_change(self, callback: Callable[[tuple[str, str]], None]) -> None:
        self.callbacks.append(callback)

    def get(self, namespace: str, name: str) -> Object | None:
        return self.objects.get((namespace, name))

    def put(self, name: str, unit: str | None) -> None:
        labels = {"runtime.lokiwager.io/unit": unit} if unit else {}
        self.objects["ns", name] = {"metadata": {"namespace": "ns", "name": name, "labels": labels}}
        self.announce(name)

    def remove(self, name: str) -> None:
        del self.objects["ns", name]
        self.announce(name)

    def announce(self, name: str) -> None:
        for callback in self.callbacks:
            callback(("ns", name))


def test_index_of_a_units_objects() -> None:
    informer, told = Copy(), list[tuple[str, str]]()
    index = UnitIndex(cast("Informer", informer), told.append)

    def names(unit: str) -> list[str]:
        return [obj["metadata"]["name"] for obj in index.objects_of(("ns", unit))]

    informer.put("pod-b", "u1")
    informer.put("pod-a", "u1")
    informer.put("foreign", None)
    assert names("u1") == ["pod-a", "pod-b"]
    assert told == [("ns", "u1")] * 2
    informer.put("pod-b", "u2")
    assert (names("u1"), names("u2")) == (["pod-a"], ["pod-b"])
    assert told[2:] == [("ns", "u1"), ("ns", "u2")]
    informer.remove("pod-a")
    informer.remove("foreign")
    assert names("u1") == []
    assert told[4:] == [("ns", "u1")]
