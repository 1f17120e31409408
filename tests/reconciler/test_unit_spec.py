"""The checks of a unit's spec, and which status reason each gives (contract 4.2, 5.3)."""

from collections.abc import Callable
from typing import Any

import pytest

from simulator.gpuunit import UnitSpecError
from simulator.kube.kinds import Object
from simulator.reconciler.spec import read_unit
from simulator.reconciler.status import spec_failure_reason

MakeUnit = Callable[..., Object]


def with_ports(*ports: Any) -> dict[str, Any]:
    return {"template": {"ports": list(ports)}}


def test_the_shortest_unit(make_unit: MakeUnit) -> None:
    spec = read_unit(make_unit())
    assert (spec.name, spec.namespace, spec.spec_name) == ("u1", "runtime-instance", "g1.1")
    assert (spec.image, spec.memory, spec.gpu) == ("busybox:1.36", "", 0)
    assert (spec.ports, spec.primary_port, spec.access_url) == ((), None, "")
    assert spec.serverless is None
    assert not spec.is_stock


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ({"specName": " "}, "specName", "InvalidSpec"),
        ({"memory": "much"}, "memory", "InvalidSpec"),
        ({"memory": "-1Gi"}, "memory", "InvalidSpec"),
        ({"gpu": -1}, "gpu", "InvalidSpec"),
        ({"template": {"envs": [{"name": "1A"}]}}, "template.envs", "InvalidSpec"),
        ({"template": {"envs": [{"name": "."}]}}, "template.envs", "InvalidSpec"),
        ({"template": {"envs": [{"name": "..a"}]}}, "template.envs", "InvalidSpec"),
        ({"template": {"envs": [{"name": "A"}, {"name": " A "}]}}, "template.envs", "InvalidSpec"),
        (with_ports({"name": "", "port": 80}), "template.ports", "InvalidSpec"),
        (with_ports({"name": "80", "port": 80}), "template.ports", "InvalidSpec"),
        (with_ports({"name": "a--b", "port": 80}), "template.ports", "InvalidSpec"),
        (with_ports({"name": "a" * 16, "port": 80}), "template.ports", "InvalidSpec"),
        (with_ports({"name": "a", "port": 0}), "template.ports", "InvalidSpec"),
        (with_ports({"name": "a", "port": 65536}), "template.ports", "InvalidSpec"),
        (with_ports({"name": "a", "port": 1}, {"name": "a", "port": 2}), "template.ports", "InvalidSpec"),
        (with_ports({"name": "a", "port": 1}, {"name": "b", "port": 1}), "template.ports", "InvalidSpec"),
        ({"access": {"primaryPort": "http"}}, "access.primaryPort", "AccessConfigInvalid"),
        (
            {**with_ports({"name": "http", "port": 80}), "access": {"primaryPort": "api"}},
            "access.primaryPort",
            "AccessConfigInvalid",
        ),
        ({"serverless": {"enabled": True}}, "serverless.requestID", "ServerlessConfigInvalid"),
        (
            {"serverless": {"requestID": "a", "framework": {"invokePath": "/x", "healthPath": "/x"}}},
            "serverless.framework.healthPath",
            "ServerlessConfigInvalid",
        ),
        ({"ssh": {"enabled": True}}, "ssh.enabled", "SSHConfigInvalid"),
        ({"storageMounts": [{"name": "a_b", "mountPath": "/a"}]}, "storageMounts", "StorageMountInvalid"),
        ({"storageMounts": [{"name": "a", "mountPath": "a"}]}, "storageMounts", "StorageMountInvalid"),
        ({"storageMounts": [{"name": "a", "mountPath": "/x/.."}]}, "storageMounts", "StorageMountInvalid"),
        (
            {"storageMounts": [{"name": "a", "mountPath": "/a"}, {"name": "a", "mountPath": "/b"}]},
            "storageMounts",
            "StorageMountInvalid",
        ),
        (
            {"storageMounts": [{"name": "a", "mountPath": "/a"}, {"name": "b", "mountPath": "//a/"}]},
            "storageMounts",
            "StorageMountInvalid",
        ),
        (
            {"memory": "1Gi", "storageMounts": [{"name": "a", "mountPath": "/dev/shm/"}]},
            "storageMounts",
            "StorageMountInvalid",
        ),
        (
            {
                "serverless": {"requestID": "a"},
                "storageMounts": [{"name": "a", "mountPath": "/tmp/serverless-framework"}],
            },
            "storageMounts",
            "StorageMountInvalid",
        ),
    ],
)
def test_wrong_specs(make_unit: MakeUnit, spec: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(UnitSpecError) as caught:
        read_unit(make_unit(**spec))
    assert caught.value.field == field
    assert spec_failure_reason(caught.value) == reason


@pytest.mark.parametrize("name", ["a.b", "a" * 51])
def test_names_that_other_objects_cannot_carry(make_unit: MakeUnit, name: str) -> None:
    """C11: a hand-written unit is held to the same names as one made through the API."""
    with pytest.raises(UnitSpecError) as caught:
        read_unit(make_unit(name=name))
    assert spec_failure_reason(caught.value) == "InvalidSpec"


@pytest.mark.parametrize(
    ("access", "url"),
    [
        ({}, "http://unit-u1.runtime-instance.svc.cluster.local:80"),
        ({"scheme": " HTTPS "}, "https://unit-u1.runtime-instance.svc.cluster.local:80"),
        ({"primaryPort": "api"}, "http://unit-u1.runtime-instance.svc.cluster.local:9000"),
    ],
)
def test_access_url(make_unit: MakeUnit, access: dict[str, str], url: str) -> None:
    ports = with_ports({"name": "web", "port": 80}, {"name": "api", "port": 9000})
    assert read_unit(make_unit(access=access, **ports)).access_url == url


def test_a_scheme_alone_needs_no_port(make_unit: MakeUnit) -> None:
    """The resource's schema fills in the scheme of an empty access block."""
    assert read_unit(make_unit(access={"scheme": "http"})).access_url == ""


def test_storage_mounts_are_cleaned_and_sorted(make_unit: MakeUnit) -> None:
    mounts = [{"name": "Models", "mountPath": "/m/./x/"}, {"name": "data", "mountPath": "//data"}]
    read = read_unit(make_unit(storageMounts=mounts)).storage_mounts
    assert [(mount.claim, mount.path) for mount in read] == [("data", "/data"), ("models", "/m/x")]


def test_a_stock_unit_has_neither_worker_nor_address(make_unit: MakeUnit) -> None:
    spec = read_unit(
        make_unit(
            namespace="runtime-stock",
            serverless={"requestID": "tts"},
            **with_ports({"name": "web", "port": 80}),
        )
    )
    assert spec.is_stock
    assert spec.serverless is None
    assert spec.access_url == ""


@pytest.mark.parametrize("memory", [0, "0", "", None])
def test_no_memory(make_unit: MakeUnit, memory: object) -> None:
    assert read_unit(make_unit(memory=memory)).memory == ""


def test_memory_may_be_a_number(make_unit: MakeUnit) -> None:
    assert read_unit(make_unit(memory=1048576)).memory == "1048576"
