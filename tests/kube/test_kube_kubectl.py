"""The unmodified kubectl against the embedded API."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from simulator.kube.kinds import GPUUNIT
from simulator.kube.store import ResourceStore

KUBECTL = shutil.which("kubectl")
NS = "runtime-instance"
WAIT_S = 30

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed")]


async def test_kubectl_reads_patches_and_deletes(store: ResourceStore, kubeconfig: Path, tmp_path: Path) -> None:
    async def kubectl(*arguments: str) -> tuple[int | None, str]:
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

    unit = store.create(GPUUNIT, {"metadata": {"name": "u1"}, "spec": {"gpu": 1}}, NS)
    store.update_status(GPUUNIT, {**unit, "status": {"phase": "Ready"}}, NS)

    code, output = await kubectl("get", "gpuunits", "-n", NS, "-o", "json")
    assert code == 0
    assert [item["metadata"]["name"] for item in json.loads(output)["items"]] == ["u1"]
    assert await kubectl("get", "gpuu", "u1", "-o", "jsonpath={.status.phase}") == (0, "Ready")
    assert await kubectl("patch", "gpuunit", "u1", "--type=merge", "-p", '{"spec":{"gpu":2}}') == (
        0,
        "gpuunit.runtime.lokiwager.io/u1 patched",
    )
    assert store.get(GPUUNIT, "u1", NS)["spec"] == {"gpu": 2}
    assert await kubectl("delete", "gpuunit", "u1") == (0, 'gpuunit.runtime.lokiwager.io "u1" deleted')
    assert store.list(GPUUNIT) == []
    assert await kubectl("get", "gpuunit", "u1") == (
        1,
        'Error from server (NotFound): gpuunits.runtime.lokiwager.io "u1" not found',
    )
