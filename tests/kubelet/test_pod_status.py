"""Pod statuses, in the forms that a real cluster was seen to write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from simulator.kube.kinds import Object
from simulator.kubelet.pod_status import PodFacts, pod_status, status_patch
from simulator.kubelet.states import (
    ContainerKind,
    ContainerRecord,
    Running,
    State,
    Terminated,
    Waiting,
    start_error,
    terminated,
)

T0 = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
T1 = T0 + timedelta(seconds=1)
T0_TEXT, T1_TEXT = "2026-11-22T10:00:00Z", "2026-11-22T10:00:01Z"

INITIALIZING = Waiting("PodInitializing")
RUNNING = Running(T0, "7")
DONE = terminated(0, RUNNING, T1)
FAILED = terminated(1, RUNNING, T1)
KILLED = terminated(-9, RUNNING, T1)
BACK_OFF = Waiting("CrashLoopBackOff", "back-off 10s restarting")
PULL = Waiting("ErrImagePull", "not found")
START_ERROR = start_error("no such file", "8", T1)

SIDECAR = ContainerRecord("side", "img:1", ContainerKind.SIDECAR, INITIALIZING)
MAIN = ContainerRecord("main", "img:2", ContainerKind.MAIN, INITIALIZING)
SIDECAR_UP = replace(SIDECAR, state=RUNNING, started=True, ready=True)
MAIN_UP = replace(MAIN, state=RUNNING, started=True, ready=True)


def facts(*records: ContainerRecord, ending: bool = False, notice: str = "") -> PodFacts:
    return PodFacts(generation=1, records=records, started_at=T0, ended=ending, lost=ending, notice=notice)


def summary(status: Object) -> tuple[str, str, str]:
    """Phase, the types of conditions that are True (by initial), and the reason of Ready."""
    conditions = {entry["type"]: entry for entry in status["conditions"]}
    names = ("Initialized", "ContainersReady", "Ready", "PodScheduled")
    true = "".join(name[0] for name in names if conditions[name]["status"] == "True")
    return status["phase"], true, conditions["Ready"].get("reason", "")


@pytest.mark.parametrize(
    ("records", "ending", "expected"),
    [
        ([SIDECAR, MAIN], False, ("Pending", "P", "ContainersNotReady")),
        ([replace(SIDECAR, state=RUNNING), MAIN], False, ("Pending", "P", "ContainersNotReady")),
        ([SIDECAR_UP, MAIN], False, ("Pending", "IP", "ContainersNotReady")),
        ([SIDECAR_UP, MAIN_UP], False, ("Running", "ICRP", "")),
        ([SIDECAR_UP, replace(MAIN, state=FAILED)], False, ("Running", "IP", "ContainersNotReady")),
        ([SIDECAR_UP, replace(MAIN, state=BACK_OFF, last=FAILED)], False, ("Running", "IP", "ContainersNotReady")),
        ([SIDECAR_UP, replace(MAIN, state=Waiting("RunContainerError"), last=START_ERROR)], False,
         ("Running", "IP", "ContainersNotReady")),
        ([SIDECAR_UP, replace(MAIN, state=PULL)], False, ("Pending", "IP", "ContainersNotReady")),
        ([replace(SIDECAR, state=BACK_OFF, last=FAILED), MAIN], False, ("Pending", "P", "ContainersNotReady")),
        ([replace(SIDECAR, state=KILLED), MAIN_UP], False, ("Running", "IP", "ContainersNotReady")),
        ([SIDECAR_UP, replace(MAIN, state=DONE)], False, ("Running", "IP", "ContainersNotReady")),
        ([replace(SIDECAR, state=DONE), replace(MAIN, state=DONE)], True, ("Succeeded", "IP", "PodCompleted")),
        ([replace(SIDECAR, state=KILLED), replace(MAIN, state=DONE)], True, ("Succeeded", "IP", "PodCompleted")),
        ([replace(SIDECAR, state=DONE), replace(MAIN, state=KILLED)], True, ("Failed", "IP", "PodFailed")),
        ([replace(SIDECAR, state=DONE), MAIN], True, ("Failed", "P", "ContainersNotReady")),
        ([MAIN_UP, replace(MAIN_UP, name="two", ready=False)], False, ("Running", "IP", "ContainersNotReady")),
    ],
)  # fmt: skip
def test_phase_and_conditions(records: list[ContainerRecord], ending: bool, expected: tuple[str, str, str]) -> None:
    assert summary(pod_status(facts(*records, ending=ending), {}, T1)) == expected


def test_ordinary_init_containers_hold_up_initialization_only() -> None:
    setup = ContainerRecord("setup", "img:1", ContainerKind.INIT, RUNNING, started=True)
    status = pod_status(facts(setup, MAIN), {}, T1)
    initialized, ready = status["conditions"][1:3]
    assert initialized["message"] == "containers with incomplete status: [setup]"
    assert ready["message"] == "containers with unready status: [main]"
    done = replace(setup, state=DONE, started=False, ready=True)
    assert summary(pod_status(facts(done, MAIN_UP), {}, T1)) == ("Running", "ICRP", "")


@pytest.mark.parametrize(
    ("state", "last", "expected_state", "expected_last"),
    [
        (PULL, None, {"waiting": {"reason": "ErrImagePull", "message": "not found"}}, {}),
        (RUNNING, None, {"running": {"startedAt": T0_TEXT}}, {}),
        (
            BACK_OFF,
            KILLED,
            {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}},
            {"exitCode": 137, "reason": "Error", "startedAt": T0_TEXT, "finishedAt": T1_TEXT, "containerID": "process://7"},
        ),
        (
            Waiting("RunContainerError", "no such file"),
            START_ERROR,
            {"waiting": {"reason": "RunContainerError", "message": "no such file"}},
            {"exitCode": 128, "reason": "StartError", "message": "no such file", "startedAt": "1970-01-01T00:00:00Z",
             "finishedAt": T1_TEXT, "containerID": "process://8"},
        ),
    ],
)  # fmt: skip
def test_container_states(state: State, last: Terminated | None, expected_state: Object, expected_last: Object) -> None:
    status = pod_status(facts(replace(MAIN, state=state, last=last, restarts=2)), {}, T1)
    (entry,) = status["containerStatuses"]
    assert entry["state"] == expected_state
    assert entry["lastState"] == ({"terminated": expected_last} if expected_last else {})
    assert entry["restartCount"] == 2
    assert "initContainerStatuses" not in status


def test_conditions_keep_their_times_until_they_turn() -> None:
    first = pod_status(facts(SIDECAR, MAIN), {}, T0)
    again = pod_status(facts(SIDECAR, MAIN), first, T1)
    assert again == first
    ready = pod_status(facts(SIDECAR_UP, MAIN_UP), first, T1)
    times = {entry["type"]: entry["lastTransitionTime"] for entry in ready["conditions"]}
    assert times == {
        "PodReadyToStartContainers": T0_TEXT,
        "Initialized": T1_TEXT,
        "Ready": T1_TEXT,
        "ContainersReady": T1_TEXT,
        "PodScheduled": T0_TEXT,
    }


def test_notice_of_a_substituted_image() -> None:
    status = pod_status(facts(MAIN_UP, notice="echo runs"), {}, T1)
    assert (status["reason"], status["message"]) == ("ImageSubstituted", "echo runs")


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({}, {}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}),
        ({"a": 1, "b": 2}, {"a": 1}, {"b": None}),
        ({}, {"a": [1]}, {"a": [1]}),
    ],
)
def test_status_patch_holds_what_changed(before: Object, after: Object, patch: Object) -> None:
    assert status_patch(before, after) == patch
