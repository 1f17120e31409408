"""The hash of what is wanted, and to whom an object belongs; the index of a unit's objects."""

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
)
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.unit_index import UnitIndex

MakeUnit = Callable[..., Object]

UNIT_SPEC: dict[str, Any] = {
    "serverless": {"requestID": "tts"},
    "memory": "1024Mi",
    "template": {"ports": [{"name": "http", "port": 8080}]},
}


def test_the_hash_does_not_depend_on_the_owner(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    unit = make_unit(**UNIT_SPEC)
    first = deployment_for(unit, settings)
    unit["metadata"]["generation"] = 99
    assert deployment_for(unit, settings) == first
    assert len(first["metadata"]["annotations"][TEMPLATE_HASH_ANNOTATION]) == 16


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
