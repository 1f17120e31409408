"""Times in a unit's status: they move with what they date, and writing a status changes no argument (C3)."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kube.kinds import Object
from simulator.kube.patching.merge import merge_patch
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.status import failure_status, status_changed, status_for, status_patch

MakeUnit = Callable[..., Object]
MakePod = Callable[..., Object]

NOW = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
NOW_TEXT = "2026-03-04T05:06:07Z"
EARLIER = "2026-03-04T05:00:00Z"

AVAILABLE = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "availableReplicas": 1}}
UNAVAILABLE = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1}}
RUNTIME_FAILURE = {"main": [{"name": "runtime-worker", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}
READY_POD = {"name": "u1-ready", "conditions": [{"type": "Ready", "status": "True"}]}
SERVERLESS = {"serverless": {"requestID": "TTS"}}
STORAGE = {"storageMounts": [{"name": "models", "mountPath": "/models"}]}
PORTS = {"template": {"ports": [{"name": "http", "port": 8080}]}}


def test_times_stay_while_nothing_changes(make_unit: MakeUnit, make_pod: MakePod, settings: ReconcilerSettings) -> None:
    """C3: the second look gives the very same status."""
    pods = [make_pod(**READY_POD)]
    first = status_for(make_unit(**SERVERLESS), AVAILABLE, pods, settings, NOW)
    second = status_for(make_unit(status=first, **SERVERLESS), AVAILABLE, pods, settings, NOW + timedelta(days=1))
    assert first["phase"] == "Ready"
    assert second == first
    assert not status_changed(first, second)


def test_a_new_reason_moves_the_sync_time_only(
    make_unit: MakeUnit, make_pod: MakePod, settings: ReconcilerSettings
) -> None:
    """C3: the transition time tells since when the status holds, whatever the reason was meanwhile."""
    first = status_for(make_unit(), None, [], settings, NOW)
    later = NOW + timedelta(seconds=5)
    second = status_for(make_unit(status=first), None, [make_pod(**RUNTIME_FAILURE)], settings, later)
    assert status_changed(first, second)
    assert second["lastSyncTime"] == "2026-03-04T05:06:12Z"
    assert second["conditions"][0]["lastTransitionTime"] == NOW_TEXT


def test_a_new_generation_is_a_change(make_unit: MakeUnit, settings: ReconcilerSettings) -> None:
    first = status_for(make_unit(), None, [], settings, NOW)
    unit = make_unit(status=first)
    unit["metadata"]["generation"] = 4
    assert status_changed(first, status_for(unit, None, [], settings, NOW))


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ({}, {"phase": "Ready"}, True),
        ({"lastSyncTime": EARLIER}, {"lastSyncTime": NOW_TEXT}, False),
        (
            {"conditions": [{"type": "Ready", "lastTransitionTime": EARLIER}]},
            {"conditions": [{"type": "Ready", "lastTransitionTime": NOW_TEXT}]},
            False,
        ),
        ({"conditions": [{"type": "Ready", "status": "True"}]}, {"conditions": []}, True),
        ({"conditions": None}, {"conditions": []}, False),
        ({"readyReplicas": 1}, {"readyReplicas": 0}, True),
    ],
)
def test_status_changed(old: Object, new: Object, changed: bool) -> None:
    assert status_changed(old, new) is changed


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1, "b": 2}, {"b": 3}, {"a": None, "b": 3}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}}, {"a": {"c": None, "d": 3}}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
        ({"a": [1, 2]}, {"a": [2]}, {"a": [2]}),
        ({"a": None}, {"a": {}}, {"a": {}}),
    ],
)
def test_the_patch_from_one_status_to_another(old: Object, new: Object, patch: Object) -> None:
    assert status_patch(old, new) == patch
    assert merge_patch(old, patch) == new


VALUES = st.recursive(
    st.integers(0, 2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)
STATUSES = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(STATUSES, STATUSES)
def test_the_patch_makes_any_status_of_any_other(old: Object, new: Object) -> None:
    assert merge_patch(old, status_patch(old, new)) == new


WAITING = st.sampled_from(["", "ContainerCreating", "ErrImagePull", "CrashLoopBackOff"])
STATES: st.SearchStrategy[Object] = st.one_of(
    st.just({}),
    st.just({"running": {}}),
    WAITING.map(lambda reason: {"waiting": {"reason": reason}}),
    st.integers(0, 2).map(lambda code: {"terminated": {"exitCode": code}}),
)
PODS = st.lists(
    st.fixed_dictionaries(
        {
            "phase": st.sampled_from(["Pending", "Running", "Failed", "Succeeded"]),
            "deleted": st.booleans(),
            "conditions": st.sampled_from([[], READY_POD["conditions"]]),
            "init": STATES.map(lambda state: [{"name": "serverless-sidecar", "state": state}]),
            "main": STATES.map(lambda state: [{"name": "runtime-worker", "state": state}]),
        }
    ),
    max_size=2,
)
SPECS = st.sampled_from([{}, SERVERLESS, PORTS, STORAGE, {**SERVERLESS, **PORTS}])
OBSERVATIONS = st.lists(
    st.tuples(SPECS, st.sampled_from([None, AVAILABLE, UNAVAILABLE]), PODS, st.booleans()), min_size=1, max_size=6
)


@given(OBSERVATIONS)
def test_a_units_history(
    make_unit: MakeUnit, make_pod: MakePod, settings: ReconcilerSettings, observations: list[Any]
) -> None:
    """C3: no argument is ever changed, and a transition time moves exactly when its status flips."""
    before: Object | None = None
    for step, (spec, deployment, pod_specs, fails) in enumerate(observations):
        unit = make_unit(status=before, **spec)
        pods = [make_pod(**pod) for pod in pod_specs]
        now = NOW + timedelta(seconds=step)
        given_values = copy.deepcopy((unit, deployment, pods))
        if fails:
            after = failure_status(unit, "UnitDeploymentSyncFailed", "because", settings, now)
        else:
            after = status_for(unit, deployment, pods, settings, now)
        assert (unit, deployment, pods) == given_values
        assert_times(before, after, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        before = after


def assert_times(before: Object | None, after: Object, now: str) -> None:
    earlier = {entry["type"]: entry for entry in (before or {"conditions": []})["conditions"]}
    for entry in after["conditions"]:
        was = earlier.get(entry["type"])
        flipped = was is None or was["status"] != entry["status"]
        assert entry["lastTransitionTime"] == (now if flipped else earlier[entry["type"]]["lastTransitionTime"])
    changed = before is None or status_changed(before, after)
    assert after["lastSyncTime"] == (now if changed else (before or {})["lastSyncTime"])
