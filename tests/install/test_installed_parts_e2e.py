"""The parts as they are installed, at work together: each with its pod's command line, files and rights."""

import base64
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession

from sidecar.queue import Access, ConsumerSettings, Credentials, Queue
from sidecar.subjects import sidecar_consumer, worker_inboxes
from simulator.activator.settings import ActivatorSettings
from simulator.cluster_access import grant_access
from simulator.gpuunit import ACTIVE_NAMESPACE
from simulator.identities import permissions
from simulator.identities.secret import CREDENTIALS_KEY, secret_name
from simulator.install.installation import running as kept_up_to_date
from simulator.install.settings import InstallSettings
from simulator.kube.access.platform_roles import Part, part_user
from simulator.kube.client import Cluster
from simulator.kube.informer import Informer
from simulator.kube.kinds import DEPLOYMENT, GPUUNIT, SECRET, Object
from simulator.kube.server import KubeServer
from simulator.kube.store import ResourceStore
from simulator.processes.spawn import Processes
from simulator.queue_setup import make_queue
from simulator.units import echo_unit
from tests.e2e.part_process import WAIT_S, PartProcess
from tests.install.installed import Installed, answers, pod_process, queue_server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PARTS = ("issuer", "results", "reconciler", "activator", "api")


class Running:
    """All parts of an installation, on an API server that knows their rights."""

    def __init__(self, installed: Installed, cluster: Cluster, stack: AsyncExitStack) -> None:
        self.installed = installed
        self.cluster = cluster
        self.parts: dict[str, PartProcess] = {}
        self.urls: dict[str, str] = {}
        self._stack = stack

    async def start(self, part: str, kubeconfig: Path | None) -> None:
        process = pod_process(self.installed, part, kubeconfig)
        self.parts[part], self.urls[part] = await self._stack.enter_async_context(process)

    def access(self, role: str) -> Access:
        """A person's way in, by the Secret that the installation made."""
        text = self.installed.keys.credentials(role, self.installed.settings.stream)
        return Access(Credentials(text))

    async def made(self, kind: str, name: str) -> Object:
        """Wait for an object that a part makes."""
        wanted = {"Secret": SECRET, "Deployment": DEPLOYMENT}[kind]
        informer = Informer(self.cluster, wanted, ACTIVE_NAMESPACE)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(kept_up_to_date([informer]))
            return await informer.wait_for(lambda copy: copy.get(ACTIVE_NAMESPACE, name), WAIT_S)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    store = ResourceStore()
    grant_access(store)
    installed = Installed(tmp_path, InstallSettings())
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(Processes())
        server = await stack.enter_async_context(KubeServer(store))
        server.write_kubeconfig(tmp_path / "admin")
        cluster = await stack.enter_async_context(Cluster(tmp_path / "admin", field_manager="tests"))
        await stack.enter_async_context(queue_server(installed, processes))
        platform = Running(installed, cluster, stack)
        for part in PARTS:
            kubeconfig = None
            if part in {member.value for member in Part}:
                kubeconfig = tmp_path / f"{part}.kubeconfig"
                server.write_kubeconfig(kubeconfig, part_user(Part(part)))
            await platform.start(part, kubeconfig)
        yield platform


async def test_the_installed_parts_work_together(running: Running) -> None:
    for part in PARTS:
        path = "/api/v1/health" if part == "api" else "/readyz"
        await answers(f"{running.urls[part]}{path}", 200)
        assert (await running.parts[part].announced()).keys() == {part}

    async with ClientSession(running.urls["api"]) as caller:
        async with caller.post("/api/v1/gpu-units", json=echo_unit("p")) as response:
            assert response.status == 201, await response.text()
        unit = (await made_names(running))[0]
        secret = await running.made("Secret", secret_name(unit))
        deployment = await running.made("Deployment", unit)
        pod = deployment["spec"]["template"]["spec"]
        assert pod["initContainers"][0]["image"] == "localhost/gpuunit-sim/sidecar:dev"

        text = base64.b64decode(secret["data"][CREDENTIALS_KEY]).decode()
        worker = Access(Credentials(text), inbox_prefix=worker_inboxes("p", unit))
        async with Queue.connect(running.installed.nats_url, client_name="worker", access=worker) as queue:
            dispatches = await queue.consumer(bound(queue, unit))
            await dispatches.close()

        body = {"serverlessRequestID": "p", "mode": "async", "payload": 1, "invocationID": "one"}
        async with caller.post("/api/v1/serverless/invocations", json=body) as response:
            assert response.status == 202, await response.text()
    async with Queue.connect(running.installed.nats_url, client_name="admin", access=running.access("admin")) as queue:
        info = msgspec.json.decode(await queue.request(f"$JS.API.STREAM.INFO.{queue.stream.name}", b""))
        assert info["state"]["messages"] == 1
    for part in PARTS:
        assert await running.parts[part].end(signal.SIGTERM) == 0
        assert running.parts[part].count("Traceback") == 0
        assert running.parts[part].count("forbidden") == 0


async def test_results_are_waited_for_until_the_issuer_has_made_what_they_need(tmp_path: Path) -> None:
    """Pods start in any order; what the store may not make itself, it must not try to make."""
    installed = Installed(tmp_path, InstallSettings())
    stream = installed.settings.stream
    async with (
        Processes() as processes,
        queue_server(installed, processes),
        pod_process(installed, "results", None) as (part, url),
    ):
        await part.logged("waiting for the owner of the queue")
        await answers(f"{url}/readyz", 503)
        credentials = Credentials(installed.keys.credentials("owner", stream))
        access = Access(credentials, inbox_prefix=permissions.owner(stream).inbox_prefix)
        async with Queue.connect(installed.nats_url, client_name="owner", access=access) as owner:
            await make_queue(owner, ActivatorSettings())
        await answers(f"{url}/readyz", 200)
        assert await part.end(signal.SIGTERM) == 0
        assert part.count("permissions") == 0


async def made_names(running: Running) -> list[str]:
    return [unit["metadata"]["name"] for unit in await running.cluster.list(GPUUNIT)]


def bound(queue: Queue, unit: str) -> ConsumerSettings:
    """The consumer that the issuer made for the unit's sidecar."""
    return ConsumerSettings(sidecar_consumer(unit), queue.subjects.dispatch("p", unit), ack_wait_s=300)
