"""What `kubectl describe gpuunit` tells: events about a unit's way, and what a person does about each problem."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from simulator.gpuunit import UNIT_LABEL
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, EVENT, GPUUNIT, Object
from simulator.reconciler.advice import failure_advice, obstacle_advice
from simulator.reconciler.observed import Failure, Obstacle
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.spec import read_unit
from simulator.reconciler.status import status_for
from simulator.reconciler.unit_events import UnitEvent, event_of

if TYPE_CHECKING:
    from tests.reconciler.conftest import MakePod, MakeUnit, World

NAMESPACE = "runtime-instance"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SERVERLESS: dict[str, Any] = {"serverless": {"requestID": "tts"}}
POD_NAME = "u1-7c9f-abcde"
AVAILABLE = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "availableReplicas": 1}}
RUNNING: Object = {"running": {"startedAt": "2026-03-04T05:00:00Z"}}
REFUSED = {
    "type": "ReplicaFailure",
    "status": "True",
    "reason": "FailedCreate",
    "message": 'pods "u1-7c9f-" is forbidden: exceeded quota: gpus',
}
NO_NODE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
}


def entry(name: str, state: Object, *, ready: bool = False, **last: Any) -> Object:
    return {"name": name, "state": state, "ready": ready, "lastState": last}


def waiting(name: str, reason: str, message: str = "", **last: Any) -> Object:
    return entry(name, {"waiting": {"reason": reason, "message": message}}, **last)


STARTING = entry("serverless-sidecar", RUNNING)
PROBLEMS = [
    pytest.param(
        {"main": [waiting("runtime-worker", "ErrImagePull", 'image "example/tts:9" not found')]},
        None,
        ("Failed", "PodStartupFailed"),
        f'container runtime-worker of pod {POD_NAME}: ErrImagePull: image "example/tts:9" not found; '
        "check spec.image, and that the nodes may pull it",
        id="missing-image",
    ),
    pytest.param(
        {"init": [waiting("serverless-sidecar", "ImagePullBackOff", "Back-off pulling image")]},
        None,
        ("Failed", "PodStartupFailed"),
        f"container serverless-sidecar of pod {POD_NAME}: ImagePullBackOff: Back-off pulling image; "
        "check the reconciler's sidecar image, and that the nodes may pull it",
        id="missing-sidecar-image",
    ),
    pytest.param(
        {
            "main": [
                waiting(
                    "runtime-worker",
                    "CrashLoopBackOff",
                    "back-off 10s",
                    terminated={"exitCode": 1, "message": "no model at /models\n"},
                )
            ]
        },
        None,
        ("Failed", "PodStartupFailed"),
        f"container runtime-worker of pod {POD_NAME}: CrashLoopBackOff: no model at /models; "
        f"see kubectl logs -n {NAMESPACE} {POD_NAME} -c runtime-worker --previous",
        id="crash-loop",
    ),
    pytest.param(
        {"phase": "Pending", "conditions": [NO_NODE]},
        None,
        ("Progressing", "UnitProgressing"),
        f"pod {POD_NAME}: Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.; "
        "add a node that has what is missing, or ask for less with spec.gpu and spec.memory",
        id="unschedulable",
    ),
    pytest.param(
        None,
        {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "conditions": [REFUSED]}},
        ("Progressing", "UnitProgressing"),
        'FailedCreate: pods "u1-7c9f-" is forbidden: exceeded quota: gpus; '
        f"see kubectl describe replicaset -n {NAMESPACE} -l {UNIT_LABEL}=u1",
        id="pods-refused",
    ),
]


@pytest.mark.parametrize(("pod", "deployment", "verdict", "message"), PROBLEMS)
def test_a_problem_shows_its_cause_and_what_to_do(
    make_unit: "MakeUnit",
    make_pod: "MakePod",
    settings: ReconcilerSettings,
    pod: dict[str, Any] | None,
    deployment: Object | None,
    verdict: tuple[str, str],
    message: str,
) -> None:
    pods = [] if pod is None else [make_pod(**pod)]
    status = status_for(make_unit(**SERVERLESS), deployment, pods, settings, NOW)
    ready = status["conditions"][0]
    assert (status["phase"], ready["reason"], ready["message"]) == (*verdict, message)
    assert event_of({}, status) == UnitEvent("Warning", verdict[1], message)


@pytest.mark.parametrize(
    ("sidecar", "phases"),
    [
        pytest.param(waiting("serverless-sidecar", "PodInitializing"), ("Progressing", "Pending"), id="not-started"),
        pytest.param(STARTING, ("Progressing", "Pending"), id="not-registered"),
        pytest.param(entry("serverless-sidecar", RUNNING, ready=True), ("Ready", "Ready"), id="registered"),
    ],
)
def test_c1_a_unit_is_ready_when_its_sidecar_is(
    make_unit: "MakeUnit", make_pod: "MakePod", settings: ReconcilerSettings, sidecar: Object, phases: tuple[str, str]
) -> None:
    """The framework runs all the time, and the Deployment still says available: the sidecar's readiness decides."""
    ready = "True" if sidecar["ready"] else "False"
    pod = make_pod(
        init=[sidecar],
        main=[entry("runtime-worker", RUNNING, ready=True)],
        conditions=[{"type": "Ready", "status": ready}],
    )
    status = status_for(make_unit(**SERVERLESS), AVAILABLE, [pod], settings, NOW)
    assert (status["phase"], status["serverless"]["phase"]) == phases
    assert [condition["status"] for condition in status["conditions"]] == [ready, ready]
    if sidecar is STARTING:
        assert "registers when the framework is healthy" in status["conditions"][0]["message"]


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (Failure("p", "c", "OOMKilled", ""), "give it more with spec.memory"),
        (Failure("p", "c", "Error", ""), f"see kubectl logs -n {NAMESPACE} p -c c --previous"),
        (Failure("p", "c", "CreateContainerConfigError", ""), f"see kubectl describe pod -n {NAMESPACE} p"),
        (Failure("p", "", "Evicted", ""), f"see kubectl describe pod -n {NAMESPACE} p"),
        (Failure("p", "", "Error", ""), f"see kubectl describe pod -n {NAMESPACE} p"),
    ],
)
def test_advice_on_failures(make_unit: "MakeUnit", failure: Failure, advice: str) -> None:
    assert failure_advice(failure, read_unit(make_unit())) == advice


def test_advice_on_storage(make_unit: "MakeUnit") -> None:
    obstacle = Obstacle("p", "Unschedulable", 'persistentvolumeclaim "models" not found')
    assert obstacle_advice(obstacle, read_unit(make_unit())) == "create the claim, or correct spec.storageMounts"


def status(phase: str, is_true: str, reason: str, message: str) -> Object:
    ready = {"type": "Ready", "status": is_true, "reason": reason, "message": message}
    return {"phase": phase, "conditions": [{"type": "Other"}, ready]}


WAITS = status("Progressing", "False", "UnitProgressing", "waiting for a pod to become available")
IS_READY = status("Ready", "True", "UnitReady", "a pod of the unit is available")
FAILS = status("Failed", "False", "PodStartupFailed", "boom")


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        ({}, WAITS, ("Normal", "UnitProgressing")),
        (WAITS, WAITS, None),
        (WAITS, {**WAITS, "readyReplicas": 1}, None),
        (WAITS, IS_READY, ("Normal", "UnitReady")),
        (IS_READY, WAITS, ("Normal", "UnitProgressing")),
        (IS_READY, FAILS, ("Warning", "PodStartupFailed")),
        (FAILS, status("Failed", "False", "PodStartupFailed", "bang"), ("Warning", "PodStartupFailed")),
        (FAILS, WAITS, ("Normal", "UnitProgressing")),
        (WAITS, status("Empty", "False", "TemplateOnly", "a pattern"), ("Normal", "TemplateOnly")),
        (WAITS, status("Progressing", "False", "UnitProgressing", "no node"), ("Warning", "UnitProgressing")),
    ],
)
def test_which_changes_are_told(before: Object, after: Object, event: tuple[str, str] | None) -> None:
    found = event_of(before, after)
    assert ((found.type, found.reason) if found else None) == event


def test_the_steps_of_an_ordinary_start_are_one_event(
    make_unit: "MakeUnit", make_pod: "MakePod", settings: ReconcilerSettings
) -> None:
    runs = make_pod(init=[STARTING], main=[entry("runtime-worker", RUNNING, ready=True)])
    first = status_for(make_unit(**SERVERLESS), None, [], settings, NOW)
    second = status_for(make_unit(**SERVERLESS), None, [runs], settings, NOW)
    assert first["conditions"][0]["message"] != second["conditions"][0]["message"]
    assert event_of(first, second) is None


async def events_of(world: "World", wanted: set[str]) -> list[Object]:
    """Wait until there are events of all wanted reasons about the unit; return all about it."""
    found: list[Object] = []

    def find(events: Informer) -> Object | None:
        found[:] = [event for event in events.objects() if event["involvedObject"]["kind"] == "GPUUnit"]
        return {} if {event["reason"] for event in found} >= wanted else None

    await world.object_with(EVENT, find)
    return found


async def test_events_about_a_unit(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SERVERLESS))
    unit = await world.unit_with("UnitProgressing")
    await world.make_available()
    await world.unit_with("UnitReady")
    told = await events_of(world, {"UnitProgressing", "UnitReady"})
    assert len(told) == 2
    for event in told:
        assert event["involvedObject"]["uid"] == unit["metadata"]["uid"]
        assert (event["type"], event["source"]["component"]) == ("Normal", "gpuunit-reconciler")


async def test_a_wrong_spec_is_told(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(serverless={"enabled": True}))
    await world.unit_with("ServerlessConfigInvalid")
    [event] = await events_of(world, {"ServerlessConfigInvalid"})
    assert (event["type"], event["message"]) == (
        "Warning",
        "serverless.requestID: is required when serverless is enabled",
    )


async def test_who_changes_an_object_by_hand_is_told(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SERVERLESS))
    await world.unit_with("UnitProgressing")
    await world.cluster.patch(DEPLOYMENT, "u1", {"spec": {"replicas": 2}}, NAMESPACE)
    told = await events_of(world, {"Reverted"})
    assert [event["message"] for event in told if event["reason"] == "Reverted"] == [
        "Deployment u1 was changed by others and is put right; change the unit instead"
    ]


async def test_a_change_of_the_unit_is_no_change_by_others(world: "World", make_unit: "MakeUnit") -> None:
    await world.create(make_unit(**SERVERLESS))
    await world.unit_with("UnitProgressing")
    await world.cluster.patch(GPUUNIT, "u1", {"spec": {"serverless": {"requestID": "other"}}}, NAMESPACE)

    def renamed(units: Informer) -> Object | None:
        unit = units.get(NAMESPACE, "u1")
        subject = (unit or {}).get("status", {}).get("serverless", {}).get("dispatchSubject", "")
        return unit if ".other." in subject else None

    await world.units.wait_for(renamed, 10)
    await world.make_available()
    assert {event["reason"] for event in await events_of(world, {"UnitReady"})} == {"UnitProgressing", "UnitReady"}
