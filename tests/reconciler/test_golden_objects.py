"""The objects of whole units, as golden YAML. `UPDATE_GOLDEN=1 pytest ...` writes them anew; read the diff."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fixtures
from simulator.kube.kinds import Object
from simulator.reconciler.deployment import deployment_for
from simulator.reconciler.network_policy import network_policy_for
from simulator.reconciler.service import service_for
from simulator.reconciler.settings import NetworkPolicyTarget, ReconcilerSettings
from simulator.reconciler.spec import read_unit

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*.yaml"))
MANIFESTS = sorted((Path(fixtures.__file__).parent / "manifests").glob("*.yaml"))


def test_there_are_cases() -> None:
    assert len(CASES) >= 6
    assert len(MANIFESTS) >= 3


def settings_of(case: dict[str, Any]) -> ReconcilerSettings:
    given = dict(case["settings"])
    if target := given.pop("network_policy_target", None):
        given["network_policy_target"] = NetworkPolicyTarget(**target)
    if backoff := given.pop("dispatch_backoff_s", None):
        given["dispatch_backoff_s"] = tuple(backoff)
    return ReconcilerSettings(**given)


def objects_for(unit: Object, settings: ReconcilerSettings) -> list[Object]:
    objects = [service_for(unit), network_policy_for(unit, settings), deployment_for(unit, settings)]
    return [obj for obj in objects if obj is not None]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_golden_objects(path: Path) -> None:
    case = msgspec.yaml.decode(path.read_bytes())
    objects = objects_for(case["unit"], settings_of(case))
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(msgspec.yaml.encode({**case, "objects": objects}))
    else:
        assert objects == case["objects"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_example_manifests_are_valid(path: Path, settings: ReconcilerSettings) -> None:
    unit = msgspec.yaml.decode(path.read_bytes())
    unit["metadata"]["uid"] = "given-by-the-cluster"
    assert (unit["apiVersion"], unit["kind"]) == ("runtime.lokiwager.io/v1alpha1", "GPUUnit")
    spec, objects = read_unit(unit), objects_for(unit, settings)
    assert len(objects) == (2 if spec.is_template else 3)
    assert bool(spec.access_url) is not spec.is_template
