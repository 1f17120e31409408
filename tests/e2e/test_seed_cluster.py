"""The seed's create call, and what the real kubectl then shows of its unit (contract 5.3, 6.2, 6.3)."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.platform import Platform

KUBECTL = shutil.which("kubectl")
WAIT_S = 60

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed; put it on the PATH"),
]

CREATE = {
    "operationID": "op-sd-webui-1",
    "name": "sd-webui",
    "specName": "g1.1",
    "image": "python:3.12",
    "template": {"ports": [{"name": "http", "port": 8080}]},
    "access": {"primaryPort": "http", "scheme": "http"},
    "serverless": {
        "enabled": True,
        "requestID": "sd-webui",
        "framework": {
            "socketPath": "/tmp/serverless-framework/framework.sock",
            "invokePath": "/invoke",
            "healthPath": "/healthz",
        },
    },
}
FRAMEWORK_ENV = {
    "SERVERLESS_FRAMEWORK_SOCKET_PATH": "/tmp/serverless-framework/framework.sock",
    "SERVERLESS_FRAMEWORK_INVOKE_PATH": "/invoke",
    "SERVERLESS_FRAMEWORK_HEALTH_PATH": "/healthz",
}

Kubectl = Callable[..., Awaitable[str]]


@pytest.fixture
def kubectl(platform: Platform, tmp_path: Path) -> Kubectl:
    """Run kubectl against the platform's cluster and return what it prints."""

    async def run(*arguments: str) -> str:
        place = (f"--kubeconfig={platform.kubeconfig}", f"--cache-dir={tmp_path}")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(str(KUBECTL), *place, *arguments, stdout=pipe, stderr=pipe)
        try:
            async with asyncio.timeout(WAIT_S):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, errors.decode()
        return output.decode()

    return run


async def create(platform: Platform) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{platform.api_url}/api/v1/gpu-units", json=CREATE) as answer,
    ):
        assert answer.status == 201, await answer.text()


async def deployed(kubectl: Kubectl, *output: str) -> str:
    """The unit's Deployment, by name: `kubectl wait` watches until there is one."""
    await kubectl("wait", "-n", ACTIVE_NAMESPACE, "--for=create", "deploy/sd-webui", f"--timeout={WAIT_S}s")
    return await kubectl("get", "deploy", "-n", ACTIVE_NAMESPACE, "sd-webui", *output)


async def test_the_deployment_has_sidecar_framework_env_and_socket_volume(platform: Platform, kubectl: Kubectl) -> None:
    await create(platform)
    pod: dict[str, Any] = json.loads(await deployed(kubectl, "-o", "json"))["spec"]["template"]["spec"]
    [sidecar], [runtime] = pod["initContainers"], pod["containers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("serverless-sidecar", "Always")
    for container in (sidecar, runtime):
        env = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert {name: env.get(name) for name in FRAMEWORK_ENV} == FRAMEWORK_ENV
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["serverless-framework-socket"] == "/tmp/serverless-framework"
    assert {"name": "serverless-framework-socket", "emptyDir": {}} in pod["volumes"]
    assert "NATS" not in json.dumps(runtime)
    assert pod["automountServiceAccountToken"] is False


async def test_the_deployment_reads_so_as_yaml(platform: Platform, kubectl: Kubectl) -> None:
    await create(platform)
    lines = [line.strip(" -") for line in (await deployed(kubectl, "-o", "yaml")).splitlines()]
    for line in ("name: serverless-sidecar", "restartPolicy: Always", "mountPath: /tmp/serverless-framework"):
        assert line in lines
    for name, value in FRAMEWORK_ENV.items():
        assert f"value: {value}" == lines[lines.index(f"name: {name}") + 1]


async def test_the_unit_says_where_its_worker_listens_and_what_became_of_it(
    platform: Platform, kubectl: Kubectl
) -> None:
    await create(platform)
    ready = ("wait", "-n", ACTIVE_NAMESPACE, "--for=condition=Ready", "gpuunit/sd-webui", f"--timeout={WAIT_S}s")
    await kubectl("wait", "-n", ACTIVE_NAMESPACE, "--for=create", "gpuunit/sd-webui")
    await kubectl(*ready)
    unit = ("get", "gpuunit", "-n", ACTIVE_NAMESPACE, "sd-webui", "-o")
    subject = await kubectl(*unit, "jsonpath={.status.serverless.dispatchSubject}")
    assert subject == "runtime.serverless.dispatch.sd-webui.sd-webui"
    assert await kubectl(*unit, "jsonpath={.status.phase}/{.status.serverless.phase}") == "Ready/Ready"
    described = await kubectl("describe", "gpuunit", "-n", ACTIVE_NAMESPACE, "sd-webui")
    assert "gpuunit-reconciler" in described.partition("Events:")[2]
    assert "UnitProgressing" in described.partition("Events:")[2]
