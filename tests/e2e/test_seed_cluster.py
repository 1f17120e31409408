"""The seed's create call, and what the real kubectl then shows of its unit (contract 5.3, 6.2, 6.3).

On a platform of its own, or on the cluster that `--seed-context` and its like name.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.kube.kinds import Object
from simulator.platform import Platform
from tests.kubectl import run_kubectl

WAIT_S = 60
NAME = "sd-webui"

pytestmark = pytest.mark.e2e

CREATE = {
    "operationID": "op-sd-webui-1",
    "name": NAME,
    "specName": "g1.1",
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
"""All of the seed's call but the image."""
FRAMEWORK_ENV = {
    "SERVERLESS_FRAMEWORK_SOCKET_PATH": "/tmp/serverless-framework/framework.sock",
    "SERVERLESS_FRAMEWORK_INVOKE_PATH": "/invoke",
    "SERVERLESS_FRAMEWORK_HEALTH_PATH": "/healthz",
}


@dataclass(frozen=True)
class Site:
    """A platform, and the way to its cluster."""

    api_url: str
    kubeconfig: Path
    context: tuple[str, ...]
    image: str
    cache: Path

    async def create(self) -> None:
        """The seed's call."""
        call = CREATE | {"image": self.image}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.api_url}/api/v1/gpu-units", json=call) as answer,
        ):
            assert answer.status == 201, await answer.text()

    async def kubectl(self, *arguments: str) -> str:
        """What kubectl prints of the units' namespace; it has to succeed."""
        where = (*self.context, "-n", ACTIVE_NAMESPACE)
        code, said = await run_kubectl(self.kubeconfig, self.cache, *where, *arguments, timeout_s=WAIT_S + 10)
        assert code == 0, said
        return said

    async def wait_for(self, what: str, condition: str) -> None:
        """Watch until it is so."""
        await self.kubectl("wait", f"--for={condition}", what, f"--timeout={WAIT_S}s")


@pytest.fixture
def site(request: pytest.FixtureRequest, kubectl_binary: Path, tmp_path: Path) -> Iterator[Site]:
    options: dict[str, Any] = {
        name: request.config.getoption(f"--seed-{name}") for name in ("context", "api-url", "kubeconfig", "image")
    }
    if options["context"] is None:
        platform: Platform = request.getfixturevalue("platform")
        yield Site(platform.api_url, platform.kubeconfig, (), options["image"], tmp_path)
        return
    if options["api-url"] is None:
        pytest.fail("--seed-context needs --seed-api-url, the runtime API of the platform there")
    kubeconfig, context = Path(options["kubeconfig"]), f"--context={options['context']}"
    yield Site(options["api-url"], kubeconfig, (context,), options["image"], tmp_path)
    delete = ("delete", "gpuunit", NAME, "--ignore-not-found", f"--timeout={WAIT_S}s", "-n", ACTIVE_NAMESPACE)
    subprocess.run([kubectl_binary, f"--kubeconfig={kubeconfig}", context, *delete], timeout=WAIT_S + 10, check=True)


def shows_the_contract(deployment: Object) -> None:
    """Restartable init sidecar, framework env vars, socket volume; and what the user's program has to do without."""
    pod = deployment["spec"]["template"]["spec"]
    [sidecar], [runtime] = pod["initContainers"], pod["containers"]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("serverless-sidecar", "Always")
    for container in (sidecar, runtime):
        env = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert {name: env.get(name) for name in FRAMEWORK_ENV} == FRAMEWORK_ENV
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["serverless-framework-socket"] == "/tmp/serverless-framework"
    assert {"name": "serverless-framework-socket", "emptyDir": {}} in pod["volumes"]
    assert "NATS" not in str(runtime)
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.timeout(5 * WAIT_S)
async def test_the_seed_verification(site: Site) -> None:
    await site.create()
    await site.wait_for(f"deploy/{NAME}", "create")
    shows_the_contract(yaml.safe_load(await site.kubectl("get", "deploy", NAME, "-o", "yaml")))

    await site.wait_for(f"gpuunit/{NAME}", "condition=Ready")
    subject = await site.kubectl("get", "gpuunit", NAME, "-o", "jsonpath={.status.serverless.dispatchSubject}")
    assert subject == "runtime.serverless.dispatch.sd-webui.sd-webui"
    phases = await site.kubectl("get", "gpuunit", NAME, "-o", "jsonpath={.status.phase}/{.status.serverless.phase}")
    assert phases == "Ready/Ready"
    events = (await site.kubectl("describe", "gpuunit", NAME)).partition("Events:")[2]
    assert "gpuunit-reconciler" in events
    assert "UnitProgressing" in events
