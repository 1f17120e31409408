"""What is wrong in create and change bodies, and how it is named (contract 4.2 and 5.2)."""

from typing import TYPE_CHECKING

import msgspec
import pytest

from simulator.api.request_body import InvalidRequestError
from simulator.api.units_request import parse_create, parse_update
from simulator.gpuunit import UnitSpecError
from simulator.kube.kinds import Object

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubCluster

VALID: Object = {"operationID": "op-1", "name": "tts", "specName": "s1", "image": "tts:1"}
API_PORT = {"name": "api", "port": 9000}


def ports(*ports: object) -> Object:
    return {"template": {"ports": list(ports)}}


def envs(*names: object) -> Object:
    return {"template": {"envs": [{"name": name} for name in names]}}


def mounts(*mounts: object) -> Object:
    return {"storageMounts": list(mounts)}


def framework(**paths: str) -> Object:
    return {"serverless": {"requestID": "tts", "framework": paths}}


# Each row: changes to a body, and the path of the field that the answer must name. Valid on create as on change.
WRONG_IN_BOTH: list[tuple[Object, str]] = [
    ({"image": 7}, "image"),
    ({"template": []}, "template"),
    ({"template": {"command": "sh"}}, "template.command"),
    ({"template": {"command": ["sh", 1]}}, "template.command[1]"),
    ({"template": {"args": [None]}}, "template.args[0]"),
    (envs("A", ""), "template.envs[1].name"),
    (envs(" "), "template.envs[0].name"),
    (envs("1A"), "template.envs[0].name"),
    (envs("A B"), "template.envs[0].name"),
    (envs("."), "template.envs[0].name"),
    (envs("..a"), "template.envs[0].name"),
    (envs("A", "B", " A "), "template.envs[2].name"),
    ({"template": {"envs": [{"name": "A", "value": 1}]}}, "template.envs[0].value"),
    (ports({"port": 1}), "template.ports[0].name"),
    (ports({"name": "API", "port": 1}), "template.ports[0].name"),
    (ports({"name": "123", "port": 1}), "template.ports[0].name"),
    (ports({"name": "a--b", "port": 1}), "template.ports[0].name"),
    (ports({"name": "-a", "port": 1}), "template.ports[0].name"),
    (ports({"name": "a-", "port": 1}), "template.ports[0].name"),
    (ports({"name": "a\n", "port": 0}), "template.ports[0].port"),
    (ports({"name": "a" * 16, "port": 1}), "template.ports[0].name"),
    (ports(API_PORT, {"name": "api", "port": 1}), "template.ports[1].name"),
    (ports(API_PORT, {"name": "web", "port": 9000}), "template.ports[1].port"),
    (ports({"name": "api"}), "template.ports[0].port"),
    (ports({"name": "api", "port": 65536}), "template.ports[0].port"),
    (ports({"name": "api", "port": -1}), "template.ports[0].port"),
    (ports({"name": "api", "port": 1.5}), "template.ports[0].port"),
    (ports({"name": "api", "port": "9000"}), "template.ports[0].port"),
    (ports({"name": "api", "port": 2**70}), "template.ports[0].port"),
    (ports({"name": "api", "port": 1, "protocol": 6}), "template.ports[0].protocol"),
    ({"access": "api"}, "access"),
    ({"access": {"scheme": 1}}, "access.scheme"),
    ({"access": {"primaryPort": 9000}}, "access.primaryPort"),
    ({"ssh": {"enabled": True}}, "ssh.enabled"),
    ({"ssh": {"enabled": "no"}}, "ssh.enabled"),
    ({"serverless": {"enabled": 1}}, "serverless.enabled"),
    ({"serverless": {"enabled": True}}, "serverless.requestID"),
    ({"serverless": {"minAvailableCount": 1}}, "serverless.requestID"),
    ({"serverless": {"idleTimeoutSeconds": 60}}, "serverless.requestID"),
    ({"serverless": {"minRequestCount": 1}}, "serverless.requestID"),
    ({"serverless": {"requestID": "a.b"}}, "serverless.requestID"),
    ({"serverless": {"requestID": 5}}, "serverless.requestID"),
    ({"serverless": {"requestID": "tts", "minAvailableCount": -1}}, "serverless.minAvailableCount"),
    ({"serverless": {"requestID": "tts", "idleTimeoutSeconds": -1}}, "serverless.idleTimeoutSeconds"),
    ({"serverless": {"requestID": "tts", "minRequestCount": 2**31}}, "serverless.minRequestCount"),
    ({"serverless": {"requestID": "tts", "minRequestCount": 0.5}}, "serverless.minRequestCount"),
    ({"serverless": {"requestID": "tts", "maxAvailableCount": -1}}, "serverless.maxAvailableCount"),
    (
        {"serverless": {"requestID": "tts", "minAvailableCount": 3, "maxAvailableCount": 2}},
        "serverless.maxAvailableCount",
    ),
    ({"serverless": {"requestID": "tts", "templateOnly": "yes"}}, "serverless.templateOnly"),
    ({"serverless": {"requestID": "tts", "onWorkerLoss": "always"}}, "serverless.onWorkerLoss"),
    ({"serverless": {"requestID": "tts", "onWorkerLoss": 1}}, "serverless.onWorkerLoss"),
    ({"serverless": {"requestID": "tts", "maxAttempts": -1}}, "serverless.maxAttempts"),
    ({"serverless": {"requestID": "tts", "maxAttempts": 1.5}}, "serverless.maxAttempts"),
    ({"serverless": {"requestID": "tts", "framework": "/x"}}, "serverless.framework"),
    (framework(socketPath="/tmp/x.sock"), "serverless.framework.socketPath"),
    (framework(socketPath="/tmp/serverless-framework/../x.sock"), "serverless.framework.socketPath"),
    (framework(socketPath="/tmp/serverless-framework/" + "x" * 90), "serverless.framework.socketPath"),
    (framework(invokePath="/in voke"), "serverless.framework.invokePath"),
    (framework(healthPath="/h?x"), "serverless.framework.healthPath"),
    (framework(invokePath="/same", healthPath="same/"), "serverless.framework.healthPath"),
    (mounts({"mountPath": "/d"}), "storageMounts[0].name"),
    (mounts({"name": "a_b", "mountPath": "/d"}), "storageMounts[0].name"),
    (mounts({"name": "a" * 254, "mountPath": "/d"}), "storageMounts[0].name"),
    (mounts({"name": "a"}), "storageMounts[0].mountPath"),
    (mounts({"name": "a", "mountPath": "d"}), "storageMounts[0].mountPath"),
    (mounts({"name": "a", "mountPath": "/x/.."}), "storageMounts[0].mountPath"),
    (mounts({"name": "a", "mountPath": "/d"}, {"name": "A", "mountPath": "/e"}), "storageMounts[1].name"),
    (mounts({"name": "a", "mountPath": "/d"}, {"name": "b", "mountPath": "//d/"}), "storageMounts[1].mountPath"),
]

WRONG_IN_CREATE: list[tuple[Object, str]] = [
    *WRONG_IN_BOTH,
    ({"operationID": None}, "operationID"),
    ({"operationID": " "}, "operationID"),
    ({"operationID": 1}, "operationID"),
    ({"name": None}, "name"),
    ({"name": ""}, "name"),
    ({"name": "a_b"}, "name"),
    ({"name": "-a"}, "name"),
    ({"name": "a.b"}, "name"),
    ({"name": "a" * 51}, "name"),
    ({"name": []}, "name"),
    ({"specName": " \t"}, "specName"),
    ({"specName": {}}, "specName"),
    ({"image": ""}, "image"),
    ({"packageID": 3}, "packageID"),
    ({"cpu": "two"}, "cpu"),
    ({"cpu": "-1"}, "cpu"),
    ({"cpu": 2}, "cpu"),
    ({"memory": "8GB"}, "memory"),
    ({"memory": "٣Gi"}, "memory"),
    ({"gpu": -1}, "gpu"),
    ({"gpu": 2**31}, "gpu"),
    ({"gpu": "1"}, "gpu"),
    ({"gpu": True}, "gpu"),
    ({"access": {"scheme": "https"}}, "access"),
    ({"access": {"primaryPort": "api"}}, "access"),
    ({**ports(API_PORT), "access": {"primaryPort": "web"}}, "access.primaryPort"),
]


def created(**changes: object) -> Object:
    return parse_create(msgspec.json.encode({**VALID, **changes})).spec


@pytest.mark.parametrize(("changes", "field"), WRONG_IN_CREATE)
def test_a_wrong_field_of_a_create_request_is_named(changes: Object, field: str) -> None:
    with pytest.raises((InvalidRequestError, UnitSpecError)) as caught:
        created(**changes)
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(("changes", "field"), WRONG_IN_BOTH)
def test_a_wrong_field_of_a_change_request_is_named(changes: Object, field: str) -> None:
    with pytest.raises((InvalidRequestError, UnitSpecError)) as caught:
        parse_update(msgspec.json.encode(changes))
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(("changes", "field"), WRONG_IN_CREATE)
async def test_a_wrong_field_is_answered_400_and_creates_nothing(
    api: "Api", cluster: "StubCluster", changes: Object, field: str
) -> None:
    answer = await api.create(**changes)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith(f"{field}: ")
    assert cluster.units == {}


@pytest.mark.parametrize(("changes", "field"), WRONG_IN_BOTH)
async def test_a_wrong_field_is_answered_400_and_changes_nothing(
    api: "Api", cluster: "StubCluster", changes: Object, field: str
) -> None:
    await api.create()
    answer = await api.call("PUT", "/gpu-units/tts", changes)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.message.startswith(f"{field}: ")
    assert cluster.writes == ["create"]
