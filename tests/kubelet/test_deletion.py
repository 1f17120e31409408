"""What is told of the containers of a deleted pod: tables of records."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from simulator.kube.kinds import Object
from simulator.kubelet.deletion import (
    UNKNOWN_END,
    at_deletion,
    first_waiting,
    given_up,
    main_ones_had_their_turn,
    while_ending,
)
from simulator.kubelet.states import ContainerKind, ContainerRecord, Running, State, Terminated, Waiting

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUNNING = Running(NOW, "run")
FAILED = Terminated(1, "Error", NOW, NOW, id="run")
DONE = Terminated(0, "Completed", NOW, NOW, id="run")
PULLING, CRASHING = Waiting("ImagePullBackOff", "no"), Waiting("CrashLoopBackOff", "back-off 10s")
FIRST = Waiting("PodInitializing")
SPEC: Object = {"initContainers": [{}]}


def record(
    kind: ContainerKind, state: State, *, started: bool = False, last: Terminated | None = None
) -> ContainerRecord:
    return ContainerRecord(kind.value, "image", kind, state, last=last, started=started)


def main(state: State, last: Terminated | None = None) -> ContainerRecord:
    return record(ContainerKind.MAIN, state, last=last)


@pytest.mark.parametrize(
    ("told", "expected"),
    [(main(CRASHING, FAILED), FAILED), (main(PULLING), FIRST), (main(RUNNING), RUNNING), (main(FAILED), FAILED)],
)
def test_what_a_container_waited_for_does_not_matter_any_more(told: ContainerRecord, expected: State) -> None:
    assert at_deletion(told, SPEC) == replace(told, state=expected)


def test_what_a_container_waits_for_first() -> None:
    assert first_waiting({"containers": []}) == Waiting("ContainerCreating")
    assert first_waiting(SPEC) == FIRST


def test_while_a_pod_ends_only_readiness_is_told() -> None:
    told = replace(main(RUNNING), ready=True)
    assert while_ending(told, replace(told, ready=False)) == replace(told, ready=False)
    assert while_ending(told, replace(told, state=DONE, ready=False)) == told
    assert while_ending(main(FAILED), main(RUNNING)) == main(FAILED)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([main(PULLING)], True),
        ([record(ContainerKind.SIDECAR, RUNNING, started=True), main(PULLING)], True),
        ([record(ContainerKind.SIDECAR, RUNNING), main(FIRST)], False),
        ([record(ContainerKind.SIDECAR, DONE, started=True), main(FIRST)], False),
        ([record(ContainerKind.SIDECAR, RUNNING), main(CRASHING, FAILED)], True),
        ([record(ContainerKind.INIT, DONE), main(FIRST)], True),
        ([record(ContainerKind.INIT, FAILED), main(FIRST)], False),
    ],
)
def test_whether_main_containers_had_their_turn(records: list[ContainerRecord], expected: bool) -> None:
    assert main_ones_had_their_turn(records) is expected


def test_who_cannot_be_asked_any_more_has_failed() -> None:
    first, second = record(ContainerKind.INIT, FIRST), record(ContainerKind.SIDECAR, FIRST)
    assert given_up([first, second, main(FIRST)], main_ones_too=False) == [
        replace(first, state=UNKNOWN_END),
        second,
        main(FIRST),
    ]
    ended = replace(first, state=DONE)
    begun = replace(second, state=RUNNING)
    assert given_up([ended, begun, main(FIRST)], main_ones_too=True) == [
        ended,
        replace(begun, state=UNKNOWN_END),
        main(UNKNOWN_END),
    ]
