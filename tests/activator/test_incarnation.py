"""Whether a worker's sidecar still is the one that registered (S13)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulator.activator.incarnation import has_ended, is_terminating
from simulator.gpuunit import SIDECAR_CONTAINER
from simulator.kube.kinds import Object

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pod(*states: dict[str, Any] | None, leaving: bool = False) -> Object:
    """A pod with a sidecar in a state, beside another container."""
    statuses = [{"name": "another", "state": {"running": {"startedAt": "2026-01-01T12:59:00Z"}}}]
    statuses += [{"name": SIDECAR_CONTAINER, "state": state} for state in states if state is not None]
    metadata = {"name": "pod", **({"deletionTimestamp": "2026-01-01T12:00:00Z"} if leaving else {})}
    return {"metadata": metadata, "status": {"initContainerStatuses": statuses}}


def running(second: int) -> dict[str, Any]:
    return {"running": {"startedAt": f"2026-01-01T12:00:{second:02}Z"}}


DEAD = {"terminated": {"exitCode": 137}}
WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("pods", "registered_s", "ended"),
    [
        pytest.param([pod(running(5))], 6.0, False, id="it runs"),
        pytest.param([pod(running(5))], 5.0, False, id="registered in the second of its start"),
        pytest.param([pod(running(5))], 4.999, True, id="another one runs"),
        pytest.param([pod(DEAD)], 6.0, True, id="it died"),
        pytest.param([pod(WAITING)], 6.0, True, id="its successor waits"),
        pytest.param([pod({})], 6.0, True, id="no state"),
        pytest.param([pod(None)], 6.0, True, id="no status of it yet"),
        pytest.param([{"metadata": {"name": "pod"}}], 6.0, True, id="no status at all"),
        pytest.param([], 6.0, True, id="no pods"),
        pytest.param([pod(DEAD), pod(running(5))], 6.0, False, id="one of two pods has it"),
        pytest.param([pod(running(5), leaving=True), pod(running(9))], 6.0, False, id="it drains beside its successor"),
        pytest.param([pod(running(8)), pod(running(9))], 6.0, True, id="two successors"),
        pytest.param([pod({"running": {}})], 6.0, False, id="runs since nobody knows when"),
        pytest.param([pod({"running": {"startedAt": None}})], 6.0, False, id="runs, without a time"),
        pytest.param([pod(running(5))], None, False, id="nobody heard it register, but one runs"),
        pytest.param([pod(DEAD)], None, True, id="nobody heard it register, and none runs"),
    ],
)
def test_has_ended(pods: list[Object], registered_s: float | None, ended: bool) -> None:
    registered_at = None if registered_s is None else NOON + timedelta(seconds=registered_s)
    assert has_ended(pods, registered_at) is ended


@pytest.mark.parametrize(
    ("leaving", "expected"), [([], False), ([True], True), ([False], False), ([True, False], False), ([True] * 2, True)]
)
def test_is_terminating(leaving: list[bool], expected: bool) -> None:
    assert is_terminating([pod(running(5), leaving=each) for each in leaving]) is expected
