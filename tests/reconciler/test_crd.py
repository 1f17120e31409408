"""The shipped resource definition knows every field that is read or written: a real cluster drops all others."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fixtures
from simulator.kube.crds import platform_crd
from simulator.kube.kinds import GPUUNIT, Object
from simulator.reconciler.settings import ReconcilerSettings
from simulator.reconciler.status import failure_status, status_for

MakeUnit = Callable[..., Object]

FIXTURES = Path(fixtures.__file__).parent
UNITS = [*sorted((FIXTURES / "manifests").glob("*.yaml")), *sorted((Path(__file__).parent / "golden").glob("*.yaml"))]


@pytest.fixture(scope="module")
def crd() -> Any:
    return platform_crd()


@pytest.fixture(scope="module")
def schema(crd: Any) -> Any:
    [version] = crd["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]["properties"]


def misfits(value: Any, schema: Any, path: str = "") -> list[str]:
    """Paths at which the value has a field that the schema lacks, or lacks one that it requires."""
    if isinstance(value, list):
        return [misfit for entry in value for misfit in misfits(entry, schema["items"], f"{path}[]")]
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    known = schema.get("properties", {})
    missing = [f"{path}.{name} missing" for name in schema.get("required", ()) if name not in value]
    unknown = [f"{path}.{name} unknown" for name in value if name not in known]
    inner = [misfits(value[name], known[name], f"{path}.{name}") for name in value if name in known]
    return missing + unknown + [misfit for found in inner for misfit in found]


def test_names(crd: Any) -> None:
    spec = crd["spec"]
    [version] = spec["versions"]
    assert crd["metadata"]["name"] == GPUUNIT.resource
    assert (spec["group"], version["name"]) == (GPUUNIT.group, GPUUNIT.version)
    assert (spec["names"]["kind"], spec["names"]["plural"]) == (GPUUNIT.kind, GPUUNIT.plural)
    assert tuple(spec["names"]["shortNames"]) == GPUUNIT.short_names
    assert version["subresources"] == {"status": {}}
    assert [column["name"] for column in version["additionalPrinterColumns"]] == ["Spec", "Phase", "Access", "Age"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_specs_fit(schema: Any, path: Path) -> None:
    document = msgspec.yaml.decode(path.read_bytes())
    assert misfits(document.get("unit", document)["spec"], schema["spec"]) == []


def test_statuses_fit(schema: Any, make_unit: MakeUnit, settings: ReconcilerSettings, now: datetime) -> None:
    """C3: above all, each condition has its transition time."""
    unit = make_unit(serverless={"requestID": "tts"}, template={"ports": [{"name": "http", "port": 80}]})
    status = status_for(unit, None, [], settings, now)
    assert {"serviceName", "accessURL", "serverless", "ssh"} <= status.keys()
    assert misfits(status, schema["status"]) == []
    assert misfits(failure_status(unit, "InvalidSpec", "because", settings, now), schema["status"]) == []


def test_a_misfit_would_be_seen(schema: Any) -> None:
    status = {"phase": "Ready", "mood": "good", "conditions": [{"type": "Ready"}]}
    assert len(misfits(status, schema["status"])) == 5
