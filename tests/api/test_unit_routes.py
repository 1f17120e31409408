"""The unit routes over a cluster in memory (contract 4.2)."""

from typing import TYPE_CHECKING

import pytest

from simulator.api.unit_objects import new_unit
from simulator.api.units import UPDATE_ATTEMPTS
from simulator.api.units_request import UnitCreate
from simulator.errors import ClusterAwayError, InvalidError, KubeError

if TYPE_CHECKING:
    from tests.api.conftest import Api, StubCluster


async def test_create_answers_201_with_the_whole_view(api: "Api", cluster: "StubCluster") -> None:
    answer = await api.create(
        memory="8Gi",
        gpu=1,
        template={"ports": [{"name": "api", "port": 9000}]},
        serverless={"requestID": "TTS-Small"},
    )
    assert answer.status == 201
    assert answer.data == {
        "name": "tts",
        "namespace": "runtime-instance",
        "lifecycle": "instance",
        "specName": "s1",
        "image": "tts:1",
        "memory": "8Gi",
        "gpu": 1,
        "template": {"ports": [{"name": "api", "port": 9000, "protocol": "TCP"}]},
        "access": {"primaryPort": "api", "scheme": "http"},
        "ssh": {},
        "serverless": {
            "enabled": True,
            "requestID": "tts-small",
            "idleTimeoutSeconds": 300,
            "framework": {
                "socketPath": "/tmp/serverless-framework/framework.sock",
                "invokePath": "/invoke",
                "healthPath": "/healthz",
            },
        },
        "phase": "",
        "readyReplicas": 0,
        "observedGeneration": 0,
        "lastSyncTime": "0001-01-01T00:00:00Z",
        "sshStatus": {},
        "serverlessStatus": {},
    }
    stored = cluster.units["tts"]
    assert (stored["apiVersion"], stored["kind"]) == ("runtime.lokiwager.io/v1alpha1", "GPUUnit")
    assert stored["metadata"]["namespace"] == "runtime-instance"
    assert stored["metadata"]["annotations"]["runtime.lokiwager.io/operation-id"] == "op-1"
    assert len(stored["metadata"]["annotations"]["runtime.lokiwager.io/request-hash"]) == 64


async def test_struct_valued_fields_are_shown_even_when_empty(api: "Api") -> None:
    data = (await api.create()).data
    assert [data[name] for name in ("template", "access", "ssh", "serverless", "sshStatus", "serverlessStatus")] == [
        {}
    ] * 6
    assert {"packageID", "cpu", "memory", "gpu", "storageMounts", "serviceName", "accessURL"}.isdisjoint(data)


async def test_the_view_shows_the_status(api: "Api", cluster: "StubCluster") -> None:
    await api.create()
    unit = cluster.units["tts"]
    unit["status"] = {
        "phase": "Ready",
        "readyReplicas": 1,
        "observedGeneration": 2,
        "lastSyncTime": "2026-03-04T05:00:00Z",
        "serviceName": "unit-tts",
        "accessURL": "http://unit-tts",
        "ssh": {"phase": "Disabled"},
        "serverless": {"phase": "Disabled"},
        "conditions": [
            {"type": "ServerlessReady", "reason": "UnitServerlessReady", "message": "off"},
            {"type": "Ready", "reason": "UnitReady", "message": "up"},
        ],
    }
    data = (await api.call("GET", "/gpu-units/tts")).data
    expected = {
        "phase": "Ready",
        "readyReplicas": 1,
        "observedGeneration": 2,
        "lastSyncTime": "2026-03-04T05:00:00Z",
        "serviceName": "unit-tts",
        "accessURL": "http://unit-tts",
        "sshStatus": {"phase": "Disabled"},
        "serverlessStatus": {"phase": "Disabled"},
        "reason": "UnitReady",
        "message": "up",
    }
    assert {name: data[name] for name in expected} == expected


async def test_list_is_by_name_and_empty_at_first(api: "Api") -> None:
    assert (await api.call("GET", "/gpu-units")).data == []
    for name in ("b", "a"):
        await api.create(name=name, operationID=name)
    assert [unit["name"] for unit in (await api.call("GET", "/gpu-units?namespace=other")).data] == ["a", "b"]


async def test_a_replay_in_other_words_answers_200_with_the_unit_as_it_is_now(
    api: "Api", cluster: "StubCluster"
) -> None:
    await api.create()
    await api.call("PUT", "/gpu-units/tts", {"image": "tts:2"})
    replay = await api.create(name=" TTS ", gpu=0)
    assert (replay.status, replay.data["image"]) == (200, "tts:2")
    assert cluster.writes == ["create", "update"]


@pytest.mark.parametrize("changes", [{"image": "tts:2"}, {"name": "stt"}])
async def test_an_operation_id_used_for_something_else_is_a_conflict(
    api: "Api", cluster: "StubCluster", changes: dict[str, object]
) -> None:
    await api.create()
    answer = await api.create(**changes)
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert "'op-1'" in answer.message
    assert cluster.writes == ["create"]


async def test_a_taken_name_is_a_conflict(api: "Api", cluster: "StubCluster") -> None:
    await api.create()
    answer = await api.create(operationID="op-2")
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert "'tts'" in answer.message
    assert cluster.writes == ["create"]


async def test_after_a_delete_the_operation_id_is_free_again(api: "Api") -> None:
    await api.create()
    deleted = await api.call("DELETE", "/gpu-units/tts")
    assert (deleted.status, deleted.body) == (204, None)
    assert (await api.create(image="tts:2")).status == 201


async def test_put_answers_the_changed_unit(api: "Api", cluster: "StubCluster") -> None:
    await api.create(memory="8Gi")
    answer = await api.call("PUT", "/gpu-units/tts", {"image": "tts:2"})
    assert answer.status == 200
    assert (answer.data["image"], answer.data["memory"]) == ("tts:2", "8Gi")
    assert cluster.units["tts"]["metadata"]["annotations"]["runtime.lokiwager.io/operation-id"] == "op-1"


@pytest.mark.parametrize("body", [None, {}, {"image": " tts:1 "}, {"serverless": {}}])
async def test_put_without_effect_writes_nothing(api: "Api", cluster: "StubCluster", body: object) -> None:
    await api.create()
    assert (await api.call("PUT", "/gpu-units/tts", body)).status == 200
    assert cluster.writes == ["create"]


async def test_put_repeats_on_the_version_that_another_writer_left(api: "Api", cluster: "StubCluster") -> None:
    await api.create()
    rival = new_unit(UnitCreate("op-1", "tts", {"specName": "s1", "image": "tts:1", "gpu": 3}))
    cluster.rivals.append(lambda: cluster.put(rival))
    answer = await api.call("PUT", "/gpu-units/tts", {"image": "tts:2"})
    assert (answer.data["image"], answer.data["gpu"]) == ("tts:2", 3)


async def test_put_gives_up_after_a_bounded_number_of_conflicts(api: "Api", cluster: "StubCluster") -> None:
    await api.create()
    cluster.rivals.extend([lambda: cluster.put(cluster.units["tts"])] * (UPDATE_ATTEMPTS + 1))
    answer = await api.call("PUT", "/gpu-units/tts", {"image": "tts:2"})
    assert (answer.status, answer.code) == (409, "operation_conflict")
    assert len(cluster.rivals) == 1


@pytest.mark.parametrize(
    ("method", "code"),
    [("GET", "gpuunit_not_found"), ("PUT", "update_gpuunit_failed"), ("DELETE", "delete_gpuunit_failed")],
)
@pytest.mark.parametrize("name", ["none", "NONE", "a%2F..%2Fb", "%20", "a" * 254])
async def test_a_unit_that_is_not_there_is_404_with_the_routes_code(
    api: "Api", cluster: "StubCluster", method: str, code: str, name: str
) -> None:
    answer = await api.call(method, f"/gpu-units/{name}")
    assert (answer.status, answer.code) == (404, code)
    assert cluster.writes == []


async def test_a_storage_that_is_asked_for_is_missing(api: "Api", cluster: "StubCluster") -> None:
    mounts = [{"name": "Data", "mountPath": "/data"}]
    answer = await api.create(storageMounts=mounts)
    assert (answer.status, answer.code) == (404, "create_gpuunit_failed")
    assert "'data'" in answer.message
    await api.create()
    assert (await api.call("PUT", "/gpu-units/tts", {"storageMounts": mounts})).code == "update_gpuunit_failed"
    assert cluster.writes == ["create"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/gpu-units", "list_gpuunits_failed"),
        ("POST", "/gpu-units", "create_gpuunit_failed"),
        ("GET", "/gpu-units/tts", "gpuunit_not_found"),
        ("PUT", "/gpu-units/tts", "update_gpuunit_failed"),
        ("DELETE", "/gpu-units/tts", "delete_gpuunit_failed"),
    ],
)
@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (KubeError("etcd is full"), "etcd is full"),
        (RuntimeError("secret"), "internal error; the API's log has the cause"),
    ],
)
async def test_other_failures_are_500_with_the_routes_code(
    api: "Api", cluster: "StubCluster", method: str, path: str, code: str, failure: Exception, message: str
) -> None:
    cluster.failure = failure
    body = {"operationID": "op-1", "name": "tts", "specName": "s1", "image": "i"} if method == "POST" else None
    answer = await api.call(method, path, body)
    assert (answer.status, answer.code, answer.message) == (500, code, message)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gpu-units"),
        ("POST", "/gpu-units"),
        ("GET", "/gpu-units/tts"),
        ("PUT", "/gpu-units/tts"),
        ("DELETE", "/gpu-units/tts"),
    ],
)
async def test_while_the_cluster_is_away_units_are_503_without_a_traceback(
    api: "Api", cluster: "StubCluster", method: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.failure = ClusterAwayError("no answer from https://10.0.0.1")
    body = {"operationID": "op-1", "name": "tts", "specName": "s1", "image": "i"} if method == "POST" else None
    answer = await api.call(method, path, body)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "service_unavailable", "1")
    assert "does not answer" in answer.message
    assert "10.0.0.1" not in answer.message
    logged = "".join(capsys.readouterr())
    assert "10.0.0.1" in logged
    assert "Traceback" not in logged


async def test_what_the_cluster_finds_invalid_is_the_callers_mistake(api: "Api", cluster: "StubCluster") -> None:
    cluster.failure = InvalidError("spec.gpu: too many")
    answer = await api.create()
    assert (answer.status, answer.code, answer.message) == (400, "invalid_request", "spec.gpu: too many")


async def test_without_a_cluster_valid_requests_are_503_and_wrong_ones_400(bare_api: "Api") -> None:
    assert (await bare_api.create(gpu=-1)).status == 400
    answers = [
        await bare_api.create(),
        await bare_api.call("GET", "/gpu-units"),
        await bare_api.call("GET", "/gpu-units/tts"),
        await bare_api.call("PUT", "/gpu-units/tts", {}),
        await bare_api.call("DELETE", "/gpu-units/tts"),
    ]
    assert {(answer.status, answer.code) for answer in answers} == {(503, "service_unavailable")}
