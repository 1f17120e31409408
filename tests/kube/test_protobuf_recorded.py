"""Bodies that a real kubectl 1.32 and a real Kubernetes 1.36 wrote, against the JSON they wrote of the same objects.

`protobuf_golden/kubectl` has what `kubectl create` sends, beside what it prints with `--dry-run=client -o json`;
`protobuf_golden/api` the two answers of the API to the same GET.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from simulator.kube.access.users import ADMIN
from simulator.kube.kinds import BUILT_IN_KINDS, Object
from simulator.kube.schema.builtin import definition_names
from simulator.kube.schema.protobuf import MEDIA_TYPE, opened, read_message
from simulator.kube.server import KubeServer
from tests.kube.sessions import session_with

GOLDEN = Path(__file__).parent / "protobuf_golden"
SENT = sorted((GOLDEN / "kubectl").glob("*.pb"))
RECORDED = [*SENT, *sorted((GOLDEN / "api").glob("*.pb"))]
GIVEN = {"uid", "creationTimestamp", "resourceVersion", "time", "clusterIP", "clusterIPs", "nodePort"}
"""What the server makes up."""


def test_there_are_recordings() -> None:
    assert len(SENT) == 15
    assert len(RECORDED) == 23


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_json_is_that_of_the_same_client(path: Path) -> None:
    body, expected = _recorded(path)
    assert _read(body) == _without_types_of_templates(_without_null_times(expected))


def _recorded(path: Path) -> tuple[bytes, Object]:
    return path.read_bytes(), json.loads(path.with_suffix(".json").read_text())


def _read(body: bytes) -> Object:
    envelope = opened(body)
    group, _, version = envelope.api_version.rpartition("/")
    definition = definition_names()[group, version, envelope.kind]
    return {
        "apiVersion": envelope.api_version,
        "kind": envelope.kind,
        **read_message(definition, envelope.raw),
    }


def _without_null_times(value: Any) -> Any:
    """kubectl 1.32 still writes `creationTimestamp: null`, which the release that is imitated here leaves out."""
    if isinstance(value, dict):
        return {
            name: _without_null_times(item)
            for name, item in value.items()
            if not (name == "creationTimestamp" and item is None)
        }
    return [_without_null_times(item) for item in value] if isinstance(value, list) else value


def _without_types_of_templates(obj: Object) -> Object:
    """Only the outermost object has its kind in Protocol Buffers."""
    for template in obj.get("spec", {}).get("volumeClaimTemplates", ()):
        del template["apiVersion"], template["kind"]
    return obj


@pytest.mark.parametrize("path", SENT, ids=lambda path: path.stem)
async def test_an_object_is_the_same_in_either_form(server: KubeServer, path: Path) -> None:
    body, sent = _recorded(path)
    kind = next(kind for kind in BUILT_IN_KINDS if kind.kind == sent["kind"])
    collection = f"{'apis' if kind.group else 'api'}/{kind.api_version}"
    if kind.namespaced:
        collection += "/namespaces/team1"
    url = f"{collection}/{kind.plural}?dryRun=All&fieldValidation=Strict&fieldManager=kubectl-create"
    accept = {"Accept": f"{MEDIA_TYPE},application/json"}
    async with session_with(server, ADMIN, headers=accept) as session:
        if kind.namespaced:
            await session.post("api/v1/namespaces", json={"metadata": {"name": "team1"}})
        async with session.post(url, data=body, headers={"Content-Type": MEDIA_TYPE}) as response:
            assert (response.status, response.content_type) == (201, "application/json")
            created = await response.json()
        async with session.post(url, json=sent) as response:
            assert response.status == 201
            assert _comparable(created) == _comparable(await response.json())


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _comparable(item) for name, item in value.items() if name not in GIVEN}
    return [_comparable(item) for item in value] if isinstance(value, list) else value
