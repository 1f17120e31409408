"""The unmodified kubectl against the embedded API."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from simulator.kube.kinds import GPUUNIT, SECRET
from simulator.kube.store import ResourceStore
from tests.kube.samples import NS, sample

KUBECTL = shutil.which("kubectl")
WAIT_S = 30

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")]

Kubectl = Callable[..., Awaitable[tuple[int | None, str]]]


@pytest.fixture
def kubectl(kubeconfig: Path, tmp_path: Path) -> Kubectl:
    """Run kubectl and return its exit code and output."""

    async def run(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            str(KUBECTL), f"--kubeconfig={kubeconfig}", f"--cache-dir={tmp_path}", "--request-timeout=10s", *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            async with asyncio.timeout(WAIT_S):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode, output.decode().strip()

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
