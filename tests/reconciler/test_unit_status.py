"""The status of a unit (contract 5.3): each row of its tables."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulator.gpuunit import UnitSpecError
from simulator.kube.kinds import Object
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.status import failure_status, spec_failure_reason, status_for

MakeUnit = Callable[..., Object]
MakePod = Callable[..., Object]

NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
NOW_TEXT = "2026-03-04T05:06:07Z"

AVAILABLE = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "availableReplicas": 1}}
UNAVAILABLE = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1}}
FAILED_STATE = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
RUNTIME_FAILURE = {"main": [{"name": "runtime-worker", "state": FAILED_STATE}]}
SIDECAR_FAILURE = {"init": [{"name": "serverless-sidecar", "state": FAILED_STATE}]}
NO_CLAIM = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": '0/1 nodes are available: persistentvolumeclaim "models" not found.',
        }
    ],
}
READY_POD = {"name": "u1-ready", "conditions": [{"type": "Ready", "status": "True"}]}
SERVERLESS = {"serverless": {"requestID": "TTS"}}
TEMPLATE = {"serverless": {"requestID": "TTS", "templateOnly": True}}
STORAGE = {"storageMounts": [{"name": "models", "mountPath": "/models"}]}
PORTS = {"template": {"ports": [{"name": "http", "port": 8080}]}}
RESOLVED = {
    "dispatchSubject": "runtime.serverless.dispatch.tts.u1",
    "socketPath": "/tmp/serverless-framework/framework.sock",
    "invokePath": "/invoke",
    "healthPath": "/healthz",
}


def condition(status: Object, condition_type: str) -> tuple[str, str] | None:
    for entry in status["conditions"]:
        if entry["type"] == condition_type:
            return entry["status"], entry["reason"]
    return None


@pytest.mark.parametrize(
    ("spec", "deployment", "pods", "phase", "ready"),
    [
        pytest.param({}, AVAILABLE, [READY_POD], "Ready", ("True", "UnitReady"), id="available"),
        pytest.param({}, AVAILABLE, [RUNTIME_FAILURE, READY_POD], "Ready", ("True", "UnitReady"), id="available-wins"),
        pytest.param({}, AVAILABLE, [], "Progressing", ("False", "UnitProgressing"), id="C1-no-pod-confirms-it"),
        pytest.param({}, AVAILABLE, [{}], "Progressing", ("False", "UnitProgressing"), id="C1-pod-not-ready"),
        pytest.param({}, AVAILABLE, [RUNTIME_FAILURE], "Failed", ("False", "PodStartupFailed"), id="C1-pod-failed"),
        pytest.param({}, UNAVAILABLE, [RUNTIME_FAILURE], "Failed", ("False", "PodStartupFailed"), id="container"),
        pytest.param({}, UNAVAILABLE, [{"phase": "Failed"}], "Failed", ("False", "PodStartupFailed"), id="pod"),
        pytest.param(SERVERLESS, None, [SIDECAR_FAILURE], "Failed", ("False", "PodStartupFailed"), id="sidecar"),
        pytest.param(STORAGE, UNAVAILABLE, [NO_CLAIM], "Progressing", ("False", "StorageNotReady"), id="storage"),
        pytest.param({}, UNAVAILABLE, [NO_CLAIM], "Progressing", ("False", "UnitProgressing"), id="not-its-storage"),
        pytest.param({}, UNAVAILABLE, [], "Progressing", ("False", "UnitProgressing"), id="otherwise"),
        pytest.param({}, None, [], "Progressing", ("False", "UnitProgressing"), id="no-deployment-yet"),
        pytest.param(TEMPLATE, UNAVAILABLE, [], "Empty", ("False", "TemplateOnly"), id="template"),
        pytest.param(TEMPLATE, AVAILABLE, [READY_POD], "Empty", ("False", "TemplateOnly"), id="template-was-a-worker"),
        pytest.param(TEMPLATE, None, [SIDECAR_FAILURE], "Empty", ("False", "TemplateOnly"), id="template-was-failing"),
    ],
)
def test_unit_phase(
    make_unit: MakeUnit,
    make_pod: MakePod,
    settings: ReconcilerSettings,
    spec: dict[str, Any],
    deployment: Object | None,
    pods: list[dict[str, Any]],
    phase: str,
    ready: tuple[str, str],
) -> None:
    status = status_for(make_unit(**spec), deployment, [make_pod(**pod) for pod in pods], settings, NOW)
    assert status["phase"] == phase
    assert condition(status, "Ready") == ready


@pytest.mark.parametrize(
    ("deployment", "pods", "phase", "reason"),
    [
        (AVAILABLE, [READY_POD], "Ready", "StockReady"),
        (UNAVAILABLE, [RUNTIME_FAILURE], "Failed", "PodStartupFailed"),
        (UNAVAILABLE, [], "Progressing", "StockNotReady"),
        (UNAVAILABLE, [NO_CLAIM], "Progressing", "StockNotReady"),
    ],
)
def test_stock_unit_phase(
    make_unit: MakeUnit,
    make_pod: MakePod,
    settings: ReconcilerSettings,
    deployment: Object,
    pods: list[dict[str, Any]],
    phase: str,
    reason: str,
) -> None:
    unit = make_unit(namespace="runtime-stock", **SERVERLESS, **PORTS, **STORAGE)
    status = status_for(unit, deployment, [make_pod(**pod) for pod in pods], settings, NOW)
    assert status["phase"] == phase
    assert [entry["reason"] for entry in status["conditions"]] == [reason]
    assert not {"serviceName", "accessURL", "ssh", "serverless"} & status.keys()


@pytest.mark.parametrize(
    ("spec", "deployment", "pods", "phase", "ready"),
    [
        pytest.param({}, AVAILABLE, [], "Disabled", ("True", "UnitServerlessReady"), id="disabled"),
        pytest.param({}, UNAVAILABLE, [], "Disabled", ("True", "UnitServerlessReady"), id="disabled-not-available"),
        pytest.param(SERVERLESS, UNAVAILABLE, [], "Pending", ("False", "UnitServerlessPending"), id="pending"),
        pytest.param(
            SERVERLESS, UNAVAILABLE, [RUNTIME_FAILURE], "Pending", ("False", "UnitServerlessPending"), id="not-sidecar"
        ),
        pytest.param(SERVERLESS, AVAILABLE, [READY_POD], "Ready", ("True", "UnitServerlessReady"), id="ready"),
        pytest.param(
            SERVERLESS, AVAILABLE, [SIDECAR_FAILURE], "Failed", ("False", "UnitServerlessFailed"), id="before-available"
        ),
        pytest.param(
            SERVERLESS, UNAVAILABLE, [SIDECAR_FAILURE], "Failed", ("False", "UnitServerlessFailed"), id="failed"
        ),
    ],
)
def test_serverless_phase(
    make_unit: MakeUnit,
    make_pod: MakePod,
    settings: ReconcilerSettings,
    spec: dict[str, Any],
    deployment: Object,
    pods: list[dict[str, Any]],
    phase: str,
    ready: tuple[str, str],
) -> None:
    """C1: availability stands for the sidecar's own readiness, which its readiness probe reports."""
    status = status_for(make_unit(**spec), deployment, [make_pod(**pod) for pod in pods], settings, NOW)
    assert condition(status, "ServerlessReady") == ready
    assert status["serverless"] == {"phase": phase, **(RESOLVED if spec else {})}


def test_a_ready_serverless_unit(make_unit: MakeUnit, make_pod: MakePod, settings: ReconcilerSettings) -> None:
    status = status_for(make_unit(**SERVERLESS, **PORTS), AVAILABLE, [make_pod(**READY_POD)], settings, NOW)
    messages = [entry.pop("message") for entry in status["conditions"]]
    assert all(messages)
    assert status == {
        "readyReplicas": 1,
        "phase": "Ready",
        "serviceName": "unit-u1",
        "accessURL": "http://unit-u1.runtime-instance.svc.cluster.local:8080",
        "ssh": {"phase": "Disabled"},
        "serverless": {"phase": "Ready", **RESOLVED},
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "UnitReady",
                "lastTransitionTime": NOW_TEXT,
                "observedGeneration": 3,
            },
            {
                "type": "ServerlessReady",
                "status": "True",
                "reason": "UnitServerlessReady",
                "lastTransitionTime": NOW_TEXT,
                "observedGeneration": 3,
            },
        ],
        "lastSyncTime": NOW_TEXT,
    }


@pytest.mark.parametrize("pods", [[], [SIDECAR_FAILURE]], ids=["no-pod", "a-pod-that-ends"])
def test_a_template(
    make_unit: MakeUnit, make_pod: MakePod, settings: ReconcilerSettings, pods: list[dict[str, Any]]
) -> None:
    """Nothing to do, and nobody listens: no dispatch subject, no address; the message says how to change that."""
    unit = make_unit(**TEMPLATE, **PORTS)
    status = status_for(unit, UNAVAILABLE, [make_pod(**pod) for pod in pods], settings, NOW)
    assert status["serverless"] == {"phase": "Disabled"}
    assert condition(status, "ServerlessReady") == ("True", "UnitServerlessReady")
    assert not {"serviceName", "accessURL"} & status.keys()
    (message,) = [entry["message"] for entry in status["conditions"] if entry["type"] == "Ready"]
    assert "'tts'" in message
    assert "templateOnly to false" in message


def test_a_template_whose_objects_cannot_be_written(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    status = failure_status(make_unit(**TEMPLATE), "UnitDeploymentSyncFailed", "because", settings, NOW)
    assert (status["phase"], status["serverless"]) == ("Failed", {"phase": "Failed"})


def test_no_service_no_address(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    status = status_for(make_unit(), AVAILABLE, [], settings, NOW)
    assert not {"serviceName", "accessURL"} & status.keys()


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ("storageMounts", "StorageMountInvalid"),
        ("memory", "InvalidSpec"),
        ("name", "InvalidSpec"),
        ("template.ports", "InvalidSpec"),
        ("ssh.enabled", "SSHConfigInvalid"),
        ("serverless.requestID", "ServerlessConfigInvalid"),
        ("access.primaryPort", "AccessConfigInvalid"),
    ],
)
def test_reason_of_a_wrong_spec(field: str, reason: str) -> None:
    assert spec_failure_reason(UnitSpecError(field, "is wrong")) == reason


@pytest.mark.parametrize(
    ("spec", "block", "worker"),
    [
        ({}, {"phase": "Disabled"}, None),
        (SERVERLESS, {"phase": "Failed", **RESOLVED}, ("False", "SomeReason")),
        ({"serverless": {"requestID": "a b"}}, {"phase": "Failed"}, ("False", "SomeReason")),
        ({"serverless": {"minRequestCount": 1}}, {"phase": "Failed"}, ("False", "SomeReason")),
    ],
)
def test_early_failure(
    make_unit: MakeUnit,
    make_pod: MakePod,
    settings: ReconcilerSettings,
    spec: dict[str, Any],
    block: Object,
    worker: tuple[str, str] | None,
) -> None:
    ready = [make_pod(**READY_POD)]
    before = status_for(make_unit(**PORTS), AVAILABLE, ready, settings, NOW - timedelta(hours=1))
    status = failure_status(make_unit(status=before, **spec), "SomeReason", "because", settings, NOW)
    assert status["phase"] == "Failed"
    assert condition(status, "Ready") == ("False", "SomeReason")
    assert condition(status, "ServerlessReady") == worker
    assert status["serverless"] == block
    assert {entry["message"] for entry in status["conditions"]} == {"because"}
    assert {entry["observedGeneration"] for entry in status["conditions"]} == {status["observedGeneration"]} == {3}
    assert status["readyReplicas"] == 1
    assert status["accessURL"] == before["accessURL"]


def test_early_failure_of_a_new_unit(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    status = failure_status(make_unit(), "InvalidSpec", "because", settings, NOW)
    assert status.keys() == {
        "readyReplicas",
        "phase",
        "serverless",
        "observedGeneration",
        "conditions",
        "lastSyncTime",
    }
    assert status["readyReplicas"] == 0


def test_early_failure_of_a_stock_unit(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    unit = make_unit(namespace="runtime-stock", **SERVERLESS)
    status = failure_status(unit, "InvalidSpec", "because", settings, NOW)
    assert "serverless" not in status
    assert condition(status, "ServerlessReady") is None


def test_an_endless_message_is_cut_to_what_the_schema_allows(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    status = failure_status(make_unit(), "InvalidSpec", "x" * 40000, settings, NOW)
    assert len(status["conditions"][0]["message"]) == 32768
