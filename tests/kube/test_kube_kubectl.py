"""The unmodified kubectl against the embedded API."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from simulator.kube.kinds import CONFIG_MAP, GPUUNIT, SECRET
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample
from tests.kubectl import needs_kubectl, run_kubectl

pytestmark = [pytest.mark.e2e, needs_kubectl]

Kubectl = Callable[..., Awaitable[tuple[int | None, str]]]


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path) -> Kubectl:
    """Run kubectl and return its exit code and output."""

    async def run(*arguments: str) -> tuple[int | None, str]:
        return await run_kubectl(kubeconfig, tmp_path, "--request-timeout=10s", *arguments)

    return run


async def test_kubectl_reads_and_patches_a_secret(store: ResourceStore, kubectl: Kubectl) -> None:
    """It comes to the API, as every client does, by the address in the kubeconfig that admits it."""
    store.create(SECRET, {"metadata": {"name": "s"}, "stringData": {"nats.creds": "hush"}}, NS)
    assert await kubectl("get", "secrets", "-o", "name") == (0, "secret/s")
    assert await kubectl("get", "secret", "s", "-o", r"jsonpath={.data.nats\.creds}") == (0, "aHVzaA==")
    assert (await kubectl("patch", "secret", "s", "--type=merge", "-p", '{"stringData":{"a":"b"}}'))[0] == 0
    assert store.get(SECRET, "s", NS)["data"] == {"nats.creds": "aHVzaA==", "a": "Yg=="}


async def test_kubectl_reads_patches_and_deletes(store: ResourceStore, kubectl: Kubectl) -> None:
    unit = store.create(GPUUNIT, sample(GPUUNIT, "u1"), NS)
    store.update_status(GPUUNIT, {**unit, "status": {"phase": "Ready"}}, NS)

    code, output = await kubectl("get", "gpuunits", "-n", NS, "-o", "json")
    assert code == 0
    assert [item["metadata"]["name"] for item in json.loads(output)["items"]] == ["u1"]
    assert await kubectl("get", "gpuu", "u1", "-o", "jsonpath={.status.phase}") == (0, "Ready")
    assert await kubectl("patch", "gpuunit", "u1", "--type=merge", "-p", '{"spec":{"gpu":2}}') == (
        0,
        "gpuunit.runtime.lokiwager.io/u1 patched",
    )
    assert store.get(GPUUNIT, "u1", NS)["spec"] == {"specName": "s", "gpu": 2}
    assert await kubectl("delete", "gpuunit", "u1") == (0, 'gpuunit.runtime.lokiwager.io "u1" deleted')
    assert store.list(GPUUNIT) == []
    assert await kubectl("get", "gpuunit", "u1") == (
        1,
        'Error from server (NotFound): gpuunits.runtime.lokiwager.io "u1" not found',
    )


async def test_kubectl_applies_a_list_after_a_look_at_its_items(
    store: ResourceStore, kubectl: Kubectl, tmp_path: Path
) -> None:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]}))
    assert await kubectl("apply", "-n", NS, "-f", str(listed)) == (0, "configmap/c created")
    listed.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [{**item, "dat": {}}]}))
    code, output = await kubectl("apply", "-n", NS, "-f", str(listed))
    assert code == 1
    assert 'unknown field "dat" in io.k8s.api.core.v1.ConfigMap' in output
    assert store.get(CONFIG_MAP, "c", NS)["data"] == {"a": "1"}
