"""The objects of whole units, as they are applied, as golden YAML; what is refused, with its reason.

`UPDATE_GOLDEN=1 pytest ...` writes them anew; read the diff.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fixtures
from simulator.errors import AlreadyExistsError
from simulator.gpuunit import UnitSpecError
from simulator.kube.client import Cluster
from simulator.kube.kinds import GPUUNIT, NAMESPACE, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.reconciler.children import OWNED_KINDS
from simulator.reconciler.deployment import deployment_for
from simulator.reconciler.network_policy import network_policy_for
from simulator.reconciler.objects import FIELD_MANAGER, must_write
from simulator.reconciler.service import service_for
from simulator.reconciler.settings import NetworkPolicyTarget, ReconcilerSettings
from simulator.reconciler.spec import read_unit
from simulator.reconciler.status import spec_failure_reason

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*.yaml"))
NAMES = [path.stem for path in CASES]
MANIFESTS = sorted((Path(fixtures.__file__).parent / "manifests").glob("*.yaml"))


def test_there_are_cases() -> None:
    assert len(CASES) >= 17
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


def expected_of(case: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"objects": objects_for(case["unit"], settings_of(case))}
    except UnitSpecError as error:
        return {"refused": {"reason": spec_failure_reason(error), "message": str(error)}}


@pytest.mark.parametrize("path", CASES, ids=NAMES)
def test_golden_objects(path: Path) -> None:
    case = msgspec.yaml.decode(path.read_bytes())
    given = {name: case.pop(name) for name in ("settings", "unit")}
    expected = expected_of(given)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(msgspec.yaml.encode({**given, **expected}))
    else:
        assert expected == case


@pytest.mark.parametrize("case", [msgspec.yaml.decode(path.read_bytes()) for path in CASES], ids=NAMES)
async def test_golden_objects_are_accepted_and_need_no_second_apply(case: dict[str, Any], tmp_path: Path) -> None:
    """C2: by an API with defaults, validation and field ownership."""
    async with KubeServer(ResourceStore()) as server:
        server.write_kubeconfig(tmp_path / "kubeconfig")
        async with Cluster(tmp_path / "kubeconfig", field_manager="test") as cluster:
            metadata = {name: value for name, value in case["unit"]["metadata"].items() if name != "uid"}
            with contextlib.suppress(AlreadyExistsError):
                await cluster.create(NAMESPACE, {"metadata": {"name": metadata["namespace"]}})
            unit = await cluster.create(GPUUNIT, {**case["unit"], "metadata": metadata})
            for obj in expected_of({**case, "unit": unit}).get("objects", []):
                kind = next(kind for kind in OWNED_KINDS if kind.kind == obj["kind"])
                live = await cluster.apply(kind, obj, manager=FIELD_MANAGER)
                assert not must_write(live, obj)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_example_manifests_are_valid(path: Path, settings: ReconcilerSettings) -> None:
    unit = msgspec.yaml.decode(path.read_bytes())
    unit["metadata"]["uid"] = "given-by-the-cluster"
    assert (unit["apiVersion"], unit["kind"]) == ("runtime.lokiwager.io/v1alpha1", "GPUUnit")
    spec, objects = read_unit(unit), objects_for(unit, settings)
    assert len(objects) == (2 if spec.is_template else 3)
    assert bool(spec.access_url) is not spec.is_template
